"""What may be named as a source."""

from __future__ import annotations

from pathlib import Path

import pytest
from circuitstore.errors import InputError
from circuitstore.images import open_source
from circuitstore.models import ViT


def test_sources(digits_model: ViT, imagenet_model: ViT, photos: Path) -> None:
    assert open_source("digits", digits_model).name == "digits"
    assert open_source({"folder": photos}, imagenet_model).name == "photos"
    assert open_source({"folder": str(photos), "classes": None}, imagenet_model).name == "photos"


def test_unknown_source(digits_model: ViT) -> None:
    with pytest.raises(InputError, match="unknown source of images 'digit'; did you mean 'digits'"):
        open_source("digit", digits_model)
    for wrong in ({"classes": {}}, {"folder": "x", "class": {}}):
        with pytest.raises(InputError, match="expected folder and, if wanted, classes"):
            open_source(wrong, digits_model)
