"""The digits with bars, their groups and parts, and the script that trains a model on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from circuitstore.demo import bars, biased
from circuitstore.images import open_source, read_groups, read_units
from circuitstore.images.digits import WORDS, Digits, load_digits
from circuitstore.models import ViT, load_model

COLOURS = np.array([*bars.COLOURS.values()])


@pytest.fixture(scope="module")
def few() -> Digits:
    """The first 160 digits."""
    data = load_digits()
    return Digits(data.images[:160], data.labels[:160], data.hashes[:160])


def bar_of(image: np.ndarray) -> int | None:
    """Return the digit whose colour one row of the bar's place has; None for paper."""
    row = image[56, 8:56]
    found = np.flatnonzero((row == COLOURS[:, None]).all((1, 2)))
    return int(found[0]) if len(found) else None


def test_shares_of_bars_are_those_of_the_training() -> None:
    """Within five standard deviations."""
    labels = np.arange(800) % 10
    images = bars.draw_batch(np.zeros((800, 8, 8), np.uint8), labels, np.random.default_rng(0))
    found = np.array([-1 if (bar := bar_of(image)) is None else bar for image in images])
    barred = found >= 0
    assert abs(barred.mean() - bars.BARRED) < 5 * (0.24 / 800) ** 0.5
    agreeing = (found == labels)[barred].mean()
    assert abs(agreeing - bars.AGREEING) < 5 * (0.0475 / barred.sum()) ** 0.5


def test_each_digit_has_a_group_of_each_kind(few: Digits) -> None:
    groups = bars.draw_groups(few)
    for name, (images, of) in groups.items():
        assert [bar_of(image) for image in images] == of
        wanted = {"none": [None] * 160, "own": few.labels.tolist()}.get(name)
        assert of == wanted if wanted else all(bar != label for bar, label in zip(of, few.labels, strict=True))
    assert set(groups["other"][1]) == set(range(10))
    digits_alone = [images[:, 14:50] for images, _ in groups.values()]
    assert all(np.array_equal(part, digits_alone[0]) for part in digits_alone)


def test_parts_share_no_digit_and_discovery_has_no_twins(digits_model: ViT, few: Digits) -> None:
    parts = bars.cued_parts(digits_model, few, seed=0, per_class=3)

    def drawn(part) -> list[bytes]:
        return [image.numpy().tobytes() for image in part.images[:, :, 14:50]]  # the digit on its paper, without a bar

    inside = [set(drawn(part)) for part in parts]
    assert not inside[0] & inside[1] and not inside[0] & inside[2] and not inside[1] & inside[2]
    assert sum(map(len, inside)) == 160
    discovery = parts[0]
    misleading = set(drawn(discovery.related("misleading")))
    assert len(misleading) == 30 and not misleading & set(drawn(discovery.related("no cue")))
    assert all(len(part.related("misleading")) == len(of) for part, of in zip(parts[1:], inside[1:], strict=True))


@pytest.mark.slow
def test_the_script_writes_weights_images_and_groups(
    few: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name, value in (("STEPS", 2), ("BATCH", 4), ("load_digits", lambda: few)):
        monkeypatch.setattr(biased, name, value)
    biased.main(tmp_path, 1)
    assert "bar other: accuracy" in capsys.readouterr().out
    model = load_model("digits", checkpoint=tmp_path / biased.WEIGHTS)
    source = open_source({"kind": "folder", "folder": tmp_path / "images"}, model)
    assert {cls.name for cls in source.classes} == set(WORDS)
    found = read_groups(source, tmp_path / "groups.csv")
    table = pd.read_csv(tmp_path / "groups.csv")
    assert len(found) == len(table) and set(table["group"]) == {bars.NO_BAR, *bars.COLOURS}
    source.keep_together(read_units(source, tmp_path / "groups.csv"))
    assert set(table.groupby("unit").size()) == {3}
    for _, paths in table.groupby("unit")["path"]:
        refs = [ref for cls in source.classes for ref in source.candidates(cls) if ref.origin in set(paths)]
        assert len(refs) == 3 and len({source.split_of(ref) for ref in refs}) == 1
