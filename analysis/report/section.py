"""A study laid out for the page: charts, drawings, tables, and the reasons for missing parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...circuits import StudyKind, dendrogram_order
from ...query import Similarity
from .. import sentences
from ..study_overview import StudyOverview
from ..wording import join_names
from .charts import Chart, carriers_chart, changes_chart, cross_chart, faithfulness_chart, heat_map
from .drawings import ClassDrawings, Drawing, Pictures, draw_carriers, draw_changes, draw_classes
from .omissions import Omissions, omissions
from .shared import SharedView, shared_view
from .side_by_side import SideBySideView, side_by_side_view
from .stability import StabilityView, stability_view
from .tables import ROWS, HtmlTable, frame_table

ABOUT: Mapping[StudyKind, str] = {
    "effect": (
        "The same images under every condition are contrasted with the same corrupted images and scored on the logit "
        "of the true class. Only the condition differs, so edges can be called gained or lost."
    ),
    "mechanism": (
        "Each image under a condition is contrasted with its natural twin and scored on the logit of the target minus "
        "that of the true class. An edge with a positive score carries the condition, such as an attack."
    ),
    "other": (
        "Circuits of classes with one recipe. Its metric and corruption are neither those of an effect study nor "
        "those of a mechanism study, so no edge is called gained, lost or a carrier."
    ),
}


MAX_TITLE = 4
"""Maximum number of conditions that the heading of a study names."""

_TEXTS = ("word", "target", "against")
"""Columns with long texts, which stand after the figures."""


@dataclass(frozen=True)
class ChangesView:
    """The edges that a condition adds and removes."""

    chart: Chart
    drawing: Drawing | None
    edges: HtmlTable
    classes: HtmlTable


@dataclass(frozen=True)
class CarriersView:
    """The edges that carry a condition."""

    chart: Chart | None
    drawing: Drawing | None
    edges: HtmlTable


@dataclass(frozen=True)
class Section:
    """Everything that the page shows of one study."""

    id: str
    title: str
    conditions: str
    about: str
    recipe: str
    extent: str
    notes: Sequence[str]
    findings: Sequence[str]
    heat_maps: Sequence[Chart]
    pairs: Sequence[HtmlTable]
    cross: Sequence[Chart]
    shared: SharedView | None
    stability: StabilityView | None
    faithfulness: Chart | None
    faithfulness_table: HtmlTable
    reasons: HtmlTable | None
    side_by_side: SideBySideView | None
    changes: Sequence[ChangesView]
    carriers: Sequence[CarriersView]
    drawings: Sequence[ClassDrawings]
    omissions: Omissions


def study_id(number: int) -> str:
    """Return the id of the heading of a study."""
    return f"study-{number + 1}"


def section(shown: StudyOverview, number: int, pictures: Pictures) -> Section:
    """Lay out one study; `number` makes its ids unique."""
    id, study = study_id(number), shown.study
    alike = [(study.short(condition), square) for condition, square in shown.similarities.items()]
    changed, carrying = list(_changes(shown, id, pictures)), list(_carriers(shown, id, pictures))
    drawn = list(draw_classes(shown, pictures))
    return Section(
        id=id,
        title=shown.title,
        conditions=join_names([study.short(condition) for condition in study.conditions], MAX_TITLE),
        about=ABOUT[study.kind],
        recipe=sentences.recipe(shown),
        extent=sentences.extent(shown),
        notes=list(shown.notes),
        findings=list(sentences.findings(shown)),
        heat_maps=[heat_map(label, square, f"{id}-alike-{i}") for i, (label, square) in enumerate(alike)],
        pairs=[_pairs(label, square) for label, square in alike],
        cross=list(_cross(shown, id)),
        shared=shared_view(shown),
        stability=stability_view(shown, f"{id}-stability"),
        faithfulness=faithfulness_chart(shown, f"{id}-faith") if shown.records else None,
        faithfulness_table=_faithfulness_table(shown),
        reasons=_reasons(shown),
        side_by_side=side_by_side_view(shown, f"{id}-conditions"),
        changes=changed,
        carriers=carrying,
        drawings=drawn,
        omissions=omissions(shown, len(drawn)),
    )


def _cross(shown: StudyOverview, id: str) -> Iterator[Chart]:
    for number, (condition, matrix) in enumerate(shown.cross_classes.items()):
        label = shown.study.short(condition)
        similar = shown.similarities[condition]
        order = [similar.labels[i] for i in dendrogram_order(similar.values)]
        yield cross_chart(label, matrix.loc[order, order], f"{id}-cross-{number}")


def _changes(shown: StudyOverview, id: str, pictures: Pictures) -> Iterator[ChangesView]:
    for number, change in enumerate(shown.changes):
        yield ChangesView(
            changes_chart(change, f"{id}-change-{number}"),
            draw_changes(shown, change, pictures),
            frame_table(
                change.by_edge,
                f"Edges that most classes gain or lose under {change.label}. Floor: the number of classes, out of "
                f"{len(change.by_class)}, in which the edge changes between halves of the natural images. "
                "Scores: means over classes.",
                max_rows=ROWS,
            ),
            frame_table(change.by_class, "Sizes, changes and noise floors by class."),
        )


def _carriers(shown: StudyOverview, id: str, pictures: Pictures) -> Iterator[CarriersView]:
    for number, (condition, table) in enumerate(shown.carriers.items()):
        label = shown.study.short(condition)
        edges = frame_table(
            table,
            f"Edges that carry {label} most. By chance: the expected number of circuits with the edge if edges were "
            "drawn uniformly.",
            max_rows=ROWS,
        )
        chart = carriers_chart(label, table, f"{id}-carriers-{number}")
        yield CarriersView(chart, draw_carriers(shown, condition, table, pictures), edges)


def _pairs(label: str, similarity: Similarity) -> HtmlTable:
    return frame_table(
        similarity.above_chance,
        "Sorted by similarity above chance. Noise floor: mean of the two classes.",
        max_rows=ROWS,
        condition=label,
    )


def _faithfulness_table(shown: StudyOverview) -> HtmlTable:
    table = shown.listed.assign(condition=shown.listed["condition"].map(shown.study.short))
    texts = [name for name in _TEXTS if name in table]
    return frame_table(
        table.loc[:, [*table.columns.drop(texts), *texts]],
        "On the report images. Metrics are means. Full: the whole model; empty: every edge corrupted; circuit: all "
        "other edges corrupted; random: mean of the random circuits. Gap, gap circuit: full − empty and circuit − "
        "empty in units of the gap on the class's natural images, for conditions whose own gap is too small for a "
        "faithfulness. Nearer than random: faithfulness is nearer to 1 than that of the random circuits. Flagged "
        "circuits are listed only here.",
    )


def _reasons(shown: StudyOverview) -> HtmlTable | None:
    circuits, reasons = shown.study.circuits, shown.reasons
    if not reasons:
        return None
    frame = circuits.iloc[list(reasons)][["class", "condition"]]
    frame = frame.assign(condition=frame["condition"].map(shown.study.short), reason=list(reasons.values()))
    return frame_table(frame, "Circuits without faithfulness.", max_rows=ROWS)
