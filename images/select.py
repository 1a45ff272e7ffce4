"""Which images of a class a question is asked of: seeded order, qualification, and a split by content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt8

from ..circuits import ClassInfo, Condition
from ..errors import InputError, unknown
from ..models import ViT
from .batch import Batch
from .conditions import attack, is_attack, target_of
from .files import BadImage, shown
from .seeds import rank
from .source import ImageRef, ImageSource
from .splits import SPLITS, Split, quotas

RULES = ("correct", "all", "successful")
"""Which candidates qualify: those that the model classifies correctly unattacked; all; or, under an attack,
the correct ones that it turns (into the attack's target, where it has one)."""

_BATCH = 64


@dataclass(frozen=True)
class Selected:
    """The images of a class that a question is asked of; each split in the order in which they were tried.

    Attributes:
        warnings: fewer images than asked, undecodable images.
    """

    discovery: tuple[ImageRef, ...]
    selection: tuple[ImageRef, ...]
    report: tuple[ImageRef, ...]
    warnings: tuple[str, ...]


def order_candidates(refs: Iterable[ImageRef], seed: int) -> tuple[ImageRef, ...]:
    """The images in a seeded order that does not depend on the order given: adding images keeps the rest in line."""
    return tuple(sorted(refs, key=lambda r: rank("candidates", seed, r.hash)))


def select_images(
    source: ImageSource,
    model: ViT,
    cls: ClassInfo,
    *,
    per_class: int,
    rule: str = "correct",
    seed: int = 0,
    condition: Condition | None = None,
) -> Selected:
    """The first qualifying candidates of the class, until every split has its quota.

    With `correct` and `all` the condition does not matter: all conditions are asked of the same images.

    Args:
        per_class: images wanted over the three splits: half, a quarter, a quarter.
        rule: one of `RULES`.
        condition: the attack that has to succeed, for `successful`.

    Raises:
        InputError: unknown rule, fewer than four images asked, or `successful` without an attack.
    """
    _check(rule, per_class, condition)
    candidates = order_candidates(source.candidates(cls), seed)
    wanted = quotas(per_class)
    chosen: dict[Split, list[ImageRef]] = {split: [] for split in SPLITS}
    warnings: list[str] = []
    rest = list(candidates)
    while rest := [r for r in rest if len(chosen[source.split_of(r)]) < wanted[source.split_of(r)]]:
        refs, views = _decode(source, rest[:_BATCH], warnings)
        rest = rest[_BATCH:]
        for ref, good in zip(refs, _qualify(source, model, cls, refs, views, rule, seed, condition), strict=True):
            split = source.split_of(ref)
            into = chosen[split]
            if good and len(into) < wanted[split]:
                into.append(ref)
    if short := _shortage(cls, chosen, wanted, len(candidates), rule):
        warnings.append(short)
    return Selected(
        *(tuple(chosen[split]) for split in SPLITS),
        warnings=tuple(warnings),
    )


def _check(rule: str, per_class: int, condition: Condition | None) -> None:
    if rule not in RULES:
        raise unknown("rule of choice", rule, RULES)
    if per_class < 4:
        raise InputError(f"per_class: expected at least 4 images (a quarter to each of two splits), got {per_class}")
    if rule == "successful" and (condition is None or not is_attack(condition)):
        raise InputError("choose = 'successful' needs an attack; for natural images take 'correct' or 'all'")


def _decode(
    source: ImageSource, refs: Sequence[ImageRef], warnings: list[str]
) -> tuple[tuple[ImageRef, ...], UInt8[np.ndarray, "image height width 3"]]:
    """The decodable ones and their views; the others are told in `warnings`."""
    views = {}
    for ref in refs:
        try:
            views[ref] = source.view(ref)
        except BadImage as error:
            warnings.append(f"skipped {shown(ref.origin)}: {error.reason}")
    return tuple(views), np.stack(list(views.values())) if views else np.empty((0, 1, 1, 3), np.uint8)


def _qualify(
    source: ImageSource,
    model: ViT,
    cls: ClassInfo,
    refs: tuple[ImageRef, ...],
    views: UInt8[np.ndarray, "image height width 3"],
    rule: str,
    seed: int,
    condition: Condition | None,
) -> Bool[np.ndarray, "image"]:
    if rule == "all" or not refs:
        return np.ones(len(refs), bool)
    correct = predict(model, views) == cls.class_index
    if rule == "correct" or condition is None:
        return correct
    turned = predict(model, attack(condition, Batch(source, cls, refs, (), seed)))
    target = target_of(condition, source, cls, seed)
    return correct & (turned == target if target is not None else turned != cls.class_index)


def predict(model: ViT, views: UInt8[np.ndarray, "image height width 3"]) -> Int[np.ndarray, "image"]:
    """The class with the highest logit for each view."""
    return model.logits(model.preprocess.normalise(views)).argmax(dim=-1).cpu().numpy()


def _shortage(
    cls: ClassInfo, chosen: dict[Split, list[ImageRef]], wanted: dict[Split, int], n_candidates: int, rule: str
) -> str | None:
    """A warning where a split has fewer images than asked."""
    if all(len(chosen[s]) == wanted[s] for s in SPLITS):
        return None
    got = ", ".join(f"{len(chosen[s])} of {wanted[s]} {s}" for s in SPLITS)
    return f"class {cls.name!r}: fewer images than asked ({got}); {n_candidates} candidates, choose = {rule!r}"
