"""What a kind of condition provides, and what most kinds lack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from ..circuits import ClassInfo, Condition
from ..circuits.kinds import Kind
from ..errors import unknown
from .batch import Batch
from .source import ImageRef, ImageSource
from .splits import Split

Views = UInt8[np.ndarray, "image height width 3"]

Role = Literal["natural", "attack", "control", "distortion"]
"""What a condition is for: the unchanged images, an attack, the harmless control of an attack, or a distortion."""

OTHER_CLASS = "other class"
"""Name of `other_class`, as the word that an attack writes or as its target."""


def _attacks(condition: Condition) -> Role:
    return "attack"


def _no_target(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> int | None:
    return None


def _no_words(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> tuple[str, ...]:
    return ()


def _no_notice(condition: Condition) -> str | None:
    return None


def _no_file(condition: Condition, source: ImageSource, ref: ImageRef) -> ImageRef | None:
    return None


def _unchanged(condition: Condition, split: Split) -> Condition:
    return condition


def _controls_nothing(condition: Condition, attack: Condition) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class ConditionKind(Kind):
    """A kind of condition.

    Attributes:
        apply: returns the images of a batch under the condition.
        role: returns what the condition is for.
        target: returns the logit of the attack's target class, or None.
        words: returns the words that the attack writes.
        file: returns the file with the attacked image, or None if the attack is computed from the unattacked image.
        of_split: returns the condition as it is applied to images of one split, which differs only for held-out words.
        follows_gradients: whether the attack needs a model, `Batch.model`.
        notice: returns what the user should know about the parameters, or None.
        controls: returns whether the condition is a control of an attack: harmless, and of the same size.
    """

    apply: Callable[[Condition, Batch], Views]
    role: Callable[[Condition], Role] = _attacks
    target: Callable[[Condition, ImageSource, ClassInfo, int], int | None] = _no_target
    words: Callable[[Condition, ImageSource, ClassInfo, int], tuple[str, ...]] = _no_words
    file: Callable[[Condition, ImageSource, ImageRef], ImageRef | None] = _no_file
    of_split: Callable[[Condition, Split], Condition] = _unchanged
    follows_gradients: bool = False
    notice: Callable[[Condition], str | None] = _no_notice
    controls: Callable[[Condition, Condition], bool] = _controls_nothing


def other_class(source: ImageSource, cls: ClassInfo, seed: int) -> ClassInfo:
    """Return the class two places later in the seeded cyclic order, or the other class of two."""
    return source.cycle(seed).later(cls, 2 if len(source.classes) > 2 else 1)


def class_named(condition: Condition, source: ImageSource, name: str) -> int:
    """Return the logit of the class that a condition names as its target.

    Raises:
        InputError: neither the source nor the model has this class.
    """
    index = source.class_index_of(name)
    if index is None:
        raise unknown("class", name, [c.name for c in source.classes], where=f"condition {condition.text}: target")
    return index
