"""Comparisons of groups of images, laid out for the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ...circuits import CircuitRecord
from .. import sentences
from ..group_comparison import GroupComparison
from ..wording import count, format_number
from .charts import Chart, chart
from .drawings import ClassDrawings, Drawing, Pictures
from .figures import BLUE, FAINT, INK, MAX_ROWS, nullable, plain, style
from .tables import HtmlTable, frame_table


@dataclass(frozen=True)
class GroupsView:
    """The groups of images of each class under one condition and recipe."""

    title: str
    summary: str
    chart: Chart
    drawings: Sequence[ClassDrawings]
    not_drawn: str
    circuits: HtmlTable
    pairs: HtmlTable


def groups_view(
    found: GroupComparison, number: int, records: Mapping[str, CircuitRecord], pictures: Pictures
) -> GroupsView:
    """Lay out a comparison of groups.

    Args:
        found: the comparison.
        number: makes the id of its chart unique.
        records: circuits that may be drawn, by id.
        pictures: draws them while there is room.
    """
    summary = sentences.groups(found)
    caption = (
        "Edge Jaccard of the circuits of two groups of a class. Black ticks: the noise floor, between halves of the "
        "images of one group; grey ticks: chance. Only pairs left of their noise floor differ by more than the choice "
        "of images."
    )
    drawn = list(_draw_classes(found.circuits, records, pictures))
    missing = int((found.circuits["class"].value_counts() > 1).sum()) - len(drawn)
    return GroupsView(
        found.label or "All groups",
        summary,
        chart(f"groups-{number + 1}", groups_figure(found.pairs), f"Dots by class and pair. {summary}", caption),
        drawn,
        f"{count(missing, 'more class is', 'more classes are')} not drawn." if missing else "",
        frame_table(found.circuits.drop(columns="id"), "The circuits of each class, group by group, on report images."),
        frame_table(found.pairs, "Pairs of groups of a class. Common: edges in both circuits."),
    )


def _draw_classes(
    circuits: pd.DataFrame, records: Mapping[str, CircuitRecord], pictures: Pictures
) -> Iterator[ClassDrawings]:
    """Draw the circuits of all groups of a class next to each other, for the classes for which there is room."""
    for name, rows in circuits.groupby("class", sort=False):
        found = {row["image_group"]: records.get(row["id"]) for row in rows.to_dict("records")}
        known = {group: record for group, record in found.items() if record is not None}
        drawn = list(_draw_groups(known, pictures)) if len(known) > 1 else []
        if len(drawn) > 1:
            yield ClassDrawings(str(name), drawn)


def _draw_groups(records: Mapping[str, CircuitRecord], pictures: Pictures) -> Iterator[Drawing]:
    """Draw circuits with one scale; edges that all of them have are grey, the others red."""
    circuits = [record.circuit for record in records.values()]
    shared = np.all([circuit.members for circuit in circuits], axis=0)
    scores = [np.abs(c.score[c.members]).max(initial=0) for c in circuits if c.score is not None]
    scale = float(max(scores, default=0)) or None
    for group, record in records.items():
        title = f"{record.item.target_class.name}, {group}"
        faithfulness = record.evaluation.faithfulness if record.evaluation else None
        caption = f"Faithfulness {format_number(faithfulness)}; circuit {record.id[:12]}."
        picture = pictures.draw(record.circuit, title=title, caption=caption, scale=scale, shared=shared)
        if picture is not None:
            yield picture


def groups_figure(pairs: pd.DataFrame) -> go.Figure:
    """Draw the similarity of the groups of each class, with noise floor and chance.

    Args:
        pairs: rows of `compare` by image_group.
    """
    pairs = pairs.iloc[:MAX_ROWS]
    classes = [f"{name}: " for name in pairs["class"]] if "class" in pairs else [""] * len(pairs)
    names = [plain(f"{c}{a}, {b}") for c, a, b in zip(classes, pairs["a"], pairs["b"], strict=True)]
    figure = go.Figure()
    for column, name, symbol, colour in (
        ("jaccard", "Jaccard", "circle", BLUE),
        ("noise_floor", "noise floor", "line-ns-open", INK),
        ("chance", "chance", "line-ns-open", FAINT),
    ):
        marker = {"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2, "color": colour}}
        x = nullable(pairs[column].to_numpy(float))
        figure.add_trace(go.Scatter(y=names, x=x, mode="markers", name=name, marker=marker))
    style(figure, height=150 + 26 * max(2, len(names)))
    figure.update_xaxes(title="edge Jaccard", range=[-0.02, 1.02])
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    return figure
