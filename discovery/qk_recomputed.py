"""Edges into queries and keys scored by recomputing the head, because the softmax distorts their gradient.

The gradient at a query or key is local: if the softmax is saturated, it is near zero, whatever the effect of a patch.
For every edge into q or k, the head is therefore recomputed, including norm1, with this edge's contribution patched,
and only the computation after the head is linearised:

    s(u→q) = ⟨A(q, k) v − A(q̃, k) v, ∇_z m⟩ ,   q̃ = q of the input x_v − Δ_u        likewise for k, all keys at once

(denoising: the corrupted run, x_v + Δ_u, and the opposite difference); z is the head's output. Since
∂L/∂A = ∇_z m · vᵀ, this is ⟨A − Ã, ∂L/∂A⟩. The paper patches whole nodes, and one key at a time; here an edge carries
all tokens of its sender. Gradient modes with rules for the softmax do not apply, because the fix recomputes it.

Kramár et al. 2024 (AtP*), arXiv 2403.00745.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits import ComputationGraph
from ..circuits.kinds import Param
from ..models.heads import attend, project
from .base_run import BaseRun
from .method import Task

BLOCKS_PER_SENDER = 0.3
"""Forward passes of a block per sender that it reads, for its heads with the query patched and with the key patched."""


def into_qk(graph: ComputationGraph, layer: int) -> slice:
    """Return the edges into the queries and keys of a layer: q of all heads, then k, each from all previous senders."""
    first = layer * (3 * graph.n_heads + 1)
    return slice(int(graph.offsets[first]), int(graph.offsets[first + 2 * graph.n_heads]))


def recomputed(
    task: Task, base: BaseRun, layer: int, at_heads: Sequence[Float[Tensor, "image token heads"]]
) -> Float[Tensor, "gradient image edge"]:
    """Return the scores of the edges into a layer's queries and keys, for several gradients at its heads' outputs."""
    model, noising = task.model, task.direction == "noising"
    senders = int(task.graph.n_upstream[layer * (3 * model.n_heads + 1)])
    moved = base.differences[:, :senders].transpose(0, 1) * (-1 if noising else 1)
    effects = []
    for part in moved.split(max(1, task.batch_size // len(base.stream))):
        gained = _gained(task, base, layer, part)
        effects += [torch.stack([_along(gained, gradient) for gradient in at_heads])]
    scores = torch.cat(effects, dim=1)  # gradient sender image port head
    return scores.permute(0, 2, 3, 4, 1).flatten(2) * (-1 if noising else 1)


def _along(gained: Tensor, gradient: Tensor) -> Float[Tensor, "sender image port head"]:
    heads = gained.shape[4]
    return torch.einsum("sbpthk,bthk->sbph", gained, gradient.to(gained.dtype).unflatten(-1, (heads, -1)))


def _gained(
    task: Task, base: BaseRun, layer: int, shifts: Float[Tensor, "sender image token d_model"]
) -> Float[Tensor, "sender image port token head d_head"]:
    """Return the change of each head's output if its queries, or its keys, read the base run's stream plus a shift."""
    model, taps = task.model, base.run.taps
    block, shape = model.blocks[layer], (3, model.n_heads, model.d_head)
    attn = block.attn
    read = (taps.streams[layer] + shifts).to(taps.streams[layer].dtype).flatten(0, 1)
    patched = project(attn, block.norm1(read), slice(2))
    repeated = taps.ports[layer].detach().expand(len(shifts), -1, -1, -1).flatten(0, 1).unflatten(-1, shape)
    (new_q, new_k), (q, k, v) = (ports.permute(2, 0, 3, 1, 4) for ports in (patched, repeated))
    with torch.no_grad():
        outs = torch.stack([attend(attn, new_q, k, v), attend(attn, q, new_k, v)], dim=1)  # run port head token d_head
    before = taps.heads[layer].detach().unflatten(-1, shape[1:])
    exact = outs.transpose(2, 3).to(model.exact_dtype).unflatten(0, shifts.shape[:2])
    return exact - before[:, None].to(model.exact_dtype)


def qk_passes(graph: ComputationGraph, backwards: int) -> tuple[float, int]:
    """Return forward and backward passes per image pair of a method that recomputes heads."""
    reads = np.array([graph.n_upstream[graph.attention_receivers(layer)[0]] for layer in range(graph.n_layers)])
    return 2 + BLOCKS_PER_SENDER * float(reads.mean()), backwards


QK_GRADIENT = Param.accepting(
    "plain",
    "plain or relp (relp-ah and gim have rules for the softmax, which this method recomputes)",
    lambda value: value in ("plain", "relp"),
)
