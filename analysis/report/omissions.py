"""The reasons why parts of a study's section are missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...circuits import MIN_IMAGES
from ...query import Study
from ..controls import conditions_of, controls_of
from ..side_by_side import role
from ..study_overview import StudyOverview
from ..wording import count, join_names

_ONLY_NATURAL = "the study has no condition other than natural"


@dataclass(frozen=True)
class Omissions:
    """The reasons for missing results, by part of the section."""

    similarity: Sequence[str] = ()
    stability: Sequence[str] = ()
    controls: Sequence[str] = ()
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
        list(_similarity(shown)),
        list(_stability(shown)),
        list(_controls(shown.study)),
        list(_changes(shown)),
        list(_carriers(shown)),
        list(_drawings(shown.study, drawn)),
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


def _stability(shown: StudyOverview) -> Iterator[str]:
    if shown.stability.empty:
        yield f"Unknown: it needs scores per image, for at least {MIN_IMAGES} images, and an order of all edges."
    elif len(shown.stability) < len(shown.main_records):
        yield f"Computed for {len(shown.stability)} of {len(shown.main_records)} circuits."


def _controls(study: Study) -> Iterator[str]:
    attacks = [text for text, c in conditions_of(study).items() if role(c) == "attack" and not controls_of(study, text)]
    if attacks:
        yield (
            f"The study has no control of {join_names([study.short(text) for text in attacks])}, so it is not known "
            "how many edges a harmless change of the same size would add."
        )


def _changes(shown: StudyOverview) -> Iterator[str]:
    if shown.study.kind == "effect" and not shown.changes:
        why = "no class has circuits without a flag under natural and another condition"
        yield f"No edges are called gained or lost: {why if shown.study.other_conditions else _ONLY_NATURAL}."


def _carriers(shown: StudyOverview) -> Iterator[str]:
    if shown.study.kind == "mechanism" and not shown.carriers:
        why = "all circuits are flagged"
        yield f"No edges are said to carry a condition: {why if shown.study.other_conditions else _ONLY_NATURAL}."


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
