"""Adjacency matrix as CSV: a row for each receiver, a column for each sender."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..circuits import CircuitRecord
from .format import FormatKind, one_each


def _written(record: CircuitRecord) -> bytes:
    circuit = record.circuit
    graph = circuit.graph
    weights = np.ones(graph.n_edges) if circuit.score is None else circuit.score.astype(np.float64)
    values = graph.to_matrix(np.where(circuit.members, weights, 0.0)).T
    frame = pd.DataFrame(values, index=list(graph.receivers), columns=list(graph.senders))
    return frame.to_csv(index_label="receiver", lineterminator="\n").encode()


MATRIX = FormatKind(
    key="matrix",
    name="Adjacency matrix as CSV: receivers by senders, scores of the circuit's edges (1 without scores), else 0",
    write=one_each(".csv", _written),
    suffix=".csv",
)
