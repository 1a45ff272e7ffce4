"""GraphML, for networkx, Gephi, Cytoscape and igraph."""

from __future__ import annotations

import io
import re

from ..circuits import CircuitRecord
from .attributes import Value, known, properties
from .format import FormatKind, one_each

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot have."""


def _written(record: CircuitRecord) -> bytes:
    import networkx as nx

    graph = record.to_networkx()
    graph.graph.update(properties(record))
    nodes = [data for _, data in graph.nodes(data=True)]
    edges = [data for *_, data in graph.edges(data=True)]
    for table in (graph.graph, *nodes, *edges):
        values = {name: _text(value) for name, value in known(table).items()}
        table.clear()
        table.update(values)
    content = io.BytesIO()
    nx.write_graphml_xml(graph, content, named_key_ids=True)
    return content.getvalue()


def _text(value: Value) -> Value:
    return _NO_XML.sub("\ufffd", value) if isinstance(value, str) else value


GRAPHML = FormatKind(
    key="graphml",
    name="GraphML: nodes and edges of a circuit with their attributes, for networkx, Gephi, Cytoscape and igraph",
    source="GraphML 1.0, as networkx writes it",
    write=one_each(".graphml", _written),
    suffix=".graphml",
)
