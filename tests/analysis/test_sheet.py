"""The sheet of images has the pixels that the model gets, and the classes that it predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from circuitstore.analysis import draw_sheet, write_sheet
from circuitstore.analysis.sheet import GAP, LINE, MARGIN, MAX_CLASSES, TEXT, TITLE
from circuitstore.errors import InputError
from circuitstore.ingest import Preview, parse_spec, preview
from circuitstore.models import ViT
from PIL import Image

SPEC = """
name = "sheet"
[images]
source = "digits"
per_class = 8
only = ["three", "seven"]
[[condition]]
kind = "natural"
[[condition]]
kind = "typographic"
[[recipe]]
method = "eap"
[[recipe]]
method = "eap"
corruption = "unattacked-twin"
metric = "logit-diff"
conditions = ["typographic"]
[[extract]]
edges = 9
"""


@pytest.fixture(scope="module")
def seen(digits_model: ViT) -> Preview:
    return preview(parse_spec(SPEC), digits_model)


def test_every_image_is_on_it(seen: Preview) -> None:
    """Images are enlarged without smoothing, with a row for each condition and corruption."""
    sheet = np.asarray(draw_sheet(seen))
    top, side = MARGIN + 3 * (TEXT + GAP), 64 * 3
    for cls in seen.classes:
        top += TITLE + GAP
        for s in seen.samples(cls):
            top += TEXT + GAP
            assert [v.kind for v in s.images[0]] == [
                "clean",
                *["attacked"] * (s.item.condition.kind != "natural"),
                "corrupted",
            ]
            left = MARGIN
            for views in s.images:
                for view in views:
                    shown = sheet[top : top + side, left : left + side]
                    assert np.array_equal(shown, view.pixels.repeat(3, 0).repeat(3, 1))
                    left += side + GAP // 2
                left += 2 * GAP
            assert len(s.images) == 3
            top += side + 3 * LINE + GAP
    assert len(sheet) == top + MARGIN


def test_captions_have_the_predicted_class(seen: Preview, digits_model: ViT) -> None:
    for s in seen.samples(seen.classes[0]):
        for views in s.images:
            for view in views:
                logits = digits_model.logits(digits_model.preprocess.normalise(view.pixels[None].copy()))
                assert view.predicted == digits_model.labels[int(logits.argmax())]
                assert view.name.startswith("digit ") or view.name in ("typographic", "unattacked-twin")


def test_the_twin_is_the_clean_image(seen: Preview) -> None:
    *_, mechanism = seen.samples(seen.classes[0])
    for clean, attacked, corrupted in mechanism.images:
        assert np.array_equal(clean.pixels, corrupted.pixels) and not np.array_equal(clean.pixels, attacked.pixels)
    assert mechanism.item.contrast.word is not None


def test_the_sheet_is_written_as_a_png_file(seen: Preview, tmp_path: Path) -> None:
    path = write_sheet(seen, tmp_path / "deep" / "sheet.png")
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.size == draw_sheet(seen).size
    with pytest.raises(InputError, match=r"sheet.jpg: expected a name that ends in .png"):
        write_sheet(seen, tmp_path / "sheet.jpg")
    with pytest.raises(InputError, match="cannot write"):
        write_sheet(seen, path / "sheet.png")


def test_candidates_are_shown_if_none_qualifies(photos: Path, imagenet_model: ViT) -> None:
    """The sheet shows which classes the model predicts instead."""
    text = SPEC.replace('"digits"', f'{{ folder = "{photos}" }}').replace('only = ["three", "seven"]\n', "")
    text = text.replace('method = "eap"', 'method = "eap"\ncorruption = "blur"', 1)
    wrong = preview(parse_spec(text), imagenet_model)
    samples = [s for cls in wrong.classes for s in wrong.samples(cls) if s.remark]
    assert samples and all(s.remark.startswith("none qualifies (correct): 0 of ") for s in samples)
    assert {len(s.images) for s in samples} <= {0, 3} and draw_sheet(wrong).height > 400


def test_many_classes_are_counted(photos: Path, imagenet_model: ViT, photo) -> None:
    for index in range(20):
        (photos / str(index)).mkdir()
        photo(500 + index).save(photos / str(index) / "a.png")
    text = SPEC.replace('"digits"', f'{{ folder = "{photos}" }}').replace('only = ["three", "seven"]', 'choose = "all"')
    natural = text.replace('method = "eap"', 'method = "eap"\nconditions = ["natural"]', 1)
    many = preview(parse_spec(natural), imagenet_model)
    assert len(many.classes) == 23 > MAX_CLASSES
    assert draw_sheet(many).height < MAX_CLASSES * 1500
