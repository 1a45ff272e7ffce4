"""Which images of a class a question is asked of: seeded order, qualification, and a split by content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from ..circuits import ClassInfo, Condition
from ..errors import InputError, unknown
from .conditions import is_attack, target_of, words
from .files import BadImage, shown
from .readings import BATCH, Readings
from .seeds import rank
from .source import ImageRef, ImageSource
from .splits import SPLITS, Split, quotas

RULES = ("correct", "all", "successful")
"""Which candidates qualify: those that the model classifies correctly unattacked; all; or, under an attack,
the correct ones that it turns (into the attack's target, where it has one)."""

LEAST_BATCH = 8
"""Candidates that are looked at together, however few images are missing."""


@dataclass(frozen=True)
class Selected:
    """The images of a class that a question is asked of; each split in the order in which they were tried.

    Attributes:
        tried: the candidates that were looked at, those that did not qualify included.
        why: what the model makes of those tried, where a split has fewer images than asked; else empty.
        warnings: fewer images than asked, undecodable images.
    """

    discovery: tuple[ImageRef, ...]
    selection: tuple[ImageRef, ...]
    report: tuple[ImageRef, ...]
    tried: tuple[ImageRef, ...] = ()
    why: str = ""
    warnings: tuple[str, ...] = ()


def order_candidates(refs: Iterable[ImageRef], seed: int) -> tuple[ImageRef, ...]:
    """The images in a seeded order that does not depend on the order given: adding images keeps the rest in line."""
    return tuple(sorted(refs, key=lambda r: rank("candidates", seed, r.hash)))


def select_images(
    readings: Readings,
    cls: ClassInfo,
    *,
    per_class: int,
    rule: str = "correct",
    condition: Condition | None = None,
) -> Selected:
    """The first qualifying candidates of the class, until every split has its quota.

    With `correct` and `all` the condition does not matter: all conditions are asked of the same images.

    Args:
        readings: what the model takes the images for; its seed orders the candidates.
        per_class: images wanted over the three splits: half, a quarter, a quarter.
        rule: one of `RULES`.
        condition: the attack that has to succeed, for `successful`.

    Raises:
        InputError: unknown rule, fewer than four images asked, or `successful` without an attack.
    """
    _check(rule, per_class, condition)
    source = readings.source
    candidates = order_candidates(source.candidates(cls), readings.seed)
    wanted = quotas(per_class)
    chosen: dict[Split, list[ImageRef]] = {split: [] for split in SPLITS}
    warnings: list[str] = []
    tried: list[ImageRef] = []
    rest = list(candidates)
    while rest := [r for r in rest if len(chosen[source.split_of(r)]) < wanted[source.split_of(r)]]:
        missing = per_class - sum(map(len, chosen.values()))
        size = min(BATCH, max(LEAST_BATCH, missing))
        refs = _decodable(source, rest[:size], warnings)
        rest = rest[size:]
        tried += refs
        for ref, good in zip(refs, _qualify(readings, cls, refs, rule, condition), strict=True):
            split = source.split_of(ref)
            into = chosen[split]
            if good and len(into) < wanted[split]:
                into.append(ref)
    why = ""
    if any(len(chosen[s]) < wanted[s] for s in SPLITS):
        why = _why(readings, cls, tried, rule, condition)
        got = ", ".join(f"{len(chosen[s])} of {wanted[s]} {s}" for s in SPLITS)
        warnings.append(f"class {cls.name!r}: fewer images than asked ({got}); choose = {rule!r}: {why}")
    splits = {split: tuple(chosen[split]) for split in SPLITS}
    return Selected(**splits, tried=tuple(tried), why=why, warnings=tuple(warnings))


def _check(rule: str, per_class: int, condition: Condition | None) -> None:
    if rule not in RULES:
        raise unknown("rule of choice", rule, RULES)
    if per_class < 4:
        raise InputError(f"per_class: expected at least 4 images (a quarter to each of two splits), got {per_class}")
    if rule == "successful" and (condition is None or not is_attack(condition)):
        raise InputError("choose = 'successful' needs an attack; for natural images take 'correct' or 'all'")


def _decodable(source: ImageSource, refs: Sequence[ImageRef], warnings: list[str]) -> list[ImageRef]:
    """The images that can be decoded; the others are reported in `warnings`."""
    good = []
    for ref in refs:
        try:
            source.view(ref)
            good.append(ref)
        except BadImage as error:
            warnings.append(f"skipped {shown(ref.origin)}: {error.reason}")
    return good


def _qualify(
    readings: Readings, cls: ClassInfo, refs: Sequence[ImageRef], rule: str, condition: Condition | None
) -> Bool[np.ndarray, "image"]:
    if rule == "all":
        return np.ones(len(refs), bool)
    correct = readings.correct(cls, refs)
    if rule == "successful" and condition is not None:
        right = [ref for ref, good in zip(refs, correct, strict=True) if good]
        correct[correct] = readings.turned(cls, right, condition)
    return correct


def _why(readings: Readings, cls: ClassInfo, tried: Sequence[ImageRef], rule: str, condition: Condition | None) -> str:
    """What the model makes of the candidates, as far as the rule asks for it."""
    if rule == "all":
        return f"there are {len(tried)} candidates"
    correct = readings.correct(cls, tried)
    right = [ref for ref, good in zip(tried, correct, strict=True) if good]
    said = f"{len(right)} of {len(tried)} candidates are classified as {cls.name!r} (class {cls.class_index})"
    if len(right) < len(tried):
        said += f", most often {readings.most_often(cls, tried)}"
    if rule == "correct" or condition is None or not right:
        return said
    turned = int(readings.turned(cls, right, condition).sum())
    target = target_of(condition, readings.source, cls, readings.seed)
    into = "another class" if target is None else repr(readings.source.name_of(target))
    written = words(condition, readings.source, cls, readings.seed)
    by = f"the word {' '.join(written)!r}" if written else condition.text
    read = readings.most_often(cls, right, condition)
    return f"{said}; {by} turns {turned} of {len(right)} into {into}, they are read as {read}"
