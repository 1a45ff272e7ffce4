"""Why parts of a study's section are not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...query import Study
from ..study_overview import StudyOverview
from ..wording import count

_NO_ATTACK = "no attacked condition was asked for"


@dataclass(frozen=True)
class Absent:
    """The reasons, by part of the section."""

    similarity: Sequence[str] = ()
    changes: Sequence[str] = ()
    carriers: Sequence[str] = ()
    drawings: Sequence[str] = ()


def absent(shown: StudyOverview, drawn: int) -> Absent:
    """Return the reason for each part that a study of its kind could have had.

    Args:
        drawn: how many classes have drawings.
    """
    return Absent(
        list(_similarity(shown)), list(_changes(shown)), list(_carriers(shown)), list(_drawings(shown.study, drawn))
    )


def _similarity(shown: StudyOverview) -> Iterator[str]:
    study = shown.study
    for condition in study.conditions:
        classes = len(study.rows(condition))
        if classes < 2:
            there = f"{'one class' if classes else 'no class'} with a circuit without a flag"
            yield f"Under {condition} there is {there}: nothing to compare."
    if not shown.floors:
        yield "No noise floor: it needs scores per image, of two images or more."
    elif len(shown.floors) < len(study.circuits):
        yield (
            f"Noise floors are those of {len(shown.floors)} of the {len(study.circuits)} circuits, spread evenly; "
            "where a diagonal is white it was not computed."
        )


def _changes(shown: StudyOverview) -> Iterator[str]:
    if shown.study.kind == "effect" and not shown.changes:
        why = "no class has a natural and an attacked circuit without a flag"
        yield f"No edges are said to be gained or lost: {why if shown.study.attacks else _NO_ATTACK}."


def _carriers(shown: StudyOverview) -> Iterator[str]:
    if shown.study.kind == "mechanism" and not shown.carriers:
        why = "no circuit is without a flag"
        yield f"No edges are said to carry an attack: {why if shown.study.attacks else _NO_ATTACK}."


def _drawings(study: Study, drawn: int) -> Iterator[str]:
    missing = len(set(study.circuits["class"])) - drawn
    if missing:
        more = count(missing, "more class", "more classes")
        yield f"Not drawn here, so that the page stays small: {more}; circuitstore draw ID draws any circuit."
    if study.circuits.empty:
        yield "All circuits are flagged, so none is drawn; circuitstore draw ID draws any circuit."
