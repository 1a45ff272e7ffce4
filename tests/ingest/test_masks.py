"""Masks in a spec: found relative to it, part of the question, and checked before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
from circuitstore.errors import InputError
from circuitstore.ingest import index, load_spec, make_plan
from circuitstore.models import ViT
from PIL import Image

SPEC = """
name = "without foreground"
[images]
source = { folder = "photos/" }
masks = "masks/"
per_class = 8
choose = "all"
only = ["207"]
[[condition]]
kind = "natural"
[[recipe]]
method = "eap"
form = "block"
corruption = { kind = "inpaint", radius = 2 }
[[extract]]
edges = 4
"""


@pytest.fixture
def folder(photos: Path) -> Path:
    """The folder of a spec, with photos and masks of one class."""
    root = photos.parent
    (root / "masks" / "207").mkdir(parents=True)
    mask = Image.new("L", (90, 70))
    mask.paste(255, (30, 20, 60, 50))
    for path in (photos / "207").iterdir():
        mask.save(root / "masks" / "207" / f"{path.stem}.png")
    (root / "spec.toml").write_text(SPEC)
    return root


@pytest.mark.slow
def test_only_indexed_classes_need_masks(folder: Path, imagenet_model: ViT, tmp_path: Path) -> None:
    done = index(load_spec(folder / "spec.toml"), model=imagenet_model, location=tmp_path / "store", progress=False)
    assert (done.done, done.failed) == (1, {})


def test_the_masks_decide_the_item(folder: Path, imagenet_model: ViT) -> None:
    def ids() -> list[str]:
        return [planned.item.id for planned in make_plan(load_spec(folder / "spec.toml"), imagenet_model).items]

    before = ids()
    (folder / "masks").rename(folder / "elsewhere")
    (folder / "spec.toml").write_text(SPEC.replace("masks/", "elsewhere/"))
    assert ids() == before
    Image.new("L", (90, 70), 200).save(folder / "elsewhere" / "207" / "1.png")
    assert ids() != before


def test_a_missing_mask_is_named_before_anything_is_computed(folder: Path, imagenet_model: ViT) -> None:
    (folder / "masks" / "207" / "4.png").unlink()
    with pytest.raises(InputError, match=r"spec\.toml: .*masks: 207/4\.jpg has no mask; expected for"):
        make_plan(load_spec(folder / "spec.toml"), imagenet_model)
