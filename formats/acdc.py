"""ACDC's `.pth`: the edges that are kept, by the hooks of sender and receiver."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..circuits import ComputationGraph
from ..errors import InputError, cut
from .eap_ig import split_of
from .format import FileCircuit, FormatKind
from .torch_files import load_table

_HOOK = re.compile(r"blocks\.(\d{1,4})\.(?:(attn|mlp)\.)?hook_(\w+)")
_EMBEDDINGS = ("hook_embed", "hook_pos_embed", "blocks.0.hook_resid_pre")
_PARTS = ("q", "k", "v")


def _read(data: bytes, graph: ComputationGraph) -> FileCircuit:
    split = split_of(graph)
    members = np.zeros(split.n_edges, bool)
    for position, (key, kept) in enumerate(load_table(data).items()):
        place = f"edge {position} (counted from 0)"
        if not (isinstance(key, tuple) and len(key) == 4 and all(isinstance(key[i], str) for i in (0, 2))):
            raise InputError(f"{place}: expected (receiver, index, sender, index), got {cut(repr(key))}")
        if not isinstance(kept, bool):
            raise InputError(f"{place}: expected true or false, got {cut(repr(kept))}")
        receiver, sender = _receiver(key[0], key[1], place, split), _sender(key[2], key[3], place)
        if receiver is not None and sender is not None and kept:
            members[split.index_of(f"{sender}->{receiver}")] = True
    return FileCircuit(split, None, members)


def _receiver(hook: str, index: Any, place: str, graph: ComputationGraph) -> str | None:
    """Return the name of a receiver; None for the inner part of a component, whose edges are always open."""
    match = _HOOK.fullmatch(hook)
    layer, group, name = (int(match[1]), match[2], match[3]) if match else (-1, None, "")
    if group is None and name == "resid_post":
        if layer != graph.n_layers - 1:
            raise InputError(f"{place}: {hook}: expected the last layer, {graph.n_layers - 1}, which the logits read")
        return "logits"
    if group is None and name == "mlp_in":
        return f"m{layer}"
    if group is None and name in ("q_input", "k_input", "v_input"):
        return f"a{layer}.h{_head(index, place)}<{name[0]}>"
    if (group == "attn" and name in (*_PARTS, "result")) or (group is None and name == "mlp_out"):
        return None
    raise InputError(f"{place}: unknown receiver {cut(hook)!r}; expected a hook of TransformerLens that ACDC names")


def _sender(hook: str, index: Any, place: str) -> str | None:
    """Return the name of a sender; None for the inner part of a component."""
    if hook in _EMBEDDINGS:
        return "input"
    match = _HOOK.fullmatch(hook)
    layer, group, name = (int(match[1]), match[2], match[3]) if match else (-1, None, "")
    if group == "attn" and name == "result":
        return f"a{layer}.h{_head(index, place)}"
    if group is None and name == "mlp_out":
        return f"m{layer}"
    if (group == "attn" and name in _PARTS) or (group is None and name in ("q_input", "k_input", "v_input", "mlp_in")):
        return None
    raise InputError(f"{place}: unknown sender {cut(hook)!r}; expected a hook of TransformerLens that ACDC names")


def _head(index: Any, place: str) -> int:
    """Return the head in an index such as `(None, None, 3)`."""
    head = index[-1] if isinstance(index, tuple) and len(index) == 3 else None
    if not isinstance(head, int) or isinstance(head, bool) or head < 0:
        raise InputError(f"{place}: expected an index (None, None, HEAD), got {cut(repr(index))}")
    return head


ACDC_PTH = FormatKind(
    key="acdc",
    name="Kept edges of ACDC as a torch file",
    source="ArthurConmy/Automatic-Circuit-Discovery, `save_subgraph`",
    read=_read,
    suffix=".pth",
)
