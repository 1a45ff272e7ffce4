"""The QK fix of AtP*, and AtP* itself: edges into queries and keys by recomputing the softmax that gradients cut short.

A gradient at a query or key is that of the softmax where it stands; where the softmax is saturated it is next to zero,
whatever a patch would do. For every edge into q or k the head is therefore run anew, norm1 included, with this edge's
contribution patched, and only what follows the head is linearised:

    s(u→q) = ⟨A(q, k) v − A(q̃, k) v, ∇_z m⟩ ,   q̃ = q of the input x_v − Δ_u        likewise for k, all keys at once

(denoising: the corrupted run, x_v + Δ_u, and the opposite difference); z is the head's output, whose gradient holds
∂L/∂A = ∇_z m · vᵀ, so this is ⟨A − Ã, ∂L/∂A⟩. All other edges score as in EAP. `qk-fix` is signed and, being no linear
function of Δ_u at q and k, not additive. `atp-star` averages magnitudes over the layers that GradDrop leaves out, with
the same recomputed heads. Both run in the form `split` alone, where queries and keys are receivers.

The paper patches whole nodes, and one key at a time; edges here carry all tokens of a sender. No gradient mode with
rules for the softmax is taken: the fix recomputes what they would change. Beside 2 forwards and 1 backward (AtP*: L)
about 0.3 forwards of a block for every sender that it reads, by count on ViT-S (on a CPU 0.45: the softmax).

Kramár et al. 2024, arXiv 2403.00745.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...circuits import ComputationGraph
from ...circuits.recipe import DIRECTIONS
from ...models.receivers import ReceiverGradients
from ...models.rotary import attend
from ..batches import Pairs
from ..contraction import Contraction
from ..method import Param, Task
from ..metrics import flat_on_clean
from ..scoring import BatchScores, per_image
from .grad_drop import BaseRun, other_layers

SHARE = 0.3
"""Forwards of a block per sender that it reads, for its heads with the query patched and with the key patched."""


def _qk_fix(task: Task, batch: Pairs, *, gradient: str) -> BatchScores:
    base = BaseRun.of(task.model, task.form, task.direction, batch, gradient)
    found = base.run.gradients(heads=True)
    gradients = ReceiverGradients(task.model, task.form, base.stream, gradient)
    gradients.take(base.run, found, 1)
    scores = _scores(task, batch, base, gradients)
    for layer in range(task.graph.n_layers):
        scores[:, _into_qk(task.graph, layer)] = _recomputed(task, base, layer, [found.heads[layer]])[0]
    return BatchScores(scores, base.clean, base.corrupted)


def _atp_star(task: Task, batch: Pairs, *, gradient: str) -> BatchScores:
    layers, counts = task.graph.n_layers, torch.from_numpy(other_layers(task.graph))
    base = BaseRun.of(task.model, task.form, task.direction, batch, gradient)
    gradients = ReceiverGradients(task.model, task.form, base.stream, gradient)
    heads, total = [], base.differences.new_zeros(len(batch), task.graph.n_edges)
    for dropped in range(layers):
        found = base.gradients_without(dropped, heads=True)
        gradients.take(base.run, found, 1)
        total += _scores(task, batch, base, gradients).abs()
        heads.append(found.heads)
    for layer in range(layers):
        recomputed = _recomputed(task, base, layer, [found[layer] for found in heads])
        total[:, _into_qk(task.graph, layer)] = recomputed.abs().sum(dim=0)
    return BatchScores(total / counts.to(total), base.clean, base.corrupted)


def _scores(task: Task, batch: Pairs, base: BaseRun, gradients: ReceiverGradients) -> Float[Tensor, "image edge"]:
    """As in EAP; clears the gradients."""
    contraction = Contraction(task.graph, batch.token_weights(base.stream, base.differences.dtype))
    contraction.add(base.differences, gradients)
    return contraction.scores()[0]


def _into_qk(graph: ComputationGraph, layer: int) -> slice:
    """The edges into the queries and keys of a layer: q of all heads, then k, each from all senders before."""
    first = layer * (3 * graph.n_heads + 1)
    return slice(int(graph.offsets[first]), int(graph.offsets[first + 2 * graph.n_heads]))


def _recomputed(
    task: Task, base: BaseRun, layer: int, at_heads: Sequence[Float[Tensor, "image token heads"]]
) -> Float[Tensor, "gradient image edge"]:
    """Scores of the edges into a layer's queries and keys, for several gradients at its heads' outputs."""
    model, noising = task.model, task.direction == "noising"
    senders = int(task.graph.n_upstream[layer * (3 * model.n_heads + 1)])
    moved = base.differences[:, :senders].transpose(0, 1) * (-1 if noising else 1)
    effects = []
    for part in moved.split(max(1, task.batch_size // len(base.stream))):
        gained = _gained(task, base, layer, part)
        effects += [torch.stack([_along(gained, gradient) for gradient in at_heads])]
    found = torch.cat(effects, dim=1)  # gradient sender image port head
    return found.permute(0, 2, 3, 4, 1).flatten(2) * (-1 if noising else 1)


def _along(gained: Tensor, gradient: Tensor) -> Float[Tensor, "sender image port head"]:
    heads = gained.shape[4]
    return torch.einsum("sbpthk,bthk->sbph", gained, gradient.to(gained.dtype).unflatten(-1, (heads, -1)))


def _gained(
    task: Task, base: BaseRun, layer: int, shifts: Float[Tensor, "sender image token d_model"]
) -> Float[Tensor, "sender image port token head d_head"]:
    """What each head's output gains when its queries, or its keys, read the base run's stream plus a shift."""
    model, taps = task.model, base.run.taps
    block, shape = model.blocks[layer], (3, model.n_heads, model.d_head)
    attn, width = block.attn, 2 * model.n_heads * model.d_head
    bias = None if attn.qkv.bias is None else attn.qkv.bias[:width]
    read = (taps.streams[layer] + shifts).to(taps.streams[layer].dtype).flatten(0, 1)
    patched = F.linear(block.norm1(read), attn.qkv.weight[:width], bias).unflatten(-1, (2, *shape[1:]))
    repeated = taps.ports[layer].detach().expand(len(shifts), -1, -1, -1).flatten(0, 1).unflatten(-1, shape)
    (new_q, new_k), (q, k, v) = (ports.permute(2, 0, 3, 1, 4) for ports in (patched, repeated))
    with torch.no_grad():
        outs = torch.stack([attend(attn, new_q, k, v), attend(attn, q, new_k, v)], dim=1)  # run port head token d_head
    before = taps.heads[layer].detach().unflatten(-1, shape[1:])
    exact = outs.transpose(2, 3).to(model.exact_dtype).unflatten(0, shifts.shape[:2])
    return exact - before[:, None].to(model.exact_dtype)


def _passes(graph: ComputationGraph, backwards: int) -> tuple[float, int]:
    reads = np.array([graph.n_upstream[layer * (3 * graph.n_heads + 1)] for layer in range(graph.n_layers)])
    return 2 + SHARE * float(reads.mean()), backwards


_GRADIENT = Param(
    "plain",
    "plain or relp (relp-ah and gim have rules for the softmax, which this method recomputes)",
    lambda value: value in ("plain", "relp"),
)

_method = partial(
    per_image,
    paper="Kramár et al. 2024, arXiv 2403.00745",
    forms=("split",),
    directions=DIRECTIONS,
    params={"gradient": _GRADIENT},
    additive=False,
    refuses=flat_on_clean,
)

QK_FIX = _method(
    _qk_fix,
    key="qk-fix",
    name="Edge attribution patching with the QK fix of AtP*",
    passes=lambda graph, gradient: _passes(graph, 1),
)

ATP_STAR = _method(
    _atp_star,
    key="atp-star",
    name="AtP* for edges: QK fix and GradDrop",
    passes=lambda graph, gradient: _passes(graph, graph.n_layers),
    signed=False,
)
