"""Sources by name, and the keys that they take."""

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


def test_a_source_by_its_kind(digits_model: ViT, imagenet_model: ViT, photos: Path) -> None:
    assert open_source({"kind": "digits"}, digits_model, name="mine").name == "mine"
    assert open_source({"kind": "folder", "folder": photos}, imagenet_model).name == "photos"


def test_unknown_source(digits_model: ViT) -> None:
    with pytest.raises(InputError, match="unknown source of images 'digit'; did you mean 'digits'"):
        open_source("digit", digits_model)
    with pytest.raises(InputError, match="unknown source of images 'foldr'; did you mean 'folder'"):
        open_source({"kind": "foldr", "folder": "x"}, digits_model)


def test_unknown_and_missing_keys_raise(digits_model: ViT) -> None:
    with pytest.raises(InputError, match="'folder': unknown parameter 'class'; did you mean 'classes'"):
        open_source({"folder": "x", "class": {}}, digits_model)
    with pytest.raises(InputError, match="source of images 'digits': unknown parameter 'classes'"):
        open_source({"kind": "digits", "classes": {}}, digits_model)
    with pytest.raises(InputError, match="folder is missing; expected the path of a folder of class folders"):
        open_source({"classes": {}}, digits_model)
