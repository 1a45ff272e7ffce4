"""Information-flow routes: how close each sender's output is to a receiver's input.

    s(u→v) = mean over tokens of proximity(u, v) / Σ_u' proximity(u', v)
    proximity(u, v) = max(‖x_v‖₁ − ‖x_v − o_u‖₁, 0)

x_v is the stream that receiver v reads (before its norm) and o_u the output of sender u, both at one token of the clean
run; norms are over d_model. The mean is over the tokens at which some sender has a proximity above 0. So the scores of
a receiver are shares: they are nonnegative and sum to 1 on every image, or are all 0 if no sender has a positive
proximity at any token. The attention's output bias is part of x_v, but is not a sender.

Scores are unsigned, not additive, and not in units of the metric: neither the metric nor the corrupted images are used.
q, k and v of a head read the same stream and have equal scores. Costs one forward pass and no backward pass.

Shares of different receivers are not comparable: nearly all that a late MLP reads from one head may matter less than a
tenth of what `logits` reads. So `top` and `bisection`, which rank all edges, raise an error. Grow the circuit from
`logits` (`greedy`), or cut at a share (`threshold`), as the authors do: they follow edges above a threshold from the
output down, which is what pruning leaves of the cut.

Ferrando & Voita 2024, arXiv 2403.00824 (code: facebookresearch/llm-transparency-tool). The paper splits each head by
the tokens that it reads from; here an edge carries a head's whole output at a token. Whether the authors' code
normalises per token could not be verified.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import ComputationGraph, EdgeScores
from ...models import Activations, ViT, capture
from ..method import Method, MethodOutput, Task


def proximities(
    read: Float[Tensor, "image token d_model"], sent: Float[Tensor, "image sender token d_model"]
) -> Float[Tensor, "image sender token"]:
    """Return how much closer, in the 1-norm, each sender's output is to the read stream than zero is; at least 0."""
    whole = read.abs().sum(-1)
    rest = torch.stack([(read - sent[:, sender]).abs().sum(-1) for sender in range(sent.shape[1])], dim=1)
    return (whole[:, None] - rest).clamp_min(0)


def shares(
    read: Float[Tensor, "image token d_model"], sent: Float[Tensor, "image sender token d_model"]
) -> Float[Tensor, "image sender"]:
    """Return each sender's share of the read stream: the mean over tokens with a positive proximity, else 0."""
    near = proximities(read, sent)
    total = near.sum(dim=1, keepdim=True)
    reached = total > 0
    return (near / total.where(reached, 1)).sum(dim=2) / reached.sum(dim=2).clamp_min(1)


def _scores(run: Activations, model: ViT, graph: ComputationGraph) -> Float[Tensor, "image edge"]:
    sent, scores = _sent(run, model, graph), []
    for read, receivers in _reads(run, graph):
        share = shares(read.to(sent.dtype), sent[:, : int(graph.n_upstream[receivers[0]])])
        scores += [share] * len(receivers)
    return torch.cat(scores, dim=1)


def _reads(run: Activations, graph: ComputationGraph) -> Iterator[tuple[Tensor, range]]:
    """Yield each read stream with its receivers, in their order."""
    for layer in range(graph.n_layers):
        mlp = graph.mlp_receiver(layer)
        yield run.attention_in[layer], graph.attention_receivers(layer)
        yield run.mlp_in[layer], range(mlp, mlp + 1)
    yield run.final, range(graph.logits_receiver, graph.n_receivers)


def _sent(run: Activations, model: ViT, graph: ComputationGraph) -> Float[Tensor, "image sender token d_model"]:
    sent = [run.stream.to(model.exact_dtype)[:, None]]
    for heads, mlp, writing in zip(run.heads, run.mlp_out, model.writings, strict=True):
        per_head = torch.einsum("bthk,hkd->bhtd", heads.to(writing.dtype).unflatten(-1, writing.shape[:2]), writing)
        attention = per_head.sum(1, keepdim=True) if graph.form == "block" else per_head
        sent += [attention, mlp.to(writing.dtype)[:, None]]
    return torch.cat(sent, dim=1)


def _flow_routes(task: Task) -> MethodOutput:
    scores: list[np.ndarray] = []
    done = 0
    for batch in task.pairs.batches(task.batch_size):
        scores.append(_scores(capture(task.model, batch.clean), task.model, task.graph).cpu().numpy())
        task.progress(done := done + len(batch), len(task.pairs))
    kind = {"additive": FLOW_ROUTES.additive, "signed": FLOW_ROUTES.signed, "shares": FLOW_ROUTES.shares}
    return MethodOutput(task.graph, EdgeScores.from_images(task.graph, np.concatenate(scores), **kind))


FLOW_ROUTES = Method(
    key="flow-routes",
    name="Information-flow routes",
    source="Ferrando & Voita 2024, arXiv 2403.00824",
    function=_flow_routes,
    passes=lambda graph: (1, 0),
    version=3,  # 1 ranked the shares of all receivers together; 2 also averaged over tokens without any share
    signed=False,
    additive=False,
    shares=True,
    lacks={"gradient": "it runs clean images forward once, without a gradient"},
)
