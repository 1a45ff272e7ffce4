"""A study laid out for the page: charts, drawings, tables, and the reason where something is absent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...circuits import StudyKind
from ...query import Similarity
from .. import sentences
from ..study_overview import StudyOverview
from .absent import Absent, absent
from .charts import Chart, carriers_chart, changes_chart, faithfulness_chart, heat_map
from .drawings import ClassDrawings, Drawing, Pictures, draw_carriers, draw_changes, draw_classes
from .tables import ROWS, HtmlTable, frame_table

ABOUT: Mapping[StudyKind, str] = {
    "effect": (
        "The same images, natural and attacked, contrasted with the same corrupted images, scored on the true class's "
        "logit: only the condition differs, so an edge can be said to be gained or lost."
    ),
    "mechanism": (
        "Each attacked image against its unattacked twin, scored on the logit of the attack's target less that of "
        "the true class: a positive score means that the edge carries the attack."
    ),
    "other": (
        "Circuits of classes under one recipe. Its metric and corruption are neither those of an effect study nor "
        "those of a mechanism study, so no edge is called gained, lost or a carrier."
    ),
}


@dataclass(frozen=True)
class ChangesView:
    """What a condition adds and takes away."""

    chart: Chart
    drawing: Drawing | None
    edges: HtmlTable
    classes: HtmlTable


@dataclass(frozen=True)
class CarriersView:
    """Which edges carry an attack."""

    chart: Chart | None
    drawing: Drawing | None
    edges: HtmlTable


@dataclass(frozen=True)
class Section:
    """All that the page shows of one study."""

    id: str
    title: str
    conditions: str
    about: str
    asked: str
    extent: str
    notes: Sequence[str]
    in_short: Sequence[str]
    heat_maps: Sequence[Chart]
    pairs: Sequence[HtmlTable]
    faithfulness: Chart | None
    faithfulness_table: HtmlTable
    reasons: HtmlTable | None
    changes: Sequence[ChangesView]
    carriers: Sequence[CarriersView]
    drawings: Sequence[ClassDrawings]
    absent: Absent


def study_id(number: int) -> str:
    """Return the id of a study's heading."""
    return f"study-{number + 1}"


def section(shown: StudyOverview, number: int, pictures: Pictures) -> Section:
    """Lay out one study; `number` makes its ids its own."""
    id, study = study_id(number), shown.study
    alike = [(study.short(condition), square) for condition, square in shown.similarities.items()]
    changed, carrying = list(_changes(shown, id, pictures)), list(_carriers(shown, id, pictures))
    drawn = list(draw_classes(shown, pictures))
    return Section(
        id=id,
        title=shown.title,
        conditions=", ".join(map(study.short, study.conditions)),
        about=ABOUT[study.kind],
        asked=sentences.asked(shown),
        extent=sentences.extent(shown),
        notes=list(shown.notes),
        in_short=list(sentences.in_short(shown)),
        heat_maps=[heat_map(label, square, f"{id}-alike-{i}") for i, (label, square) in enumerate(alike)],
        pairs=[_pairs(label, square) for label, square in alike],
        faithfulness=faithfulness_chart(shown, f"{id}-faith") if shown.records else None,
        faithfulness_table=_faithfulness_table(shown),
        reasons=_reasons(shown),
        changes=changed,
        carriers=carrying,
        drawings=drawn,
        absent=absent(shown, len(drawn)),
    )


def _changes(shown: StudyOverview, id: str, pictures: Pictures) -> Iterator[ChangesView]:
    for number, change in enumerate(shown.changes):
        yield ChangesView(
            changes_chart(change, f"{id}-change-{number}"),
            draw_changes(shown, change, pictures),
            frame_table(
                change.by_edge,
                f"Edges that most classes gain or lose under {change.label}. Floor: in how many of "
                f"{len(change.by_class)} classes the edge changes as much between halves of the natural images. "
                "Scores: means over classes.",
                most=ROWS,
            ),
            frame_table(change.by_class, "Sizes, changes and noise floor by class."),
        )


def _carriers(shown: StudyOverview, id: str, pictures: Pictures) -> Iterator[CarriersView]:
    for number, (condition, table) in enumerate(shown.carriers.items()):
        label = shown.study.short(condition)
        edges = frame_table(
            table,
            f"Edges that carry {label} most. By chance: circuits that would hold the edge if edges were "
            "drawn uniformly.",
            most=ROWS,
        )
        chart = carriers_chart(label, table, f"{id}-carriers-{number}")
        yield CarriersView(chart, draw_carriers(shown, condition, table, pictures), edges)


def _pairs(label: str, similarity: Similarity) -> HtmlTable:
    return frame_table(
        similarity.above_chance,
        "Most alike first, by what is above chance. Noise floor: mean of the two classes'.",
        most=ROWS,
        condition=label,
    )


def _faithfulness_table(shown: StudyOverview) -> HtmlTable:
    return frame_table(
        shown.listed.assign(condition=shown.listed["condition"].map(shown.study.short)),
        "On report images: n_eval of them. Metrics are means. Full: the whole model; empty: every edge corrupted; "
        "circuit: all other edges corrupted; random: mean of the random circuits. Nearer than random: faithfulness is "
        "nearer to 1 than that of the random circuits. Flagged circuits are listed only here.",
    )


def _reasons(shown: StudyOverview) -> HtmlTable | None:
    circuits, reasons = shown.study.circuits, shown.reasons
    if not reasons:
        return None
    frame = circuits.iloc[list(reasons)][["class", "condition"]]
    frame = frame.assign(condition=frame["condition"].map(shown.study.short), reason=list(reasons.values()))
    return frame_table(frame, "Circuits without faithfulness.", most=ROWS)
