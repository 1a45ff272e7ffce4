"""The conditions of an effect study side by side, laid out for the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .. import sentences
from ..controls import Beyond
from ..study_overview import StudyOverview
from .charts import Chart, chart
from .figures import BLUE, FAINT, INK, MAX_ROWS, ORANGE, nullable, plain, style
from .tables import ROWS, HtmlTable, frame_table

_TITLES = ("share of the images", "gap (natural: 1)", "edges lost, gained")


@dataclass(frozen=True)
class BeyondView:
    """The edges that an attack adds beyond one of its controls."""

    title: str
    edges: HtmlTable
    classes: HtmlTable


@dataclass(frozen=True)
class SideBySideView:
    """The conditions of a study in one chart and one table, and each attack with each of its controls."""

    chart: Chart
    table: HtmlTable
    controls: Sequence[BeyondView]


def side_by_side_view(shown: StudyOverview, id: str) -> SideBySideView | None:
    """Lay out the conditions of a study; None if no edges are called gained or lost."""
    table = shown.side_by_side
    if table is None:
        return None
    classes = len({shown.study.circuits["class"].iloc[row] for row in shown.records})
    caption = (
        f"Images: those that were tried for {classes} of {len(shown.study.classes)} classes. Success: of the images "
        "classified correctly without the condition, the share predicted as the target, or as another class if there "
        "is none. L∞, L2: median norm of the perturbation, pixels in [0, 1]. Gap: metric of the model − metric "
        "with every edge corrupted, gap circuit: the same for the circuits, in units of the gap on natural images. "
        "Gained, lost: edges, floor: edges that appear gained, and equally many lost, between halves of the natural "
        "images; swapped floor: the same if natural and the condition are swapped at random for each image, swapped "
        "high: what 95 % of the swaps do not exceed; beyond controls: edges gained under none of the controls. Means "
        "over classes."
    )
    return SideBySideView(_chart(table, id), frame_table(table, caption), list(_controls(shown.beyond_controls)))


def _controls(found: Sequence[Beyond]) -> Iterator[BeyondView]:
    for beyond in found:
        classes = len(beyond.by_class)
        edges = (
            f"Edges that most classes, out of {classes}, gain only under {beyond.attack}; only control: classes that "
            f"gain the edge only under {beyond.control}."
        )
        counts = f"Edges gained under {beyond.attack}, under {beyond.control} (control), and under both."
        yield BeyondView(
            f"{beyond.attack} beyond {beyond.control}",
            frame_table(beyond.by_edge, edges, max_rows=ROWS),
            frame_table(beyond.by_class, counts),
        )


def _chart(table: pd.DataFrame, id: str) -> Chart:
    caption = (
        "Left: the share of images that the model classifies correctly, and the share that a condition turns into its "
        "target, or into another class. Middle: what the model and the circuits keep of the natural gap of the metric; "
        "a faithful circuit is where the model is. Right: edges gained and lost against natural, with the noise floor "
        "between halves of the images (black ticks), the swap floor, which has all images (grey ticks: what 95 % of "
        "the swaps do not exceed), and the edges gained under none of the controls of an attack (diamonds). Only bars "
        "beyond the ticks show an effect of the condition."
    )
    alt = f"Three panels by condition. {' '.join(sentences.side_by_side(table))}"
    return chart(id, side_by_side_figure(table), alt, caption)


def side_by_side_figure(table: pd.DataFrame) -> go.Figure:
    """Draw predictions, gaps and changed edges of each condition.

    Args:
        table: the columns of `side_by_side.side_by_side`.
    """
    table = table.iloc[:MAX_ROWS]
    figure = make_subplots(1, 3, shared_yaxes=True, horizontal_spacing=0.04)
    for panel, (column, label, colour, symbol) in _MARKS:
        if not table[column].isna().to_numpy().all():
            marks = _marks(table, column, label, colour, symbol)
            figure.add_trace(marks.update(legendrank=1000 + panel), 1, panel)
    for sign, column, colour in ((-1, "lost", ORANGE), (1, "gained", BLUE)):
        figure.add_trace(_bars(table, sign, column, colour), 1, 3)
    for column, label, colour in _FLOORS:
        for sign in (-1, 1) if table[column].notna().to_numpy().any() else ():
            floor = _marks(table.assign(**{column: sign * table[column]}), column, label, colour, "line-ns-open")
            figure.add_trace(floor.update(showlegend=sign > 0, legendgroup=column, legendrank=1003), 1, 3)
    style(figure, height=190 + 30 * max(2, len(table)))
    figure.update_layout(barmode="relative", bargap=0.45, legend={"y": 1.02})
    for panel, title in enumerate(_TITLES, 1):
        figure.update_xaxes(title=title, zerolinecolor=FAINT, row=1, col=panel)
    figure.update_xaxes(range=[-0.04, 1.04], row=1, col=1)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    return figure


_FLOORS = (("floor", "noise floor", INK), ("swapped_high", "swap floor, 95 %", FAINT))
"""Column, name and colour of the floors of gained and lost edges."""

_MARKS = (
    (1, ("accuracy", "accuracy", BLUE, "circle")),
    (1, ("success", "success of the condition", ORANGE, "x")),
    (2, ("gap", "model", INK, "circle-open")),
    (2, ("gap_circuit", "circuits", BLUE, "square")),
    (3, ("beyond_controls", "gained beyond controls", INK, "diamond")),
)
"""Panel, column, name, colour and shape of markers."""


def _marks(table: pd.DataFrame, column: str, label: str, colour: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        y=[plain(name) for name in table["condition"]],
        x=nullable(table[column].to_numpy(float)),
        mode="markers",
        name=label,
        marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2, "color": colour}},
        hovertemplate=f"%{{y}}: {label} %{{x:.3g}}<extra></extra>",
    )


def _bars(table: pd.DataFrame, sign: int, column: str, colour: str) -> go.Bar:
    return go.Bar(
        y=[plain(name) for name in table["condition"]],
        x=nullable((sign * table[column]).to_numpy(float)),
        orientation="h",
        name=f"edges {column}",
        legendrank=1003,
        marker={"color": colour},
        hovertemplate=f"%{{y}}: {column} %{{x:.1f}}<extra></extra>",
    )
