"""EAP-IG's `.pt`: the same graph as matrices of senders by receivers in a torch file."""

from __future__ import annotations

import json

import numpy as np

from ..circuits import CircuitRecord, ComputationGraph
from ..errors import InputError, cut
from .eap_ig import OWN, about, as_written, check_config, config, nodes_in, split_edges, split_of, without_nodes
from .format import FileCircuit, FormatKind, one_each, scores_or_none
from .json_text import parsed
from .torch_files import dense, load_table, saved


def _written(record: CircuitRecord) -> bytes:
    import torch

    members, scores = split_edges(record)
    split = split_of(record.circuit.graph)
    on = nodes_in(split, members)
    return saved(
        {
            "cfg": config(record),
            "src_nodes": list(split.senders),
            "dst_nodes": list(split.receivers),
            "edges_scores": torch.from_numpy(split.to_matrix(scores)),
            "edges_in_graph": torch.from_numpy(split.to_matrix(members)),
            "nodes_in_graph": torch.tensor([on[name] for name in split.senders]),
            OWN: json.dumps(about(record), allow_nan=False),
        }
    )


def _read(data: bytes, graph: ComputationGraph) -> FileCircuit:
    table = load_table(data)
    needed = ("cfg", "src_nodes", "dst_nodes", "edges_scores", "edges_in_graph", "nodes_in_graph")
    missing = [name for name in needed if name not in table]
    if missing:
        raise InputError(f"the keys {', '.join(missing)} are missing")
    split = split_of(graph)
    if not isinstance(table["cfg"], dict):
        raise InputError(f"cfg: expected a table, got {type(table['cfg']).__name__}")
    check_config(table["cfg"], split)
    for name, expected in (("src_nodes", split.senders), ("dst_nodes", split.receivers)):
        if not isinstance(table[name], list | tuple) or tuple(table[name]) != expected:
            raise InputError(f"{name}: expected {cut(', '.join(expected))}, got {cut(table[name])}")
    if table.get("neurons_in_graph") is not None and not dense(table["neurons_in_graph"], "neurons_in_graph").all():
        raise InputError("neurons_in_graph: circuits of neurons within heads and MLPs are not read")
    shape = (split.n_senders, split.n_receivers)
    score = dense(table["edges_scores"], "edges_scores", shape)[split.edge_sender, split.edge_receiver]
    members = _truths(dense(table["edges_in_graph"], "edges_in_graph", shape), "edges_in_graph")
    on = _truths(dense(table["nodes_in_graph"], "nodes_in_graph", shape[:1]), "nodes_in_graph")
    outside = {name for name, inside in zip(split.senders, on.tolist(), strict=True) if not inside}
    kept, notes = without_nodes(members[split.edge_sender, split.edge_receiver], outside, split)
    found = FileCircuit(split, scores_or_none(score.astype(np.float64), split), kept, notes=notes)
    own = table.get(OWN)
    if own is not None and not isinstance(own, str):
        raise InputError(f"{OWN}: expected JSON as a text, got {type(own).__name__}")
    return as_written(found, None if own is None else parsed(own.encode("utf-8", "replace")))


def _truths(values: np.ndarray, place: str) -> np.ndarray:
    if not np.isin(values, (0, 1)).all():
        raise InputError(f"{place}: expected true or false everywhere, got other numbers")
    return values.astype(bool)


EAP_IG_PT = FormatKind(
    key="eap-ig-pt",
    name="Graph of EAP-IG and MIB as a torch file: matrices of senders by receivers",
    source="hannamw/EAP-IG, `Graph.to_pt`",
    write=one_each(".pt", _written),
    read=_read,
    suffix=".pt",
)
