"""Attackers who know the defence and have no gradient: they try words and places on the defended model."""

from __future__ import annotations

import numpy as np
import torch
from circuitstore.evaluation.interventions import replace_head
from circuitstore.images import CONDITIONS, ImageSource, Predictions
from circuitstore.ingest.knowing import PLACES, attacked_knowing, can_know, knowing_attack
from circuitstore.models import LinearHead, ViT
from torch.nn.functional import cross_entropy

WORDS = ("two", "three", "eight")
WRITTEN = CONDITIONS.resolve("typographic", {"text": ["two", "three"], "held_out": ["eight"]})


def losses(model: ViT, views: np.ndarray, label: int) -> np.ndarray:
    logits = model.logits(model.preprocess.normalise(views)).double()
    return cross_entropy(logits, torch.full((len(views),), label), reduction="none").numpy()


def test_the_worst_word_and_place_of_each_image_is_kept(digits_model: ViT, digits: ImageSource) -> None:
    """The words of the list and the held-out ones, but not that of the class itself; on the model as it is now."""
    predictions, three = Predictions(digits, digits_model), digits.class_named("three")
    refs = digits.candidates(three)[:6]
    variants = [
        CONDITIONS.resolve("typographic", {"text": word, "place": place})
        for word in WORDS
        if word != "three"
        for place in PLACES
    ]
    head = digits_model.module.head
    turned = replace_head(digits_model, LinearHead(head.weight.detach().roll(1, 0), head.bias.detach().roll(1, 0)))
    with turned.applied(digits_model):
        found = [attacked_knowing(predictions, three, refs, WRITTEN, 2)]
        edited = [losses(digits_model, predictions.views(three, refs, v), three.class_index) for v in variants]
        worst = losses(digits_model, found[0], three.class_index)
    assert np.allclose(worst, np.max(edited, axis=0), rtol=1e-5)
    plain = attacked_knowing(predictions, three, refs, WRITTEN, 2)
    unedited = [losses(digits_model, predictions.views(three, refs, v), three.class_index) for v in variants]
    assert np.allclose(losses(digits_model, plain, three.class_index), np.max(unedited, axis=0), rtol=1e-5)
    assert not np.array_equal(plain, found[0])


def test_the_name_of_such_an_attack_has_all_words_and_places(digits: ImageSource) -> None:
    named = dict(knowing_attack(WRITTEN, 2, digits).params)
    assert named["text"] == '["eight", "three", "two"]' and named["place"] == "top or bottom"
    assert named["model"] == "defended" and "held_out" not in named
    border = CONDITIONS.resolve("typographic", {"place": "border"})
    named = dict(knowing_attack(border, 2, digits).params)
    assert named["place"] == "border" and str(named["text"]).count(",") == len(digits.classes) - 1  # no list: all ten


def test_harmless_words_and_noise_know_nothing() -> None:
    assert can_know(WRITTEN) and can_know(CONDITIONS.resolve("fgsm", {"eps": "8/255"}))
    assert not can_know(CONDITIONS.resolve("typographic", {"control": "own class"}))
    assert not can_know(CONDITIONS.resolve("random-signs", {"eps": "8/255"}))
