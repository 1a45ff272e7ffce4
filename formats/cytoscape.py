"""Cytoscape JSON, for Cytoscape.js and the Cytoscape desktop."""

from __future__ import annotations

from typing import Any

from ..circuits import CircuitRecord
from .attributes import known, nodes, properties
from .format import FormatKind, one_each
from .json_text import as_json


def _written(record: CircuitRecord) -> bytes:
    named: list[dict[str, Any]] = [{"id": row["name"], **known(row)} for row in nodes(record)]
    edges: list[dict[str, Any]] = []
    for row in record.to_pandas().to_dict("records"):
        values = {str(name): value for name, value in row.items() if name not in ("edge", "sender", "receiver")}
        ends = {"id": row["edge"], "source": row["sender"], "target": row["receiver"], "interaction": "feeds"}
        edges.append({**ends, **known(values)})
    for above, below in record.circuit.links:
        edges.append({"id": f"{above}->{below}", "source": above, "target": below, "interaction": "contains"})
    elements = {"nodes": [{"data": node} for node in named], "edges": [{"data": edge} for edge in edges]}
    about = properties(record)
    data = {"name": f"{about['model']} {about['class']} {about['condition']}", **about}
    return as_json({"data": data, "elements": elements})


CYTOSCAPE = FormatKind(
    key="cytoscape",
    name="Cytoscape JSON: elements with their data, for Cytoscape.js and the Cytoscape desktop",
    source="Cytoscape.js JSON",
    write=one_each(".cyjs", _written),
    suffix=".cyjs",
)
