"""Selection of a class's images for a work item: seeded order, qualification, and split by content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from ..circuits import ClassInfo, Condition
from ..errors import InputError, unknown
from .conditions import changes_images, target_of, words
from .files import BadImage, printable
from .predictions import BATCH, Predictions
from .seeds import rank
from .source import ImageRef, ImageSource
from .splits import SPLITS, Split, quotas

RULES = ("correct", "all", "successful")
"""Which candidates qualify: those that the model classifies correctly unattacked; all; or the correct ones for which
the attack succeeds, see `Predictions.successful`."""

MIN_BATCH = 8
"""Minimum number of candidates that are tried together."""


@dataclass(frozen=True)
class Selected:
    """The images selected from a class; each split in the order in which they were tried.

    Attributes:
        tried: the candidates that were tried, including those that did not qualify.
        why: the model's predictions for these, if a split has too few images; else empty.
        warnings: too few images, images that cannot be decoded.
    """

    discovery: tuple[ImageRef, ...]
    selection: tuple[ImageRef, ...]
    report: tuple[ImageRef, ...]
    tried: tuple[ImageRef, ...] = ()
    why: str = ""
    warnings: tuple[str, ...] = ()


def order_candidates(refs: Iterable[ImageRef], seed: int) -> tuple[ImageRef, ...]:
    """Return images in a seeded order that does not depend on their order in `refs`; new images keep the others' order.

    Examples:
        >>> refs = source.candidates(source.class_named("three"))
        >>> order_candidates(refs, seed=1) == order_candidates(refs[::-1], seed=1)
        True
    """
    return tuple(sorted(refs, key=lambda r: rank("candidates", seed, r.hash)))


def select_images(
    predictions: Predictions,
    cls: ClassInfo,
    *,
    per_class: int,
    rule: str = "correct",
    condition: Condition | None = None,
    group: str = "",
) -> Selected:
    """Select the first qualifying candidates of a class, until every split has its quota.

    With `correct` and `all` the selection does not depend on the condition: all conditions use the same images.

    Args:
        predictions: the model's predictions for the images; their seed orders the candidates.
        cls: the class.
        per_class: number of images over the three splits: half, a quarter, a quarter.
        rule: one of `RULES`.
        condition: the attack that has to succeed, for `successful`.
        group: only images of this group; empty: all images of the class.

    Raises:
        InputError: an unknown rule, fewer than four images, or `successful` without an attack.

    Examples:
        >>> selected = select_images(Predictions(source, model), source.class_named("three"), per_class=8)
        >>> len(selected.discovery), len(selected.selection), len(selected.report)
        (4, 2, 2)
    """
    _check(rule, per_class, condition)
    source = predictions.source
    candidates = order_candidates(source.candidates(cls, group), predictions.seed)
    wanted = quotas(per_class)
    chosen: dict[Split, list[ImageRef]] = {split: [] for split in SPLITS}
    warnings: list[str] = []
    tried: list[ImageRef] = []
    rest = list(candidates)
    while rest := [r for r in rest if len(chosen[source.split_of(r)]) < wanted[source.split_of(r)]]:
        missing = per_class - sum(map(len, chosen.values()))
        size = min(BATCH, max(MIN_BATCH, missing))
        refs = _decodable(source, rest[:size], warnings)
        rest = rest[size:]
        tried += refs
        for ref, good in zip(refs, _qualify(predictions, cls, refs, rule, condition), strict=True):
            split = source.split_of(ref)
            into = chosen[split]
            if good and len(into) < wanted[split]:
                into.append(ref)
    why = ""
    if any(len(chosen[s]) < wanted[s] for s in SPLITS):
        why = _why(predictions, cls, tried, rule, condition)
        got = ", ".join(f"{len(chosen[s])} of {wanted[s]} {s}" for s in SPLITS)
        where = f"class {cls.name!r}" + (f", group {group!r}" if group else "")
        warnings.append(f"{where}: fewer images than requested ({got}); choose = {rule!r}: {why}")
    splits = {split: tuple(chosen[split]) for split in SPLITS}
    return Selected(**splits, tried=tuple(tried), why=why, warnings=tuple(warnings))


def _check(rule: str, per_class: int, condition: Condition | None) -> None:
    if rule not in RULES:
        raise unknown("rule of choice", rule, RULES)
    if per_class < 4:
        raise InputError(f"per_class: expected at least 4 images (a quarter to each of two splits), got {per_class}")
    if rule == "successful" and (condition is None or not changes_images(condition)):
        raise InputError("choose = 'successful' needs an attack; for natural images use 'correct' or 'all'")


def _decodable(source: ImageSource, refs: Sequence[ImageRef], warnings: list[str]) -> list[ImageRef]:
    """Return the images that can be decoded; add the others to `warnings`."""
    good = []
    for ref in refs:
        try:
            source.view(ref)
            good.append(ref)
        except BadImage as error:
            warnings.append(f"skipped {printable(ref.origin)}: {error.reason}")
    return good


def _qualify(
    predictions: Predictions, cls: ClassInfo, refs: Sequence[ImageRef], rule: str, condition: Condition | None
) -> Bool[np.ndarray, "image"]:
    if rule == "all":
        return np.ones(len(refs), bool)
    correct = predictions.correct(cls, refs)
    if rule == "successful" and condition is not None:
        right = [ref for ref, good in zip(refs, correct, strict=True) if good]
        correct[correct] = predictions.successful(cls, right, condition)
    return correct


def _why(
    predictions: Predictions, cls: ClassInfo, tried: Sequence[ImageRef], rule: str, condition: Condition | None
) -> str:
    """Summarise the model's predictions for the candidates, as far as the rule depends on them."""
    if rule == "all":
        return f"there are {len(tried)} candidates"
    correct = predictions.correct(cls, tried)
    right = [ref for ref, good in zip(tried, correct, strict=True) if good]
    text = f"{len(right)} of {len(tried)} candidates are classified as {cls.name!r} (class {cls.class_index})"
    if len(right) < len(tried):
        text += f", most often {predictions.most_often(cls, tried)}"
    if rule == "correct" or condition is None or not right:
        return text
    turned = int(predictions.successful(cls, right, condition).sum())
    target = target_of(condition, predictions.source, cls, predictions.seed)
    into = "another class" if target is None else repr(predictions.source.name_of(target))
    written = words(condition, predictions.source, cls, predictions.seed)
    by = f"the word {' '.join(written)!r}" if written else condition.text
    predicted = predictions.most_often(cls, right, condition)
    return f"{text}; {by} turns {turned} of {len(right)} into {into}; predicted: {predicted}"
