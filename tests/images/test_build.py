"""Image pairs of a work item, and one class's pairs by name."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
import torch
from circuitstore.circuits import Contrast
from circuitstore.errors import InputError
from circuitstore.images import (
    CONDITIONS,
    CORRUPTIONS,
    ImageSource,
    Predictions,
    build_pairs,
    class_cycle,
    contrast,
    contrast_classes,
    deal_partners,
    image_pairs,
    open_source,
    order_candidates,
    surroundings,
    target_of,
)
from circuitstore.models import ViT

NATURAL, TYPOGRAPHIC = CONDITIONS.resolve("natural"), CONDITIONS.resolve("typographic")
MASKLESS = [
    kind for kind in CORRUPTIONS if kind not in ("inpaint", "zero", "mean")
]  # tested in test_masks.py and test_ablations.py


def built(source: ImageSource, model: ViT, condition=NATURAL, corruption: str = "other-class", seed: int = 0):
    cls = source.classes[4]
    partner = class_cycle(source.classes, seed)[0]
    refs, partners = source.candidates(cls)[:5], source.candidates(partner)[:5]
    made = CORRUPTIONS.resolve(corruption)
    return build_pairs(Predictions(source, model, seed), cls, refs, condition, made, partners=partners)


def test_shapes_types_and_labels(digits: ImageSource, digits_model: ViT) -> None:
    pairs = built(digits, digits_model, TYPOGRAPHIC)
    cls = digits.classes[4]
    assert pairs.clean.shape == pairs.corrupted.shape == (5, 3, 64, 64)
    assert pairs.clean.dtype == pairs.corrupted.dtype == torch.float32
    assert pairs.labels.tolist() == [4] * 5 and pairs.labels.dtype == torch.int64
    assert pairs.targets is not None and pairs.targets.dtype == torch.int64
    assert pairs.targets.tolist() == [target_of(TYPOGRAPHIC, digits, cls, 0)] * 5
    assert pairs.hashes == tuple(r.hash for r in digits.candidates(cls)[:5])
    assert built(digits, digits_model).targets is None


@pytest.mark.parametrize("corruption", [k for k in MASKLESS if k != "unattacked-twin"])
def test_the_corrupted_images_are_the_same_bytes_under_every_condition(
    digits: ImageSource, digits_model: ViT, corruption: str
) -> None:
    natural = built(digits, digits_model, NATURAL, corruption)
    attacked = built(digits, digits_model, TYPOGRAPHIC, corruption)
    assert torch.equal(natural.corrupted, attacked.corrupted)
    assert not torch.equal(natural.clean, attacked.clean)


@pytest.mark.parametrize("corruption", MASKLESS)
@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_arguments_give_the_same_bytes(
    digits: ImageSource, digits_model: ViT, corruption: str, seed: int
) -> None:
    first, again = (built(digits, digits_model, TYPOGRAPHIC, corruption, seed) for _ in range(2))
    assert torch.equal(first.clean, again.clean) and torch.equal(first.corrupted, again.corrupted)


def test_the_unattacked_twin_is_the_natural_image(digits: ImageSource, digits_model: ViT) -> None:
    twin = built(digits, digits_model, TYPOGRAPHIC, "unattacked-twin")
    assert torch.equal(twin.corrupted, built(digits, digits_model, NATURAL).clean)


def test_a_twin_needs_an_attack(digits: ImageSource, digits_model: ViT) -> None:
    with pytest.raises(InputError, match="contrasts an attacked image with itself unattacked, but the condition"):
        built(digits, digits_model, NATURAL, "unattacked-twin")


def test_no_images_raise(digits: ImageSource, digits_model: ViT) -> None:
    with pytest.raises(InputError, match="class 'zero': no images to build pairs from"):
        build_pairs(Predictions(digits, digits_model), digits.classes[0], (), NATURAL, CORRUPTIONS.resolve("blur"))


@pytest.mark.parametrize("corruption", ["other-class", "unattacked-twin"])
def test_pairs_by_name_equal_those_built_step_by_step(digits: ImageSource, digits_model: ViT, corruption: str) -> None:
    pairs = image_pairs(digits, digits_model, "four", 5, condition="typographic", corruption=corruption, seed=7)
    cls, made = digits.classes[4], CORRUPTIONS.resolve(corruption)
    against = contrast_classes(made, digits, cls, seed=7, count=5)
    refs, *pools = (order_candidates(digits.candidates(c), 7)[:5] for c in (cls, *against))
    predictions = Predictions(digits, digits_model, 7)
    parts = build_pairs(predictions, cls, refs, TYPOGRAPHIC, made, partners=deal_partners(pools, 5))
    assert pairs.hashes == parts.hashes and pairs.labels.equal(parts.labels) and pairs.targets.equal(parts.targets)
    assert pairs.clean.equal(parts.clean) and pairs.corrupted.equal(parts.corrupted)
    again = image_pairs("digits", digits_model, "four", 5, condition=TYPOGRAPHIC, corruption=made, seed=7)
    assert again.clean.equal(pairs.clean) and again.corrupted.equal(pairs.corrupted)
    other = image_pairs("digits", digits_model, "four", 5, condition="typographic", corruption=corruption, seed=8)
    assert other.hashes != pairs.hashes


def test_pairs_by_name_of_a_folder_of_files(photos: Path, imagenet_model: ViT) -> None:
    pairs = image_pairs(photos, imagenet_model, "207", 30, corruption="blur")
    source = open_source({"folder": photos}, imagenet_model)
    assert sorted(pairs.hashes) == sorted(ref.hash for ref in source.candidates(source.class_named("207")))
    assert len(pairs) == 10 and pairs.labels.tolist() == [207] * 10 and pairs.targets is None
    assert image_pairs({"folder": photos}, imagenet_model, "207", 30, corruption="blur").clean.equal(pairs.clean)


def test_invalid_arguments_raise(digits: ImageSource, digits_model: ViT) -> None:
    for wrong, message in (
        ({"class_name": "tree"}, "^digits: unknown class 'tree'; did you mean 'three'"),
        ({"condition": "typografic"}, "did you mean 'typographic'"),
        ({"corruption": "blurr"}, "did you mean 'blur'"),
        ({"corruption": "unattacked-twin"}, "contrasts an attacked image with itself unattacked"),
        ({"n": 0}, "n: expected a positive whole number of images, got 0"),
        ({"n": -3}, "n: expected a positive whole number of images, got -3"),
        ({"n": True}, "n: expected a positive whole number of images, got True"),
    ):
        with pytest.raises(InputError, match=message):
            image_pairs(digits, digits_model, **({"class_name": "three"} | wrong))


def test_clean_images_are_normalised_views(digits: ImageSource, digits_model: ViT) -> None:
    pairs = built(digits, digits_model)
    view = torch.from_numpy(digits.view(digits.candidates(digits.classes[4])[0]).copy()).permute(2, 0, 1)
    assert torch.allclose(pairs.clean[0], (view / 255 - 0.2) / 0.25, atol=1e-6)


def test_surroundings(digits: ImageSource) -> None:
    def of(condition, corruption: str, seed: int = 0, count: int = 36, **params) -> tuple[str, ...]:
        made = CORRUPTIONS.resolve(corruption, params)
        return surroundings(digits, digits.classes[4], condition, made, count=count, seed=seed)

    cycle = class_cycle(digits.classes, 0)
    at = cycle.index(digits.classes[4])
    others = [cycle[(at + i) % 10] for i in range(1, 10)]
    images = [[r.hash for r in digits.candidates(cls)] for cls in others]
    word, target = others[1].name, f"target {others[1].class_index}"
    assert of(NATURAL, "blur") == of(NATURAL, "patch-shuffle") == ()
    assert of(TYPOGRAPHIC, "unattacked-twin") == (word, target)
    assert of(TYPOGRAPHIC, "other-class") == (*chain(*images), word, target)
    assert of(NATURAL, "other-class", count=4) == tuple(chain(*images[:4]))  # others would get no image
    assert of(NATURAL, "other-class", partners=2) == tuple(images[0] + images[1])
    assert of(NATURAL, "mean-image", images=7) == tuple(r.hash for r in digits.discovery_refs()[:7])
    assert len({of(NATURAL, "other-class", seed) for seed in range(10)}) > 1


def test_contrast_has_word_target_and_classes(digits: ImageSource) -> None:
    def of(condition, corruption: str, target: int | None = None, **params):
        made = CORRUPTIONS.resolve(corruption, params)
        return contrast(digits, digits.classes[4], condition, made, count=36, target=target)

    cycle = [c.name for c in class_cycle(digits.classes, 0)]
    at = cycle.index("four")
    others = (*cycle[at + 1 :], *cycle[:at])
    whole = of(TYPOGRAPHIC, "other-class")
    assert (whole.word, whole.target, whole.against) == (others[1], others[1], others)
    assert of(TYPOGRAPHIC, "unattacked-twin", target=7).target == "seven"
    assert of(NATURAL, "other-class", partners=1).against == others[:1]
    assert of(NATURAL, "blur") == Contrast()
    ceiling = CONDITIONS.resolve("typographic", {"text": "ceiling"})
    assert of(ceiling, "blur") == Contrast(word="ceiling")


def test_a_target_of_the_metric_replaces_the_attacks(digits: ImageSource, digits_model: ViT) -> None:
    cls, blur = digits.classes[4], CORRUPTIONS.resolve("blur")
    refs = digits.candidates(cls)[:2]
    pairs = build_pairs(Predictions(digits, digits_model), cls, refs, TYPOGRAPHIC, blur, target=9)
    assert pairs.targets is not None and pairs.targets.tolist() == [9, 9]


def test_another_class_folder_changes_the_surroundings(photos: Path, imagenet_model: ViT, photo) -> None:
    """It changes those of classes contrasted with it: of one class if each has one partner."""
    before = open_source({"folder": photos}, imagenet_model)
    (photos / "tench").mkdir()
    photo(999).save(photos / "tench" / "a.png")
    after = open_source({"folder": photos}, imagenet_model)

    def changed(**params) -> int:
        corruption = CORRUPTIONS.resolve("other-class", params)
        both = [[surroundings(s, c, NATURAL, corruption, count=8) for c in before.classes] for s in (before, after)]
        return sum(a != b for a, b in zip(*both, strict=True))

    assert (changed(partners=1), changed()) == (1, len(before.classes))


@pytest.mark.parametrize(("kind", "ours"), [("zero-ablation", "zero"), ("mean-ablation", "mean")])
def test_other_names_of_ablations_raise_with_ours(kind: str, ours: str) -> None:
    with pytest.raises(InputError, match=f"'{kind}' is named '{ours}'"):
        CORRUPTIONS.resolve(kind)
