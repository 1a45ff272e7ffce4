"""Files as other tools write them, typed by hand: one layer of one head, so 3 senders, 5 receivers and 8 edges."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import Any

import torch
from circuitstore.circuits import ComputationGraph

GRAPH = ComputationGraph(1, 1)
SCORES = {
    "input->a0.h0<q>": 0.5,
    "input->a0.h0<k>": -0.25,
    "input->a0.h0<v>": 1.0,
    "input->m0": 0.0,
    "a0.h0->m0": 0.125,
    "input->logits": -0.5,
    "a0.h0->logits": 2.0,
    "m0->logits": 0.0,
}
MEMBERS = ("input->a0.h0<q>", "input->a0.h0<v>", "a0.h0->logits")
CFG = {"n_layers": 1, "n_heads": 1, "parallel_attn_mlp": False, "d_model": 4}


def eap_ig() -> dict[str, Any]:
    """Return what EAP-IG's `to_json` writes."""
    nodes = {"input": True, "a0.h0": True, "m0": False, "logits": True}
    return {
        "cfg": dict(CFG),
        "nodes": {name: {"in_graph": on} for name, on in nodes.items()},
        "edges": {name: {"score": score, "in_graph": name in MEMBERS} for name, score in SCORES.items()},
    }


def eap_ig_pt() -> dict[str, Any]:
    """Return what EAP-IG's `to_pt` writes."""
    return {
        "cfg": dict(CFG),
        "src_nodes": ["input", "a0.h0", "m0"],
        "dst_nodes": ["a0.h0<q>", "a0.h0<k>", "a0.h0<v>", "m0", "logits"],
        "edges_scores": torch.tensor([[0.5, -0.25, 1, 0, -0.5], [0, 0, 0, 0.125, 2], [0, 0, 0, 0, 0]]),
        "edges_in_graph": torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]).bool(),
        "nodes_in_graph": torch.tensor([True, True, False]),
    }


def edge_pruning() -> list[list[str]]:
    """Return what Edge Pruning's `get_edges` lists; both embeddings are the input."""
    return [
        ["tok_embeds", "a0.h0.q"],
        ["pos_embeds", "a0.h0.q"],
        ["tok_embeds", "a0.h0.v"],
        ["a0.h0", "resid_post"],
    ]


def auto_circuit() -> dict[str, Any]:
    """Return AutoCircuit's prune scores of a factorised model with separate q, k and v."""
    return {
        "blocks.0.hook_q_input": torch.tensor([[0.5]]),
        "blocks.0.hook_k_input": torch.tensor([[-0.25]]),
        "blocks.0.hook_v_input": torch.tensor([[1.0]]),
        "blocks.0.hook_mlp_in": torch.tensor([0.0, 0.125]),
        "blocks.0.hook_resid_post": torch.tensor([-0.5, 2.0, 0.0]),
    }


def acdc() -> OrderedDict[Any, bool]:
    """Return ACDC's kept edges, with two edges within the head, which are structure."""
    head = (None, None, 0)
    return OrderedDict(
        {
            ("blocks.0.hook_resid_post", (None,), "blocks.0.attn.hook_result", head): True,
            ("blocks.0.attn.hook_result", head, "blocks.0.attn.hook_q", head): True,
            ("blocks.0.attn.hook_q", head, "blocks.0.hook_q_input", head): True,
            ("blocks.0.hook_q_input", head, "blocks.0.hook_resid_pre", (None,)): True,
            ("blocks.0.hook_v_input", head, "hook_embed", (None,)): True,
            ("blocks.0.hook_mlp_in", (None,), "blocks.0.attn.hook_result", head): False,
        }
    )


def torch_file(content: Any) -> bytes:
    """Return what torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()
