"""Attacks that know the defence: they are run again on the defended model.

A gradient attack follows the gradients of the defended model, with random starts. A written word has no gradient: the
attacker tries words and places, and keeps for each image those with the largest loss.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from ..circuits import ClassInfo, Condition
from ..images import ImageRef, ImageSource, Predictions, Views, role_of
from ..images.words import listed_words

DEFENDED = "defended"
"""Value of a condition's `model` if the attack is run on the defended model."""

PLACES = ("top", "bottom")
"""Places that are tried; an attack that writes elsewhere keeps its place."""

MAX_WORDS = 10
"""Number of classes whose words are tried if the attack names no words."""


def tries_words(condition: Condition) -> bool:
    """Return whether the attacker tries words and places, because a written word has no gradient."""
    return condition.kind == "typographic"


def can_know(condition: Condition) -> bool:
    """Return whether an attack can be run on the defended model: it follows the model's gradients, or writes words."""
    own = dict(condition.params).get("model") == "itself"
    return role_of(condition) == "attack" and (own or tries_words(condition))


def knowing_attack(condition: Condition, restarts: int, source: ImageSource) -> Condition:
    """Return the name of an attack that is run on the defended model."""
    params = dict(restarted(condition, restarts).params) | {"model": DEFENDED}
    if tries_words(condition):
        params.pop("held_out", None)
        params |= {"text": json.dumps(_words(condition, source)), "place": " or ".join(_places(condition))}
    return replace(condition, params=tuple(params.items()))


def restarted(condition: Condition, restarts: int) -> Condition:
    """Return an attack with at least this number of random starts, if it has random starts."""
    params = dict(condition.params)
    if "restarts" in params:
        params["restarts"] = max(int(params["restarts"] or 0), restarts)
    return replace(condition, params=tuple(params.items()))


def attacked_knowing(
    predictions: Predictions, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition, restarts: int
) -> Views:
    """Attack images of a class again, with the model as it is now, such as within an edit's `applied`."""
    if not tries_words(condition):
        return predictions.attacked_now(cls, refs, restarted(condition, restarts))
    model, labels = predictions.model, torch.full((len(refs),), cls.class_index)
    tried, losses = [], []
    for variant in _variants(condition, predictions.source, cls):
        views = predictions.views(cls, refs, variant)
        logits = model.logits(model.preprocess.normalise(views)).double().cpu()
        losses.append(cross_entropy(logits, labels, reduction="none").numpy())
        tried.append(views)
    return np.stack(tried)[np.argmax(losses, axis=0), np.arange(len(refs))]


def _variants(condition: Condition, source: ImageSource, cls: ClassInfo) -> Iterator[Condition]:
    params = dict(condition.params)
    params.pop("held_out", None)
    for word in _words(condition, source):
        if source.class_index_of(word) != cls.class_index:
            for place in _places(condition):
                yield replace(condition, params=tuple((params | {"text": word, "place": place}).items()))


def _words(condition: Condition, source: ImageSource) -> list[str]:
    params = dict(condition.params)
    named = set().union(*(listed_words(params[key]) for key in ("text", "held_out") if key in params))
    return sorted(named) if len(named) > 1 else [source.word(other) for other in source.classes[:MAX_WORDS]]


def _places(condition: Condition) -> tuple[str, ...]:
    place = str(condition["place"])
    return PLACES if place in PLACES else (place,)
