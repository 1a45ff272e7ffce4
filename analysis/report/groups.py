"""Comparisons of groups of images, laid out for the page."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from .. import sentences
from ..group_comparison import GroupComparison
from .charts import Chart, chart
from .figures import BLUE, FAINT, INK, MAX_ROWS, nullable, plain, style
from .tables import HtmlTable, frame_table


@dataclass(frozen=True)
class GroupsView:
    """The groups of images of each class under one condition and recipe."""

    title: str
    summary: str
    chart: Chart
    circuits: HtmlTable
    pairs: HtmlTable


def groups_view(found: GroupComparison, number: int) -> GroupsView:
    """Lay out a comparison of groups; `number` makes the id of its chart unique."""
    summary = sentences.groups(found)
    caption = (
        "Edge Jaccard of the circuits of two groups of a class. Black ticks: the noise floor, between halves of the "
        "images of one group; grey ticks: chance. Only pairs left of their noise floor differ by more than the choice "
        "of images."
    )
    return GroupsView(
        found.label or "All groups",
        summary,
        chart(f"groups-{number + 1}", groups_figure(found.pairs), f"Dots by class and pair. {summary}", caption),
        frame_table(found.circuits, "The circuits of each class, group by group, on n_eval report images."),
        frame_table(found.pairs, "Pairs of groups of a class. Common: edges in both circuits."),
    )


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
