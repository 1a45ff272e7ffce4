"""Plotly figures. Their numbers are those of the tables, in heat maps rounded to four decimals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from ...circuits import dendrogram_order
from ...query import Similarity

INK, FAINT, BLUE, ORANGE = "#1f2937", "#94a3b8", "#1f6fb2", "#d9730d"
PALETTE = (BLUE, ORANGE, "#0f766e", "#9d4edd", "#8a6d1d", "#be185d")
"""Colours of conditions, which also have different markers."""
MARKERS = ("circle", "diamond", "square", "triangle-up", "cross", "star")
ANNOTATED = 12
"""Maximum number of classes for which a heat map prints numbers."""
MAX_CLASSES = 80
MAX_ROWS = 60
_HEAT = (
    *((0.0, "#f7fbff"), (0.1, "#deebf7"), (0.2, "#c6dbef"), (0.35, "#9ecae1")),
    *((0.5, "#6baed6"), (0.7, "#3182bd"), (1.0, "#08306b")),
)
"""Finer at the low end, where classes differ."""


def similarity_figure(similarity: Similarity) -> go.Figure:
    """Draw the similarity of classes as a heat map in dendrogram order, with the noise floors on the diagonal."""
    count = min(len(similarity.labels), MAX_CLASSES)
    order = dendrogram_order(similarity.values[:count, :count])
    names = [plain(similarity.labels[i]) for i in order]
    z = similarity.values[np.ix_(order, order)].copy()
    np.fill_diagonal(z, similarity.floors.diagonal()[order])
    return squares(z, names, "%{y} and %{x}", _similarity_ticks(similarity))


def cross_figure(matrix: pd.DataFrame) -> go.Figure:
    """Draw the faithfulness of the circuit of each class (row) on the images of each class (column).

    Args:
        matrix: a square frame of `cross_classes`; its first classes are drawn.
    """
    values = matrix.iloc[:MAX_CLASSES, :MAX_CLASSES]
    names = [plain(name) for name in values.index]
    ticks = {0.0: "0", 0.5: "0.5", 1.0: "1"}
    figure = squares(values.to_numpy(float), names, "circuit of %{y} on images of %{x}", ticks)
    figure.update_xaxes(title={"text": "images of", "standoff": 10})
    figure.update_yaxes(title={"text": "circuit of", "standoff": 10})
    return figure


def squares(z: Float[np.ndarray, "row column"], names: list[str], hover: str, ticks: Mapping[float, str]) -> go.Figure:
    """Draw values between 0 and 1 as coloured squares, with their numbers if there are few."""
    shown = len(names) <= ANNOTATED
    figure = go.Figure(
        go.Heatmap(
            z=nullable(z.round(4)),
            x=names,
            y=names,
            xgap=2 if shown else 0,
            ygap=2 if shown else 0,
            zmin=0,
            zmax=1,
            colorscale=[list(stop) for stop in _HEAT],
            texttemplate="%{z:.2f}" if shown else None,
            hovertemplate=f"{hover}: %{{z:.3f}}<extra></extra>",
            colorbar=_colour_bar(ticks),
        )
    )
    style(figure, height=150 + max(260, min(720, 36 * len(names))))
    axis = {"type": "category", "showgrid": False, "automargin": True, "showticklabels": len(names) <= 60, "ticks": ""}
    figure.update_xaxes(**axis, tickangle=-45 if max(map(len, names)) > 4 else 0)
    figure.update_yaxes(**axis, autorange="reversed")
    return figure


def _similarity_ticks(similarity: Similarity) -> dict[float, str]:
    """Return the ticks of the colour bar: at the noise floor and, if there is room, at the chance level."""
    ticks = {0.0: "0", 0.5: "0.5", 1.0: "1"}
    chance, floor = similarity.chance_level, similarity.noise_floor
    if chance is not None and (floor is None or abs(floor - chance) > 0.25):
        ticks[chance] = f"{chance:.2f} chance"
    if floor is not None:
        ticks[floor] = f"{floor:.2f} noise floor"
    special = [v for v, text in ticks.items() if " " in text]
    return {v: t for v, t in ticks.items() if " " in t or all(abs(v - s) > 0.15 for s in special)}


def _colour_bar(ticks: Mapping[float, str]) -> dict[str, object]:
    return {
        "tickvals": list(ticks),
        "ticktext": list(ticks.values()),
        "orientation": "h",
        "y": 1.0,
        "yanchor": "bottom",
        "thickness": 9,
        "len": 1.0,
        "outlinewidth": 0,
        "tickangle": 0,
    }


def faithfulness_figure(
    table: pd.DataFrame,
    random: Mapping[int, Sequence[float]],
    reasons: Mapping[int, str],
    labels: Mapping[str, str],
) -> go.Figure:
    """Draw the faithfulness of each circuit (filled) and of its size-matched random circuits (grey ticks).

    Args:
        table: rows of `faithfulness.faithfulness`.
        random: the faithfulness of the random circuits, by row of the table.
        reasons: the reasons for missing faithfulness, by row.
        labels: the short names of the conditions.
    """
    figure = go.Figure()
    classes = list(dict.fromkeys(table["class"]))
    conditions = list(dict.fromkeys(table["condition"]))
    lane = 0.8 / len(conditions)
    place = {name: i for i, name in enumerate(classes)}

    def y_of(row: int) -> float:
        return place[table["class"].iloc[row]] + lane * (
            conditions.index(table["condition"].iloc[row]) - (len(conditions) - 1) / 2
        )

    rows = range(len(table))
    ticks = [(value, y_of(row), row) for row in rows for value in random.get(row, ())]
    figure.add_trace(_random_ticks(ticks, table, labels))
    for number, condition in enumerate(conditions):
        own = [r for r in rows if table["condition"].iloc[r] == condition and r not in reasons]
        figure.add_trace(_own_marks(table.iloc[own], [y_of(r) for r in own], number, labels[condition]))
    style(figure, height=150 + max(34, 17 * len(conditions)) * max(1, len(classes)))
    for row in reasons:
        figure.add_annotation(
            x=0, y=y_of(row), text="undefined, see the table", showarrow=False, xanchor="left", font={"color": FAINT}
        )
    for value in (0, 1):
        figure.add_vline(x=value, line={"color": FAINT, "width": 1, "dash": "dot"})
    figure.update_xaxes(title="faithfulness", zeroline=False)
    figure.update_yaxes(
        tickvals=list(place.values()),
        ticktext=[plain(c) for c in classes],
        range=[len(classes) - 0.4, -0.6],
        automargin=True,
        zeroline=False,
        showgrid=False,
    )
    return figure


def _own_marks(table: pd.DataFrame, y: Sequence[float], number: int, label: str) -> go.Scatter:
    """Return markers for the circuits of one condition, with the condition's colour and shape."""
    line = {"width": 1, "color": "white"}
    names = [plain(name) for name in table["class"]]
    return go.Scatter(
        x=table["faithfulness"].tolist(),
        y=list(y),
        mode="markers",
        name=plain(label),
        marker={
            "size": 10,
            "symbol": MARKERS[(number + number // len(PALETTE)) % len(MARKERS)],
            "color": PALETTE[number % len(PALETTE)],
            "line": line,
        },
        text=names,
        customdata=table["n_edges"].tolist(),
        hovertemplate="%{text}: %{x:.3f}, %{customdata} edges<extra></extra>",
    )


def _random_ticks(
    ticks: Sequence[tuple[float, float, int]], table: pd.DataFrame, labels: Mapping[str, str]
) -> go.Scatter:
    return go.Scatter(
        x=[t[0] for t in ticks],
        y=[t[1] for t in ticks],
        mode="markers",
        name="random connected circuits of the same size",
        marker={"symbol": "line-ns", "size": 9, "line": {"width": 1.4, "color": FAINT}},
        text=[plain(f"{table['class'].iloc[row]}, {labels[table['condition'].iloc[row]]}") for _, _, row in ticks],
        hovertemplate="%{text}, random: %{x:.3f}<extra></extra>",
    )


def changes_figure(by_class: pd.DataFrame) -> go.Figure:
    """Draw the edges gained (right) and lost (left) by each class, with noise floors.

    Args:
        by_class: a table with columns `class`, `gained`, `lost` and `floor`.
    """
    table = by_class.iloc[:MAX_ROWS]
    names = [plain(c) for c in table["class"]]
    figure = go.Figure()
    for sign, column, colour in ((1, "gained", BLUE), (-1, "lost", ORANGE)):
        figure.add_trace(
            go.Bar(
                y=names,
                x=(sign * table[column]).tolist(),
                orientation="h",
                name=column,
                marker={"color": colour},
                customdata=table[column].tolist(),
                hovertemplate=f"%{{y}}: %{{customdata}} {column}<extra></extra>",
            )
        )
        figure.add_trace(
            go.Scatter(
                y=names,
                x=nullable((sign * table["floor"]).to_numpy()),
                mode="markers",
                name="noise floor",
                legendgroup="floor",
                showlegend=sign > 0,
                marker={"symbol": "line-ns", "size": 16, "line": {"width": 2.5, "color": INK}},
                hovertemplate="%{y}: noise floor %{x:.1f}<extra></extra>",
            )
        )
    style(figure, height=150 + 30 * max(2, len(names)))
    figure.update_layout(barmode="relative", bargap=0.35)
    figure.update_xaxes(title="edges lost (left) and gained (right)", zeroline=True, zerolinecolor=INK)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    return figure


def carriers_figure(table: pd.DataFrame, max_edges: int = 20) -> go.Figure:
    """Draw the edges with the largest mean scores, with the standard error over classes."""
    best = table.iloc[:max_edges]
    error = best["error"].fillna(0).tolist()
    figure = go.Figure(
        go.Bar(
            y=best["edge"].tolist(),
            x=best["score"].tolist(),
            orientation="h",
            marker={"color": [BLUE if s > 0 else ORANGE for s in best["score"]]},
            error_x={"type": "data", "array": error, "color": INK, "thickness": 1, "width": 3},
            customdata=best["circuits"].tolist(),
            hovertemplate="%{y}: %{x:.4g}, in %{customdata} circuits<extra></extra>",
            showlegend=False,
        )
    )
    style(figure, height=110 + 24 * max(2, len(best)))
    figure.update_xaxes(title="mean score over classes, in units of the metric", zeroline=True, zerolinecolor=INK)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True, tickfont={"family": "monospace"})
    return figure


def plain(text: str) -> str:
    """Escape a text for plotly, whose labels interpret some HTML."""
    return escape(str(text), quote=False)


def nullable(values: np.ndarray) -> list[object]:
    """Return nested lists with None for NaN, for which plotly leaves cells empty."""
    nested = values.astype(object)
    nested[np.isnan(values)] = None
    return nested.tolist()


def style(figure: go.Figure, *, height: int) -> None:
    """Apply the common style of all figures."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 10, "r": 10, "t": 36, "b": 10},
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "traceorder": "normal"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        dragmode=False,
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": FAINT, "activecolor": INK},
    )
    figure.update_xaxes(gridcolor="#e5e9ef", automargin=True)
    figure.update_yaxes(gridcolor="#e5e9ef")
