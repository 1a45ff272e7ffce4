"""The numbers of figures and drawings as tables, for downloads."""

from __future__ import annotations

from collections.abc import Sequence
from html import unescape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Bool, Float

from ...circuits import Circuit
from ...circuits.drawing import strongest


def numbers_of(figure: go.Figure) -> pd.DataFrame:
    """Return the numbers of a figure, with names as they are shown.

    Returns:
        The matrix of a heat map, with the names of its rows in the first column; of any other figure one row per mark
        with its `series`, `label`, `value` and, if there are error bars, `error`.
    """
    traces: list[Any] = list(figure.data)  # plotly's own types say less than the documentation of each trace
    if isinstance(traces[0], go.Heatmap):
        heat: Any = traces[0]
        frame = pd.DataFrame(np.array(heat.z, float), index=_names(heat.y), columns=_names(heat.x))
        return frame.reset_index(names="")
    return pd.concat([_marks(trace) for trace in traces], ignore_index=True)


def _marks(trace: Any) -> pd.DataFrame:
    """Return the marks of a trace of bars or points."""
    labels = _names(trace.y if trace.text is None else trace.text)
    frame = pd.DataFrame({"series": unescape(trace.name or ""), "label": labels, "value": list(trace.x)})
    errors = trace.error_x.array
    return (frame if errors is None else frame.assign(error=errors)).astype({"value": float})


def _names(values: Sequence[object]) -> list[str]:
    return [unescape(str(value)) for value in values]


def numbers_of_drawing(
    circuit: Circuit,
    values: Float[np.ndarray, "edge"] | None,
    max_edges: int,
    shared: Bool[np.ndarray, "edge"] | None = None,
) -> pd.DataFrame:
    """Return the edges that are drawn, the strongest first, with their `value` and `shared` if they have them."""
    values = circuit.score if values is None else values
    shown = strongest(circuit, values, max_edges)[::-1]
    frame = pd.DataFrame({"edge": [circuit.universe.edge_names[i] for i in shown]})
    columns = {"value": values, "shared": shared}
    return frame.assign(**{name: of[shown] for name, of in columns.items() if of is not None})
