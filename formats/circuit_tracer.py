"""The folder that the viewer of circuit-tracer serves: a list of graphs, and a JSON file for each."""

from __future__ import annotations

from collections.abc import Sequence

from ..circuits import CircuitRecord, Note
from .format import Files, FormatKind
from .json_text import as_json
from .neuronpedia import attribution_graph, metadata, slug_of


def _written(records: Sequence[CircuitRecord], notes: Sequence[Note] = ()) -> Files:
    graphs = {f"{slug_of(record)}.json": as_json(attribution_graph(record, notes)) for record in records}
    return {"graph-metadata.json": as_json({"graphs": [metadata(record) for record in records]}), **graphs}


CIRCUIT_TRACER = FormatKind(
    key="circuit-tracer",
    name="Folder for the viewer of circuit-tracer: graph-metadata.json, and a graph for each circuit",
    source="circuit-tracer, `local_server.py`",
    write=_written,
    write_noted=_written,
)
