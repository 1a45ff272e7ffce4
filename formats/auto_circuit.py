"""AutoCircuit's prune scores: a torch file with the scores of each receiver's edges, by the receiver's module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..circuits import ComputationGraph
from ..errors import InputError, cut
from .eap_ig import split_of
from .format import FileCircuit, FormatKind, scores_or_none
from .torch_files import dense, load_table

_MODULE = re.compile(r"blocks\.(\d{1,4})\.hook_(q_input|k_input|v_input|attn_in|mlp_in|resid_post)")


def _read(data: bytes, graph: ComputationGraph) -> FileCircuit:
    table = _scores(load_table(data))
    split = split_of(graph)
    form = "head" if any("hook_attn_in" in name for name in table) else "split"
    of = split if form == "split" else ComputationGraph(graph.n_layers, graph.n_heads, "head")
    matrix = np.full((of.n_senders, of.n_receivers), np.nan)
    for name, values in table.items():
        receivers = _receivers(name, of)
        before = int(of.n_upstream[receivers[0]])
        found = dense(values, name)
        shapes = ((len(receivers), before), (before,)) if len(receivers) == 1 else ((len(receivers), before),)
        if found.shape not in shapes:
            along_tokens = found.ndim > 1 and found.shape[1:] in shapes
            raise InputError(
                f"{name}: expected shape {' or '.join(map(str, shapes))}, got {found.shape}"
                + ("; scores by token position are not read: sum them over the first axis" if along_tokens else "")
            )
        matrix[:before, receivers] = found.reshape(len(receivers), before).T
    score = matrix[of.edge_sender, of.edge_receiver]
    missing = np.flatnonzero(np.isnan(score) & ~np.isin(of.edge_receiver, _given(table, of)))
    if len(missing):
        raise InputError(f"scores of {of.receivers[of.edge_receiver[missing[0]]]} are missing; expected all receivers")
    return FileCircuit(of, scores_or_none(score, of))


def _given(table: Mapping[str, Any], graph: ComputationGraph) -> list[int]:
    return [receiver for name in table for receiver in _receivers(name, graph)]


def _scores(table: Mapping[Any, Any], depth: int = 0) -> Mapping[str, Any]:
    """Return the only prune scores in a file, which may be a cache `{task: {algorithm: scores}}`."""
    if not table or not all(isinstance(key, str) for key in table):
        raise InputError("expected scores by module, such as blocks.0.hook_mlp_in")
    if not any(isinstance(value, Mapping) for value in table.values()):
        return table
    if len(table) > 1 or depth == 2:
        raise InputError(
            f"holds several sets of scores: {cut(', '.join(table))}; write the one that you want to a file with "
            "torch.save"
        )
    (inner,) = table.values()
    return _scores(inner, depth + 1)


def _receivers(name: str, graph: ComputationGraph) -> list[int]:
    """Return the receivers whose edges a module's scores are of."""
    match = _MODULE.fullmatch(name)
    layer = int(match[1]) if match else -1
    if match is None or layer >= graph.n_layers:
        raise InputError(
            f"unknown module {cut(name)!r}; expected blocks.LAYER.hook_q_input, hook_k_input, hook_v_input, "
            f"hook_attn_in, hook_mlp_in or hook_resid_post, with LAYER below {graph.n_layers}"
        )
    hook = match[2]
    if hook == "resid_post":
        if layer != graph.n_layers - 1:
            raise InputError(f"{name}: expected the last layer, {graph.n_layers - 1}, whose output the logits read")
        return [graph.logits_receiver]
    if hook == "mlp_in":
        return [graph.mlp_receiver(layer)]
    every = list(graph.attention_receivers(layer))
    if (hook == "attn_in") != (graph.form == "head"):
        raise InputError(
            f"{name}: expected either hook_attn_in, or hook_q_input, hook_k_input and hook_v_input, got both"
        )
    return every if hook == "attn_in" else every["qkv".index(hook[0]) * graph.n_heads :][: graph.n_heads]


AUTO_CIRCUIT = FormatKind(
    key="auto-circuit",
    name="Prune scores of AutoCircuit as a torch file, of a factorised model",
    source="UFO-101/auto-circuit, `PruneScores`",
    read=_read,
    suffix=".pt",
)
