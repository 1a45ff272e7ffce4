"""Read-outs in a spec: what is stored for each class and condition, what a second call adds, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from circuitstore.circuits import READOUT
from circuitstore.errors import InputError
from circuitstore.evaluation import logit_lens
from circuitstore.images import Predictions, open_source
from circuitstore.ingest import dry_run, index, make_plan, parse_spec, readout_sizes
from circuitstore.models import ViT
from circuitstore.query import run
from circuitstore.store import Store, open_store

SPEC = """
name = "lens"
model = "digits"
[images]
source = "digits"
only = ["three", "eight"]
per_class = 8
examples = 0
[[condition]]
kind = "natural"
[[condition]]
kind = "fgsm"
eps = "8/255"
[[readout]]
kind = "logit-lens"
per_image = true
[[readout]]
kind = "logit-lens"
norm = false
conditions = ["natural"]
"""

PARTNERS = "other-class(partners=all)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits_model: ViT) -> Path:
    folder = tmp_path_factory.mktemp("readouts")
    result = index(parse_spec(SPEC), model=digits_model, location=folder, progress=False)
    assert (result.done, result.skipped, result.failed, result.circuits) == (6, 0, {}, 0)
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with open_store(folder) as opened:
        yield opened


@pytest.mark.slow
def test_each_class_and_condition_has_its_read_outs(store: Store) -> None:
    both = ["three", "natural"], ["eight", "natural"]
    for norm, expected in ((True, (*both, ["three", "fgsm"], ["eight", "fgsm"])), (False, both)):
        rows = store.readouts("lens", readout=f"logit-lens(norm={norm})")
        assert sorted(rows[["class", "attack"]].to_numpy().tolist()) == sorted(expected)
    assert set(store.items("lens")["state"]) == {"done"} and set(store.items()["form"]) == {READOUT}
    assert len(store.verify()) == 0


@pytest.mark.slow
def test_a_read_out_is_that_of_the_report_images_under_the_condition(store: Store, digits_model: ViT) -> None:
    predictions = Predictions(open_source("digits", digits_model), digits_model)
    for row in store.readouts(readout="logit-lens(norm=True)").to_dict("records"):
        record = store.readout(row["id"])
        cls = record.item.target_class
        by_hash = {ref.hash: ref for ref in predictions.source.candidates(cls)}
        refs = [by_hash[hash_] for hash_ in record.images]
        assert [predictions.source.split_of(ref) for ref in refs] == ["report"] * 2
        views = predictions.views(cls, refs, record.item.condition)
        expected = logit_lens(digits_model, digits_model.preprocess.normalise(views))
        assert record.per_image is not None and record.per_image.names == ("image", "point", "class")
        assert np.allclose(record.per_image.values, expected.values, atol=1e-5)
        assert np.allclose(record.mean.values, expected.mean().values, atol=1e-5)
        assert record.provenance["patches"] == [8, 8]
    for id in store.readouts(readout="logit-lens(norm=False)")["id"]:
        assert store.readout(id).per_image is None


@pytest.mark.slow
def test_a_second_call_computes_only_what_is_missing(folder: Path, digits_model: ViT) -> None:
    with open_store(folder) as store:
        before = store.readouts()
        store.archive.path("readout", before["id"][0]).unlink()
    plan = dry_run(parse_spec(SPEC), model=digits_model, location=folder).to_pandas()
    assert plan["done"].sum() == 6  # a lost file is found by the next index
    result = index(parse_spec(SPEC), model=digits_model, location=folder, progress=False)
    assert (result.done, result.skipped, result.failed) == (1, 5, {})
    with open_store(folder) as store:
        assert store.readouts().drop(columns="created_ms").equals(before.drop(columns="created_ms"))
        assert len(store.verify()) == 0


@pytest.mark.slow
def test_kinds_with_a_metric_contrast_images_and_others_do_not(digits_model: ViT, tmp_path: Path) -> None:
    patching = '[[readout]]\nkind = "stream-patching"\ntokens = "all"\n'
    twins = f'{patching}corruption = "unattacked-twin"\nmetric = "logit-diff"\nconditions = ["fgsm"]\n'
    result = index(parse_spec(SPEC + patching + twins), model=digits_model, location=tmp_path, progress=False)
    assert (result.done, result.failed) == (6 + 4 + 2, {})
    with open_store(tmp_path) as store:
        listed = store.readouts()[["kind", "corruption", "metric"]].drop_duplicates().to_numpy().tolist()
        assert sorted(listed) == [
            ["logit-lens", "zero", "logit"],
            ["stream-patching", PARTNERS, "logit"],
            ["stream-patching", "unattacked-twin", "logit-diff"],
        ]
        for id in store.readouts(kind="stream-patching")["id"]:  # all tokens have the whole effect, at every point
            effects = store.readout(id).mean.values
            assert effects == pytest.approx(np.full(effects.shape, effects[0]), rel=1e-4)
        rows = [row for row in run(store, "patching-map") if row["class"] == "three" and row["point"] == "resid_pre.0"]
        assert sorted((row["corruption"], row["metric"], row["condition"][:4]) for row in rows) == [
            (PARTNERS, "logit", "fgsm"),
            (PARTNERS, "logit", "natu"),
            ("unattacked-twin", "logit-diff", "fgsm"),
        ]
    refused = SPEC + patching + 'corruption = "unattacked-twin"\n'
    with pytest.raises(InputError, match=r"readout\[2\]: .*contrasts each image with itself"):
        index(parse_spec(refused), model=digits_model, location=tmp_path, progress=False)


@pytest.mark.slow
def test_the_cost_is_estimated(digits_model: ViT, tmp_path: Path) -> None:
    rows = dry_run(parse_spec(SPEC), model=digits_model, location=tmp_path).to_pandas()
    assert rows[["items", "images", "forwards", "backwards"]].values.tolist() == [[2, 4, 4, 0]] * 3
    numbers = 2 * 9 * 10  # of two classes: points and classes; mean, std, and each of two images if requested
    stored = dict(zip(rows["recipe"].str.split(",").str[0] + rows["condition"].str[:4], rows["megabytes"], strict=True))
    for name, arrays in {"logit-lens(norm=True)natu": 4, "logit-lens(norm=False)natu": 2}.items():
        assert stored[name] == pytest.approx(4 * numbers * arrays / 1e6, abs=0.005)


def test_large_read_outs_are_announced_before_the_run(
    digits_model: ViT, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = SPEC.replace('"logit-lens"\nper_image', '"saliency"\nby = "pixel"\nper_image')
    assert make_plan(parse_spec(SPEC), digits_model).notices == make_plan(parse_spec(pixels), digits_model).notices
    monkeypatch.setattr(readout_sizes, "LARGE", 4 * 64 * 64 * 4 * 4 - 1)  # two classes under two conditions
    (notice,) = (text for text in make_plan(parse_spec(pixels), digits_model).notices if "read-out" in text)
    assert notice.startswith("read-out saliency(by=pixel): up to 0.0 GiB in the store") and notice in caplog.text
    monkeypatch.setattr(readout_sizes, "LARGE", 4 * 64 * 64 * 4 * 4)
    assert notice not in make_plan(parse_spec(pixels), digits_model).notices


def test_the_size_of_maps_over_pixels_is_that_of_the_images(digits_model: ViT) -> None:
    pixels = SPEC.replace('"logit-lens"\nper_image', '"saliency"\nby = "pixel"\nper_image')
    item = make_plan(parse_spec(pixels), digits_model).items[0].item
    many = replace(item, selection=replace(item.selection, count=400_000, n_candidates=400_000))
    (notice,) = readout_sizes.size_notices({"float32": digits_model}, [(many, True)])
    assert f"{4 * 64 * 64 * 100_002 / 2**30:.1f} GiB in the store" in notice
    assert f"{8 * 64 * 64 * 100_000 / 2**30:.1f} GiB of memory" in notice
    (kept,) = readout_sizes.size_notices({"float32": digits_model}, [(many, False)])
    assert "0.0 GiB in the store" in kept


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"logit-lens"\nnorm', '"logit-lense"\nnorm', r"readout\[1\]: unknown read-out 'logit-lense'.*'logit-lens'"),
        ("norm = false", "nrm = false", r"readout\[1\]: read-out 'logit-lens': unknown parameter 'nrm'"),
        ("norm = false", "norm = 3", r"readout\[1\]: .*norm: expected true or false, got 3"),
        ('conditions = ["natural"]', 'conditions = ["pgd"]', r"readout\[1\]\.conditions: unknown condition 'pgd'"),
        ("norm = false", 'metric = "logitt"', r"readout\[1\]\.metric: unknown metric 'logitt'"),
        ("norm = false", 'corruption = "zeros"', r"readout\[1\]\.corruption: unknown corruption 'zeros'"),
    ],
)
def test_a_mistake_is_named_by_its_path(old: str, new: str, message: str, digits_model: ViT, tmp_path: Path) -> None:
    assert old in SPEC
    with pytest.raises(InputError, match=message):
        index(parse_spec(SPEC.replace(old, new)), model=digits_model, location=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            SPEC.partition("[[readout]]")[0],
            r"at least one \[\[recipe\]\], .+ \[\[readout\]\], \[defence\] or \[correction\]",
        ),
        (f"{SPEC}\n[[extract]]\nedges = 4", r"recipe: \[\[extract\]\] needs at least one \[\[recipe\]\]"),
        (f'{SPEC}\n[[recipe]]\nmethod = "eap"', r"extract: \[\[recipe\]\] needs at least one \[\[extract\]\]"),
    ],
)
def test_a_spec_asks_something(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_spec(spec)
