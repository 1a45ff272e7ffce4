"""Plotly figures of read-outs: lenses, bars of components, heat maps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ...circuits import Axis, Readout, ReadoutRecord
from ...query.readouts import lens_rows
from .figures import BLUE, INK, MARKERS, ORANGE, PALETTE, nullable, plain, style

MAX_BARS = 20
"""Maximum number of entries with bars: those of largest magnitude."""


def lens_figure(name: str, records: Mapping[str, ReadoutRecord]) -> go.Figure:
    """Draw the mean logit of the true class and of its strongest rival at each point, under each condition.

    Args:
        name: the true class.
        records: lenses by short name of the condition.
    """
    figure = go.Figure()
    for number, (condition, record) in enumerate(records.items()):
        rows = pd.DataFrame(lens_rows(record))
        points = [plain(point) for point in rows["point"]]
        labels = [f"{point}: {plain(rival)}" for point, rival in zip(points, rows["rival"], strict=True)]
        colour, symbol = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        for column, series, dash, text in (
            ("logit", name, "solid", [f"{point}: {plain(name)}" for point in points]),
            ("rival_logit", "strongest other class", "dot", labels),
        ):
            figure.add_trace(
                go.Scatter(
                    y=points,
                    x=rows[column].tolist(),
                    text=text,
                    mode="lines+markers",
                    name=plain(f"{series}, {condition}"),
                    line={"color": colour, "dash": dash},
                    marker={"symbol": symbol if dash == "solid" else f"{symbol}-open", "size": 8, "color": colour},
                    hovertemplate="%{text} %{x:.3f}<extra></extra>",
                )
            )
    style(figure, height=190 + 26 * max(len(record.mean.axes[0]) for record in records.values()))
    figure.update_xaxes(title="mean logit")
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    return figure


def bars_figure(found: Mapping[str, Readout]) -> go.Figure:
    """Draw the entries of largest magnitude, in order, with their standard deviations over images.

    Args:
        found: read-outs with the same single axis, by short name of the condition.
    """
    labels = next(iter(found.values())).axes[0].labels
    magnitude = np.max([np.abs(readout.values) for readout in found.values()], axis=0)
    kept = np.sort(np.argsort(-magnitude, kind="stable")[:MAX_BARS])
    figure = go.Figure()
    for number, (condition, readout) in enumerate(found.items()):
        errors = None if readout.std is None else {"array": readout.std[kept].tolist(), "color": INK, "width": 2}
        figure.add_trace(
            go.Bar(
                y=[plain(str(labels[i])) for i in kept],
                x=readout.values[kept].tolist(),
                orientation="h",
                name=plain(condition),
                marker={"color": PALETTE[number % len(PALETTE)]},
                error_x=errors and {"type": "data", "thickness": 1, **errors},
                hovertemplate="%{y}: %{x:.3g}<extra></extra>",
            )
        )
    style(figure, height=150 + (10 + 14 * len(found)) * max(2, len(kept)))
    figure.update_layout(barmode="group", bargap=0.3)
    figure.update_xaxes(title=plain(next(iter(found.values())).unit), zeroline=True, zerolinecolor=INK)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    return figure


def cells_figure(readout: Readout, scale: float) -> go.Figure:
    """Draw a read-out of two axes as a heat map: blue above 0, orange below.

    Args:
        readout: the read-out; its rows are the first axis.
        scale: the magnitude of the darkest cell.
    """
    rows, columns = readout.axes
    figure = go.Figure(
        go.Heatmap(
            z=nullable(readout.values.astype(float).round(4)),
            y=_labels(rows),
            x=_labels(columns),
            zmin=-scale,
            zmax=scale,
            colorscale=[[0, ORANGE], [0.5, "#ffffff"], [1, BLUE]],
            hovertemplate="%{y}, %{x}: %{z:.3g}<extra></extra>",
            colorbar={"thickness": 9, "outlinewidth": 0},
        )
    )
    style(figure, height=130 + max(120, min(620, 26 * len(rows))))
    figure.update_xaxes(type="category", title=columns.name, showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, automargin=True)
    return figure


def _labels(axis: Axis) -> list[str]:
    """Return the labels as text; numbers with the name of the axis, except tokens, which may be many."""
    numbered = axis.name not in ("token", "source_token") and all(isinstance(label, int) for label in axis.labels)
    return [plain(f"{axis.name} {label}" if numbered else str(label)) for label in axis.labels]
