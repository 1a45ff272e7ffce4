"""Image sets: what a work item is answered from."""

from __future__ import annotations

import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.images import (
    CORRUPTIONS,
    ImageSource,
    build_set,
    class_cycle,
    resolve_condition,
    resolve_corruption,
    target_of,
)
from circuitstore.models import ViT

NATURAL, TYPOGRAPHIC = resolve_condition("natural"), resolve_condition("typographic")


def built(source: ImageSource, model: ViT, condition=NATURAL, corruption: str = "other-class", seed: int = 0):
    cls = source.classes[4]
    cycle = class_cycle(source.classes, seed)
    partner = cycle[(cycle.index(cls) + 1) % len(cycle)]
    refs, partners = source.candidates(cls)[:5], source.candidates(partner)[:3]
    return build_set(source, model, cls, refs, condition, resolve_corruption(corruption), seed=seed, partners=partners)


def test_shapes_types_and_labels(digits: ImageSource, digits_model: ViT) -> None:
    images = built(digits, digits_model, TYPOGRAPHIC)
    cls = digits.classes[4]
    assert images.clean.shape == images.corrupted.shape == (5, 3, 32, 32)
    assert images.clean.dtype == images.corrupted.dtype == torch.float32
    assert images.labels.tolist() == [4] * 5 and images.labels.dtype == torch.int64
    assert images.targets is not None and images.targets.dtype == torch.int64
    assert images.targets.tolist() == [target_of(TYPOGRAPHIC, digits, cls, 0)] * 5
    assert images.hashes == tuple(r.hash for r in digits.candidates(cls)[:5])
    assert built(digits, digits_model).targets is None


@pytest.mark.parametrize("corruption", [k for k in CORRUPTIONS if k != "unattacked-twin"])
def test_the_corrupted_images_are_the_same_bytes_under_every_condition(
    digits: ImageSource, digits_model: ViT, corruption: str
) -> None:
    natural = built(digits, digits_model, NATURAL, corruption)
    attacked = built(digits, digits_model, TYPOGRAPHIC, corruption)
    assert torch.equal(natural.corrupted, attacked.corrupted)
    assert not torch.equal(natural.clean, attacked.clean)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_question_gives_the_same_bytes(
    digits: ImageSource, digits_model: ViT, corruption: str, seed: int
) -> None:
    first, again = (built(digits, digits_model, TYPOGRAPHIC, corruption, seed) for _ in range(2))
    assert torch.equal(first.clean, again.clean) and torch.equal(first.corrupted, again.corrupted)


def test_the_unattacked_twin_is_the_natural_image(digits: ImageSource, digits_model: ViT) -> None:
    twin = built(digits, digits_model, TYPOGRAPHIC, "unattacked-twin")
    assert torch.equal(twin.corrupted, built(digits, digits_model, NATURAL).clean)


def test_a_natural_image_has_no_twin(digits: ImageSource, digits_model: ViT) -> None:
    with pytest.raises(InputError, match="contrasts an attacked image with itself unattacked, but the condition"):
        built(digits, digits_model, NATURAL, "unattacked-twin")


def test_no_images_no_set(digits: ImageSource, digits_model: ViT) -> None:
    with pytest.raises(InputError, match="class 'zero': no images to build a set from"):
        build_set(digits, digits_model, digits.classes[0], (), NATURAL, resolve_corruption("blur"))


def test_what_the_model_reads_is_the_normalised_view(digits: ImageSource, digits_model: ViT) -> None:
    images = built(digits, digits_model)
    view = torch.from_numpy(digits.view(digits.candidates(digits.classes[4])[0]).copy()).permute(2, 0, 1)
    assert torch.allclose(images.clean[0], (view / 255 - 0.5) / 0.5, atol=1e-6)
