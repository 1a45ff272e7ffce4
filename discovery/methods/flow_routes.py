"""Information-flow routes: how near each sender brings a receiver's input to what it is.

    s(u→v) = mean over tokens of proximity(u, v) / Σ_u' proximity(u', v)
    proximity(u, v) = max(‖x_v‖₁ − ‖x_v − o_u‖₁, 0)

x_v is the stream that receiver v reads (before its norm), o_u what sender u wrote to it, norms over d_model; both of
the clean run at one token. The mean is over the tokens at which some sender comes near (a proximity above 0). So a
receiver's scores are shares: none is negative, and on every image they sum to 1, or are all 0 where no sender comes
near at any token. The attention's output bias is part of x_v and no sender.

Magnitudes without sign, not additive, in no unit of the metric: neither the metric nor the corrupted images are looked
at. q, k and v of a head read the same stream and score alike. One forward, no backward.

Of two shares at different receivers the larger is not the more important: nearly all that a late MLP reads of one head
may matter less than a tenth of what `logits` read. So `top` and `bisection`, which put all edges in one order, are
refused. A circuit is grown from `logits` (`greedy`), or cut at a share (`threshold`), which is the authors' own way:
from the output down, edges above a threshold. Pruning leaves of the cut what is reached so.

Ferrando & Voita 2024, arXiv 2403.00824 (code: facebookresearch/llm-transparency-tool). The paper takes each head apart
into the tokens that it reads from; edges here carry all of what a head writes at a token. Whether the authors' code
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
from ..method import Found, Method, Task


def proximities(
    read: Float[Tensor, "image token d_model"], sent: Float[Tensor, "image sender token d_model"]
) -> Float[Tensor, "image sender token"]:
    """How much nearer to what was read than to nothing each sender's part comes, in the 1-norm; 0 where it does not."""
    whole = read.abs().sum(-1)
    rest = torch.stack([(read - sent[:, sender]).abs().sum(-1) for sender in range(sent.shape[1])], dim=1)
    return (whole[:, None] - rest).clamp_min(0)


def shares(
    read: Float[Tensor, "image token d_model"], sent: Float[Tensor, "image sender token d_model"]
) -> Float[Tensor, "image sender"]:
    """Each sender's share of what was read: the mean over the tokens at which some sender comes near, 0 without any."""
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
    """What is read, and by which receivers, in their order."""
    for layer in range(graph.n_layers):
        mlp = graph.mlp_receiver(layer)
        yield run.attention_in[layer], graph.attention_receivers(layer)
        yield run.mlp_in[layer], range(mlp, mlp + 1)
    yield run.final, range(graph.logits_receiver, graph.n_receivers)


def _sent(run: Activations, model: ViT, graph: ComputationGraph) -> Float[Tensor, "image sender token d_model"]:
    sent = [run.stream.to(model.exact_dtype)[:, None]]
    for heads, mlp, writing in zip(run.heads, run.mlp_out, model.writings, strict=True):
        apart = torch.einsum("bthk,hkd->bhtd", heads.to(writing.dtype).unflatten(-1, writing.shape[:2]), writing)
        sent += [apart.sum(1, keepdim=True) if graph.form == "block" else apart, mlp.to(writing.dtype)[:, None]]
    return torch.cat(sent, dim=1)


def _flow_routes(task: Task) -> Found:
    scores: list[np.ndarray] = []
    done = 0
    for batch in task.pairs.batches(task.batch_size):
        scores.append(_scores(capture(task.model, batch.clean), task.model, task.graph).cpu().numpy())
        task.progress(done := done + len(batch), len(task.pairs))
    kind = {"additive": FLOW_ROUTES.additive, "signed": FLOW_ROUTES.signed, "shares": FLOW_ROUTES.shares}
    return Found(task.graph, EdgeScores.from_images(task.graph, np.concatenate(scores), **kind))


FLOW_ROUTES = Method(
    key="flow-routes",
    name="Information-flow routes",
    source="Ferrando & Voita 2024, arXiv 2403.00824",
    function=_flow_routes,
    passes=lambda graph: (1, 0),
    version=3,  # 1 put the shares of all receivers in one order, 2 averaged over tokens without any share, too
    signed=False,
    additive=False,
    shares=True,
    lacks={"gradient": "it runs clean images forward once, and no gradient enters its scores"},
)
