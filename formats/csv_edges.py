"""CSV: a row for each edge of each circuit."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..circuits import CircuitRecord
from .format import Files, FormatKind

DESCRIBING = ("id", "model", "dataset", "class", "image_group", "condition", "method", "form", "metric", "extraction")
"""Properties of the circuit in each of its rows; the id is the column `circuit`."""


def edge_frame(records: Sequence[CircuitRecord]) -> pd.DataFrame:
    """Return a row for each edge of each circuit: what describes the circuit, then the edge.

    Examples:
        >>> frame = edge_frame([store.circuit(id) for id in store.circuits()["id"]])
        >>> sorted(set(frame["class"]))
        ['class-0', 'class-1', 'class-2', 'class-3']
    """
    frames = []
    for record in records:
        frame, about = record.to_pandas(), record.properties()
        for place, name in enumerate(DESCRIBING):
            frame.insert(place, "circuit" if name == "id" else name, about[name])
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _written(records: Sequence[CircuitRecord]) -> Files:
    return {"": edge_frame(records).to_csv(index=False, lineterminator="\n").encode("utf-8", "backslashreplace")}


CSV = FormatKind(
    key="csv",
    name="CSV: a row for each edge of each circuit, with score, rank, and what describes the circuit",
    write=_written,
    suffix=".csv",
)
