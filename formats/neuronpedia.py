"""The JSON of attribution graphs that the viewers of Neuronpedia and circuit-tracer show.

The viewers place nodes by layer and token. Here the tokens stand for parts of a layer: `image`, one for each head,
`mlp`, and `class`. A link is the sum of the edges between two nodes; the edges of its ports are under `ports`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..circuits import CircuitRecord, Component, ComputationGraph, Note
from ..errors import InputError
from .file_names import file_name
from .format import Files, FormatKind
from .json_text import as_json, parsed, table_at

GENERATOR = {"name": "circuitstore"}
SUPERNODE = "supernode"
"""Tag of a note whose components the viewers group into one node, with its text as the label."""

_TYPES = {
    "input": "embedding",
    "head": "attention head",
    "attention": "attention block",
    "attention-input": "attention input",
    "mlp": "mlp",
    "logits": "logit",
}
"""Type of a node in the viewers, by the kind of its component."""


def slug_of(record: CircuitRecord) -> str:
    """Return the name of a circuit's graph in the viewers, which is part of addresses.

    Examples:
        >>> slug_of(store.circuit(store.circuits()["id"].iloc[0])).startswith("class-")
        True
    """
    text = f"{record.item.target_class.name}-{record.item.condition.text}"
    return f"{file_name(text)[:60]}-{record.id[:8]}".lower()


def attribution_graph(record: CircuitRecord, notes: Sequence[Note] = ()) -> dict[str, Any]:
    """Return a circuit as the value of such a JSON file.

    Args:
        record: the circuit.
        notes: notes about components, which become labels of nodes; those with the tag `supernode` become groups.

    Raises:
        InputError: the circuit's universe is not a computation graph.

    Examples:
        >>> value = attribution_graph(store.circuit(store.circuits()["id"].iloc[0]))
        >>> list(value)
        ['metadata', 'qParams', 'nodes', 'links']
    """
    graph = record.circuit.graph
    links = _links(record, graph)
    places = {name: _place(graph.components[graph.node_index[name]], graph) for name in record.circuit.nodes}
    ids = {name: "_".join(map(str, place)) for name, place in places.items()}
    influence = _influence(places, links)
    nodes = [_node(record, graph.components[graph.node_index[name]], places[name], influence[name]) for name in places]
    labels = _labels(record, notes)
    for name, node in zip(places, nodes, strict=True):
        if name in labels:
            node["clerp"] = f"{name}: {labels[name]}"
    return {
        "metadata": metadata(record),
        "qParams": {
            "pinnedIds": list(ids.values()),
            "supernodes": [[label, *(ids[name] for name in names)] for label, names in _groups(record, notes)],
            "linkType": "both",
            "clickedId": "",
            "sg_pos": "",
        },
        "nodes": nodes,
        "links": [{**link, "source": ids[link["source"]], "target": ids[link["target"]]} for link in links],
    }


def metadata(record: CircuitRecord) -> dict[str, Any]:
    """Return the metadata of a circuit's graph, which the viewers also list.

    Examples:
        >>> metadata(store.circuit(store.circuits()["id"].iloc[0]))["prompt_tokens"]
        ['image', 'h0', 'h1', 'mlp', 'class']
    """
    graph, item = record.circuit.graph, record.item
    return {
        "slug": slug_of(record),
        "scan": item.model.name,
        "transcoder_list": [],
        "prompt_tokens": ["image", *(f"h{head}" for head in range(graph.n_heads)), "mlp", "class"],
        "prompt": f"{item.target_class.dataset} {item.target_class.name}, {item.condition.text}",
        "node_threshold": 1.0,
        "schema_version": 1,
        "info": {"description": f"{item.recipe.text}, {record.extraction.text}", "generator": GENERATOR},
    }


def _components_of(record: CircuitRecord, note: Note) -> list[str]:
    """Return the nodes of a circuit that a note is about."""
    start = f"{record.item.model.id}/"
    names = [s.ref.removeprefix(start) for s in note.about if s.kind == "component" and s.ref.startswith(start)]
    return [name for name in names if name in record.circuit.nodes]


def _labels(record: CircuitRecord, notes: Sequence[Note]) -> dict[str, str]:
    """Return the labels of nodes: the texts of the notes about each, on one line."""
    found: dict[str, list[str]] = {}
    for note in notes:
        if SUPERNODE not in note.tags:
            for name in _components_of(record, note):
                found.setdefault(name, []).append(" ".join(note.text.split()))
    return {name: "; ".join(texts) for name, texts in found.items()}


def _groups(record: CircuitRecord, notes: Sequence[Note]) -> Iterator[tuple[str, list[str]]]:
    for note in notes:
        if SUPERNODE in note.tags and (names := _components_of(record, note)):
            yield " ".join(note.text.split()), names


@dataclass(frozen=True)
class GraphLabels:
    """What somebody wrote on a graph in a viewer.

    Attributes:
        labels: label of each component that has one, by its name.
        groups: label and names of components of each group.
    """

    labels: Mapping[str, str]
    groups: tuple[tuple[str, tuple[str, ...]], ...]


def circuit_of(data: bytes) -> str:
    """Return the leading digits of the id of the circuit that a graph was written from.

    Raises:
        InputError: the file is not such JSON, or another tool wrote it.

    Examples:
        >>> record = store.circuit(store.circuits()["id"].iloc[0])
        >>> record.id.startswith(circuit_of(as_json(attribution_graph(record))))
        True
    """
    slug = str(table_at(parsed(data), "metadata").get("slug"))
    digits = slug.rpartition("-")[2]
    if len(digits) != 8 or set(digits) - set("0123456789abcdef"):
        raise InputError(f"metadata.slug: expected the name of a circuit that circuitstore wrote, got {slug[:80]!r}")
    return digits


def read_labels(data: bytes, graph: ComputationGraph) -> GraphLabels:
    """Return the labels of a graph that circuitstore wrote and that somebody changed in a viewer.

    Args:
        data: content of the file.
        graph: the computation graph of the circuit.

    Raises:
        InputError: the file is not such JSON; the message says where.

    Examples:
        >>> record = store.circuit(store.circuits()["id"].iloc[0])
        >>> value = attribution_graph(record)
        >>> value["nodes"][1]["clerp"] = "reads the word"
        >>> read_labels(as_json(value), record.circuit.graph).labels
        {'a0.h0': 'reads the word'}
    """
    value = parsed(data)
    table_at(value, "metadata")
    names: dict[str, str] = {}
    labels: dict[str, str] = {}
    for place, node in enumerate(_list(value, "nodes")):
        feature = node.get("feature") if isinstance(node, dict) else None
        if type(feature) is not int or not 0 <= feature < len(graph.components):
            raise InputError(f"nodes[{place}].feature: expected a whole number below {len(graph.components)}")
        name, label = graph.components[feature].name, str(node.get("clerp") or "").strip()
        names[str(node.get("node_id"))] = name
        label = label.removeprefix(f"{name}: ")
        if label and label != name and not label.startswith('Output "'):
            labels[name] = label
    groups = []
    for place, group in enumerate(_list(table_at(value, "qParams"), "supernodes")):
        if not isinstance(group, list) or not group or not all(str(id) in names for id in group[1:]):
            raise InputError(f"qParams.supernodes[{place}]: expected a label and ids of nodes")
        groups.append((str(group[0]), tuple(names[str(id)] for id in group[1:])))
    return GraphLabels(labels, tuple(groups))


def _list(value: Mapping[str, Any], name: str) -> list[Any]:
    found = value.get(name, [])
    if not isinstance(found, list):
        raise InputError(f"{name}: expected a list, got {type(found).__name__}")
    return found


def _place(component: Component, graph: ComputationGraph) -> tuple[str, int, int]:
    """Return layer, feature and position among the tokens; each combination of the first two occurs once."""
    index = graph.node_index[component.name]
    if component.kind == "input":
        return "E", index, 0
    if component.layer is None:
        return str(graph.n_layers + 1), index, 2 + graph.n_heads
    position = 1 + graph.n_heads if component.kind == "mlp" else 1 + (component.head or 0)
    return str(component.layer + 1), index, position


def _node(record: CircuitRecord, component: Component, place: tuple[str, int, int], influence: float) -> dict[str, Any]:
    layer, feature, position = place
    node: dict[str, Any] = {
        "node_id": "_".join(map(str, place)),
        "feature": feature,
        "layer": layer,
        "ctx_idx": position,
        "feature_type": _TYPES.get(component.kind, component.kind),
        "jsNodeId": f"{'L' if component.kind == 'logits' else layer}_{feature}-0",
        "clerp": component.name,
        "influence": influence,
    }
    if component.kind == "logits":  # the viewers read a probability from the text; it is not known here
        name = record.item.target_class.name.replace('"', "'")
        node |= {"clerp": f'Output "{name}" (p=nan)', "is_target_logit": True}
    return node


def _links(record: CircuitRecord, graph: ComputationGraph) -> list[dict[str, Any]]:
    """Return the links between nodes by name; structural links have the weight 0."""
    circuit = record.circuit
    weight = np.ones(graph.n_edges) if circuit.score is None else circuit.score.astype(np.float64)
    sums: dict[tuple[str, str], dict[str, float]] = {}
    for index in np.flatnonzero(circuit.members):
        edge = graph.edge(int(index))
        sums.setdefault((edge.sender, edge.receiver), {})[edge.port] = float(weight[index])
    links: list[dict[str, Any]] = []
    for (source, target), ports in sums.items():
        link: dict[str, Any] = {"source": source, "target": target, "weight": sum(ports.values())}
        links.append(link if "" in ports else link | {"ports": ports})
    return links + [{"source": above, "target": below, "weight": 0.0} for above, below in circuit.links]


def _influence(places: dict[str, Any], links: list[dict[str, Any]]) -> dict[str, float]:
    """Return the share of all links' magnitudes at the nodes up to and including each one, the largest first."""
    sizes = dict.fromkeys(places, 0.0)
    for link in links:
        for end in ("source", "target"):
            sizes[link[end]] += abs(link["weight"])
    ranked = sorted(sizes, key=lambda name: -sizes[name])
    total = sum(sizes.values()) or 1.0
    shares = np.minimum(np.cumsum([sizes[name] / total for name in ranked]), 1.0)
    return dict(zip(ranked, shares.tolist(), strict=True))


def _write(records: Sequence[CircuitRecord], notes: Sequence[Note] = ()) -> Files:
    files = {f"{record.id[:12]}.json": as_json(attribution_graph(record, notes)) for record in records}
    return files if len(records) > 1 else {"": next(iter(files.values()))}


NEURONPEDIA = FormatKind(
    key="neuronpedia",
    name="Attribution graph as JSON, for the viewers of Neuronpedia and circuit-tracer: a token per part of a layer",
    source="Neuronpedia, graph-schema.json; circuit-tracer, `graph_models.py`",
    write=_write,
    write_noted=_write,
    suffix=".json",
)
