"""Corruptions of activations: which images the mean is over, and that there is no corrupted image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.circuits import Corruption
from circuitstore.discovery import score_edges
from circuitstore.errors import InputError
from circuitstore.evaluation import evaluate
from circuitstore.images import (
    CONDITIONS,
    CORRUPTIONS,
    ImageSource,
    Predictions,
    build_pairs,
    build_views,
    draws_on,
    has_image,
    image_pairs,
    surroundings,
)
from circuitstore.images.corruptions import constants_of
from circuitstore.models import ViT, mean_outputs

NATURAL, TYPOGRAPHIC = CONDITIONS.resolve("natural"), CONDITIONS.resolve("typographic")


def mean(images: int) -> Corruption:
    return CORRUPTIONS.resolve("mean", {"images": images})


@pytest.mark.parametrize("count", [1, 7, 40])
def test_the_mean_is_over_the_first_discovery_images_of_all_classes(
    digits: ImageSource, digits_model: ViT, count: int
) -> None:
    found = constants_of(mean(count), digits, digits_model)
    refs = digits.discovery_refs()[:count]
    views = [
        torch.from_numpy(digits_model.preprocess.normalise(np.array(digits.view(ref))[None]).numpy()) for ref in refs
    ]
    expected = mean_outputs(digits_model, views)
    assert found.images == count
    torch.testing.assert_close(found.sent.stream, expected.sent.stream, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.sent.mlp_out[-1], expected.sent.mlp_out[-1], rtol=1e-4, atol=1e-4)
    cls = digits.classes[0]
    assert draws_on(mean(count), digits, cls, seed=0, count=8) == refs


def test_few_images_give_a_mean_over_all_of_them(digits: ImageSource, digits_model: ViT) -> None:
    some = mean(len(digits.discovery_refs()) + 1000)
    assert constants_of(some, digits, digits_model).images == len(digits.discovery_refs())


def test_constants_are_computed_once_and_shared_by_all_conditions(digits: ImageSource, digits_model: ViT) -> None:
    predictions, cls = Predictions(digits, digits_model), digits.classes[3]
    refs = digits.candidates(cls)[:4]
    natural, attacked = (build_pairs(predictions, cls, refs, under, mean(5)) for under in (NATURAL, TYPOGRAPHIC))
    assert natural.corruption is attacked.corruption
    assert not natural.clean.equal(attacked.clean)
    assert len(natural) == 4 and not natural.has_images


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_there_is_no_corrupted_image(digits: ImageSource, digits_model: ViT, kind: str) -> None:
    corruption, cls = CORRUPTIONS.resolve(kind), digits.classes[0]
    assert not has_image(corruption)
    with pytest.raises(InputError, match=f"corruption {kind}: replaces the outputs of senders by constants, so there"):
        build_views(Predictions(digits, digits_model), cls, digits.candidates(cls)[:2], NATURAL, corruption)


def test_a_corruption_of_images_has_no_constants(digits: ImageSource, digits_model: ViT) -> None:
    assert all(has_image(CORRUPTIONS.resolve(kind)) for kind in CORRUPTIONS if kind not in ("zero", "mean"))
    with pytest.raises(InputError, match="corruption blur: acts on images"):
        constants_of(CORRUPTIONS.resolve("blur"), digits, digits_model)


def test_the_averaged_images_are_part_of_the_question(digits: ImageSource) -> None:
    def of(corruption: Corruption) -> tuple[str, ...]:
        return surroundings(digits, digits.classes[0], NATURAL, corruption, count=8)

    assert of(mean(7)) == tuple(ref.hash for ref in digits.discovery_refs()[:7])
    assert of(CORRUPTIONS.resolve("zero")) == ()
    assert len({of(mean(count)) for count in (7, 8, 9)}) == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_pairs_by_name_are_ready_for_scores_and_evaluation(digits: ImageSource, digits_model: ViT, kind: str) -> None:
    pairs = image_pairs(digits, digits_model, "three", 5, corruption=kind)
    circuit = score_edges(digits_model, pairs, "eap", form="attention").greedy(40)
    found = evaluate(digits_model, pairs, circuit)
    assert found.metric_full > found.metric_circuit or found.metric_circuit > found.metric_empty
    whole = score_edges(digits_model, pairs, "eap", form="attention").top(1.0)
    assert evaluate(digits_model, pairs, whole).metric_circuit == pytest.approx(found.metric_full, rel=1e-4)
