"""Methods of every source: the mean image, and the class that a text names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images import ImageSource, open_source
from circuitstore.models import ViT


def discovery_refs(source: ImageSource) -> list:
    refs = [r for c in source.classes for r in source.candidates(c) if source.split_of(r) == "discovery"]
    return sorted(refs, key=lambda r: r.hash)


def test_the_mean_view_is_the_rounded_mean_of_the_first_discovery_images(digits: ImageSource) -> None:
    refs = discovery_refs(digits)
    for count in (1, 7, 256, 10_000):
        exact = np.mean([digits.view(r).astype(float) for r in refs[:count]], axis=0)
        assert np.abs(digits.mean_view(count) - exact).max() <= 0.5 + 1e-9
    assert np.array_equal(digits.mean_view(1), digits.view(refs[0]))


def test_the_mean_view_skips_undecodable_images(photos: Path, imagenet_model: ViT) -> None:
    source = open_source({"folder": photos}, imagenet_model)
    refs = discovery_refs(source)
    (photos / refs[0].origin).unlink()
    assert np.array_equal(source.mean_view(1), source.view(refs[1]))


def test_no_image_to_average_raises(photos: Path, imagenet_model: ViT) -> None:
    source = open_source({"folder": photos}, imagenet_model)
    for ref in discovery_refs(source):
        (photos / ref.origin).unlink()
    with pytest.raises(InputError, match="there is no discovery image to average"):
        source.mean_view(8)


def test_a_text_names_a_class_of_the_source_before_one_of_the_model(photos: Path, imagenet_model: ViT) -> None:
    source = open_source({"folder": photos, "classes": {"207": 5, "Tiger cat": 6}}, imagenet_model)
    assert source.class_index_of("TIGER_CAT") == 6
    assert source.class_index_of("tabby") == 281
    assert source.class_index_of("no such thing") is None
