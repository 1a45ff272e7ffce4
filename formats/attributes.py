"""Attributes of circuits, nodes and edges as plain values, which every graph format can have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..circuits import CircuitRecord

Value = str | int | float | bool


def known(values: Mapping[str, Any]) -> dict[str, Value]:
    """Return the values that are not missing, as Python's own types.

    Examples:
        >>> known({"score": np.float32(0.5), "std": float("nan"), "head": None})
        {'score': 0.5}
    """
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
    return {name: value for name, value in plain.items() if value is not None and not _is_nan(value)}


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def properties(record: CircuitRecord) -> dict[str, Value]:
    """Return what describes a circuit as a whole: its properties in the graph database that have a value.

    The id is named `circuit`.

    Examples:
        >>> record = store.circuit(store.circuits()["id"].iloc[0])
        >>> properties(record)["extraction"]
        'edges(n=12)'
    """
    values = record.properties()
    return known({"circuit": values.pop("id"), **values})


def nodes(record: CircuitRecord) -> list[dict[str, Any]]:
    """Return a row for each node of a circuit, with its sums over all edges of the universe if they are known.

    Examples:
        >>> record = store.circuit(store.circuits()["id"].iloc[0])
        >>> list(nodes(record)[0])
        ['name', 'kind', 'layer', 'head', 'neuron', 'full_in', 'full_out']
    """
    of = record.circuit.universe
    rows = []
    for name in record.circuit.nodes:
        place, c = of.node_index[name], of.components[of.node_index[name]]
        row: dict[str, Any] = {"name": name, "kind": c.kind, "layer": c.layer, "head": c.head, "neuron": c.neuron}
        for figure in ("full_in", "full_out"):
            values = getattr(record, figure)
            row[figure] = None if values is None else float(values[place])
        rows.append(row)
    return rows
