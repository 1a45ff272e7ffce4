"""Edge Pruning's `edges.json`: a list of the edges that are kept, by name."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..circuits import ComputationGraph
from ..errors import InputError, cut
from .eap_ig import split_of
from .format import FileCircuit, FormatKind
from .json_text import parsed

EMBEDDINGS = ("tok_embeds", "pos_embeds")
"""Senders that are one sender here, `input`."""

_PORT = re.compile(r"(a\d+\.h\d+)\.([qkv])")


def _read(data: bytes, graph: ComputationGraph) -> FileCircuit:
    split = split_of(graph)
    pairs = parsed(data)
    if not isinstance(pairs, list):
        raise InputError(f'expected a list of edges, such as ["a0.h0", "m1"], got {type(pairs).__name__}')
    members = np.zeros(split.n_edges, bool)
    for position, pair in enumerate(pairs):
        members[split.index_of(_name(pair, f"edge {position} (counted from 0)"))] = True
    notes = ()
    if not members[split.edges.sender == split.node_index["input"]].any():
        members |= split.edges.sender == split.node_index["input"]
        notes = ("the file lists no edge of the embeddings, as without -w: all edges of input are in the circuit",)
    return FileCircuit(split, None, members, notes=notes)


def _name(pair: Any, place: str) -> str:
    if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(end, str) for end in pair)):
        raise InputError(f"{place}: expected a pair of names [sender, receiver], got {cut(repr(pair))}")
    sender, receiver = pair
    sender = "input" if sender in EMBEDDINGS else sender
    receiver = "logits" if receiver == "resid_post" else _PORT.sub(r"\1<\2>", receiver)
    return f"{sender}->{receiver}"


EDGE_PRUNING_JSON = FormatKind(
    key="edge-pruning",
    name="Kept edges of Edge Pruning as JSON",
    source="princeton-nlp/Edge-Pruning, `get_edges`",
    read=_read,
    suffix=".json",
)
