"""EAP-IG's JSON: every edge of the split form with its score and whether it is in the circuit.

Edges of a coarser form are written as the edges of the split form that they consist of, with equal shares of the
score, so that circuits of every form can be run and their scores sum to the form's own. What circuitstore knows about
the circuit is under the key `circuitstore`, which other programs ignore.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ..circuits import FORMS, CircuitRecord, ComputationGraph
from ..errors import InputError, cut, unknown
from .format import FileCircuit, FormatKind, one_each, scores_or_none
from .json_text import as_json, parsed, table_at

OWN = "circuitstore"
"""The key of what circuitstore knows about the circuit."""


def split_of(graph: ComputationGraph) -> ComputationGraph:
    """Return the split form of a graph.

    Examples:
        >>> split_of(cs.ComputationGraph(2, 2, "block")).form
        'split'
    """
    return replace(graph, form="split")


def about(record: CircuitRecord) -> dict[str, Any]:
    """Return what circuitstore knows about a circuit, except its edges, as JSON values.

    Examples:
        >>> about(store.circuit(store.circuits()["id"].iloc[0]))["sign"]
        'positive scores raise the metric'
    """
    circuit = record.circuit
    return {
        "id": record.id,
        "form": circuit.graph.form,
        "sign": "positive scores raise the metric",
        "scores": "all" if _scored(record) else "none",
        "extraction": record.extraction.to_dict(),
        "size_requested": circuit.size_requested,
        "order": [circuit.universe.edge_names[i] for i in circuit.order],
        "n_images": record.n_images,
        "question": record.item.to_dict(),
        "evaluation": None if record.evaluation is None else asdict(record.evaluation),
    }


def _scored(record: CircuitRecord) -> bool:
    """Return whether the score of every edge is known."""
    score = record.circuit.score
    return score is not None and bool(np.isfinite(score).all())


def split_edges(record: CircuitRecord) -> tuple[Bool[np.ndarray, "edge"], Float[np.ndarray, "edge"]]:
    """Return members and scores over the split form.

    Without scores of all edges, those of the members are 1 and the others 0.

    Raises:
        InputError: the circuit's universe is not a computation graph.

    Examples:
        >>> members, scores = split_edges(store.circuit(store.circuits()["id"].iloc[0]))
        >>> len(members) == len(scores)
        True
    """
    circuit = record.circuit
    coarse = split_of(circuit.graph).projection(circuit.graph.form)
    members = circuit.members[coarse]
    score = circuit.score
    if score is None or not _scored(record):
        return members, members.astype(np.float64)
    return members, (score.astype(np.float64) / np.bincount(coarse))[coarse]


def config(record: CircuitRecord) -> dict[str, Any]:
    """Return the configuration of the model, as EAP-IG names it.

    Examples:
        >>> sorted(config(store.circuit(store.circuits()["id"].iloc[0])))
        ['d_model', 'n_heads', 'n_layers', 'parallel_attn_mlp']
    """
    model = record.item.model
    return {
        "n_layers": model.n_layers,
        "n_heads": model.n_heads,
        "parallel_attn_mlp": False,
        "d_model": model.d_model,
    }


def nodes_in(split: ComputationGraph, members: Bool[np.ndarray, "edge"]) -> dict[str, bool]:
    """Return for each node of the split form whether it is an end of a member edge.

    Examples:
        >>> nodes_in(graph, np.zeros(graph.n_edges, bool))["input"]
        False
    """
    on = np.zeros(len(split.components), bool)
    on[split.edges.sender[members]] = on[split.edges.receiver[members]] = True
    return dict(zip(split.node_names, on.tolist(), strict=True))


def _written(record: CircuitRecord) -> bytes:
    members, scores = split_edges(record)
    split = split_of(record.circuit.graph)
    rows = zip(split.edge_names, scores.tolist(), members.tolist(), strict=True)
    return as_json(
        {
            "cfg": config(record),
            "nodes": {name: {"in_graph": on} for name, on in nodes_in(split, members).items()},
            "edges": {name: {"score": score, "in_graph": member} for name, score, member in rows},
            OWN: about(record),
        }
    )


def _read(data: bytes, graph: ComputationGraph) -> FileCircuit:
    content = parsed(data)
    split = split_of(graph)
    check_config(table_at(content, "cfg"), split)
    nodes, edges = table_at(content, "nodes"), table_at(content, "edges")
    outside = {name for name, node in nodes.items() if not _node_in_graph(name, node, split)}
    score, members, scored = np.zeros(split.n_edges), np.zeros(split.n_edges, bool), 0
    for name, edge in edges.items():
        index = split.index_of(name)
        if not isinstance(edge, dict):
            raise InputError(f"edge {name}: expected a table with score and in_graph, got {type(edge).__name__}")
        members[index] = _truth(edge.get("in_graph"), f"edge {name}: in_graph")
        if edge.get("score") is not None:
            score[index], scored = _number(edge["score"], f"edge {name}: score"), scored + 1
    if 0 < scored < len(edges):
        raise InputError(
            f"{len(edges) - scored} of {len(edges)} edges have no score; expected scores of all or of none"
        )
    members, notes = without_nodes(members, outside, split)
    found = FileCircuit(split, scores_or_none(score, split), members, notes=notes)
    return as_written(found, content.get(OWN))


def check_config(cfg: Mapping[Any, Any], graph: ComputationGraph) -> None:
    """Check that a configuration is that of a model of this shape, whose MLPs read what attention wrote.

    Raises:
        InputError: it is not.

    Examples:
        >>> check_config({"n_layers": graph.n_layers, "n_heads": graph.n_heads}, graph)
    """
    shape = tuple(cfg.get(name) for name in ("n_layers", "n_heads"))
    if shape != (graph.n_layers, graph.n_heads):
        raise InputError(
            f"cfg: n_layers, n_heads: expected those of the model, {graph.n_layers} and {graph.n_heads}, got "
            f"{cut(shape[0])} and {cut(shape[1])}; name the model that the file belongs to"
        )
    if cfg.get("parallel_attn_mlp"):
        raise InputError(
            "cfg: parallel_attn_mlp: expected false; in vision transformers, MLPs read what attention wrote"
        )


def _node_in_graph(name: str, node: Any, split: ComputationGraph) -> bool:
    if name not in split.node_index:
        raise unknown("node", name, split.node_names, "nodes")
    if not isinstance(node, dict):
        raise InputError(f"node {name}: expected a table with in_graph, got {type(node).__name__}")
    neurons = node.get("neurons")
    if neurons is not None and not (isinstance(neurons, list) and all(neurons)):
        raise InputError(
            f"node {name}: only some of its neurons are in the circuit; circuits of neurons within heads and MLPs are "
            "not read"
        )
    return _truth(node.get("in_graph"), f"node {name}: in_graph")


def without_nodes(
    members: Bool[np.ndarray, "edge"], outside: set[str], split: ComputationGraph
) -> tuple[Bool[np.ndarray, "edge"], tuple[str, ...]]:
    """Return members without edges of nodes that are not in the circuit, and a note if there were any.

    Examples:
        >>> without_nodes(np.ones(graph.n_edges, bool), {"m0"}, graph)[1]
        ('18 edges of nodes that are not in the circuit are left out',)
    """
    out = np.array([name in outside for name in split.node_names])
    kept = members & ~out[split.edges.sender] & ~out[split.edges.receiver]
    lost = int(members.sum() - kept.sum())
    return kept, (f"{lost} edges of nodes that are not in the circuit are left out",) if lost else ()


def as_written(found: FileCircuit, own: Any) -> FileCircuit:
    """Return a circuit over the split form in the form in which circuitstore wrote it.

    Args:
        found: the circuit as EAP-IG would read it.
        own: what circuitstore wrote about it; None in files of other programs.

    Raises:
        InputError: `own` is not what circuitstore writes, or does not fit the edges.

    Examples:
        >>> read = as_written(FileCircuit(graph, np.ones(graph.n_edges)), {"form": "block", "scores": "all"})
        >>> read.graph.form, read.scores[:3]
        ('block', array([12., 16.,  4.]))
    """
    if own is None:
        return found
    form = own.get("form") if isinstance(own, dict) else None
    if form not in FORMS:
        raise unknown("form", form, FORMS, f"{OWN}: form")
    coarse = found.graph.projection(form)
    graph = replace(found.graph, form=form)
    members = found.members
    if members is not None:
        counts = np.bincount(coarse, members, graph.n_edges)
        partial = np.flatnonzero((counts > 0) & (counts < np.bincount(coarse)))
        if len(partial):
            raise InputError(
                f"{OWN}: form: some, but not all, edges of {graph.edge_names[partial[0]]} are in the circuit; remove "
                f"the key {OWN!r} to read it in the split form"
            )
        members = counts > 0
    scores = np.bincount(coarse, found.scores, graph.n_edges) if own.get("scores") == "all" else None
    return replace(
        found,
        graph=graph,
        scores=scores,
        members=members,
        order=_order(own.get("order"), graph, members),
        ours=True,
        about={name: value for name, value in own.items() if name != "order"},
    )


def _order(names: Any, graph: ComputationGraph, members: Bool[np.ndarray, "edge"] | None) -> np.ndarray:
    """Return the flat indices of named edges; empty unless they are the members."""
    known = isinstance(names, list) and all(isinstance(n, str) and n in graph.edge_index for n in names)
    order = np.array([graph.edge_index[name] for name in names] if known else [], dtype=int)
    same = members is not None and np.array_equal(np.sort(order), np.flatnonzero(members))
    return order if same else np.empty(0, int)


def _truth(value: Any, place: str) -> bool:
    if isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1)):
        return bool(value)
    raise InputError(f"{place}: expected true or false, got {cut(repr(value))}")


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{place}: expected a number, got {cut(repr(value))}")
    return float(value)


EAP_IG = FormatKind(
    key="eap-ig",
    name="Graph of EAP-IG and MIB as JSON: every edge with its score, and whether it is in the circuit",
    source="hannamw/EAP-IG, `Graph.to_json`",
    write=one_each(".json", _written),
    read=_read,
    suffix=".json",
)
