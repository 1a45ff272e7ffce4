"""The reasons why parts of a study's section are missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...query import Study
from ..study_overview import StudyOverview
from ..wording import count

_NO_ATTACK = "the study has no attacked condition"


@dataclass(frozen=True)
class Omissions:
    """The reasons for missing results, by part of the section."""

    similarity: Sequence[str] = ()
    changes: Sequence[str] = ()
    carriers: Sequence[str] = ()
    drawings: Sequence[str] = ()


def omissions(shown: StudyOverview, drawn: int) -> Omissions:
    """Return the reasons for all missing parts that a study of this kind may have.

    Args:
        shown: the study.
        drawn: the number of classes with drawings.
    """
    return Omissions(
        list(_similarity(shown)), list(_changes(shown)), list(_carriers(shown)), list(_drawings(shown.study, drawn))
    )


def _similarity(shown: StudyOverview) -> Iterator[str]:
    study = shown.study
    for condition in study.conditions:
        classes = len(study.rows(condition))
        if classes < 2:
            number = "only one class" if classes else "no class"
            yield f"Under {condition}, {number} has a circuit without a flag, so there is nothing to compare."
    if not shown.floors:
        yield "No noise floor: it needs scores per image, for at least two images."
    elif len(shown.floors) < len(study.circuits):
        yield (
            f"Noise floors were computed for {len(shown.floors)} of the {len(study.circuits)} circuits, spread evenly; "
            "the others are white on the diagonal."
        )


def _changes(shown: StudyOverview) -> Iterator[str]:
    if shown.study.kind == "effect" and not shown.changes:
        why = "no class has a natural and an attacked circuit without a flag"
        yield f"No edges are called gained or lost: {why if shown.study.attacks else _NO_ATTACK}."


def _carriers(shown: StudyOverview) -> Iterator[str]:
    if shown.study.kind == "mechanism" and not shown.carriers:
        why = "all circuits are flagged"
        yield f"No edges are said to carry an attack: {why if shown.study.attacks else _NO_ATTACK}."


def _drawings(study: Study, drawn: int) -> Iterator[str]:
    if not study.universe.has_drawing:
        yield f"Circuits over {study.universe.text} are not drawn: only computation graphs have a drawing."
        return
    missing = len(set(study.circuits["class"])) - drawn
    if missing:
        more = count(missing, "more class is", "more classes are")
        yield f"To keep the page small, {more} not drawn; circuitstore draw ID draws any circuit."
    if study.circuits.empty:
        yield "All circuits are flagged, so none is drawn; circuitstore draw ID draws any circuit."
