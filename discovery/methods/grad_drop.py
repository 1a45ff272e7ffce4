"""GradDrop: attribution with one layer after the other left out of the way back, so that cancelling paths show.

    s(u→v) = 1/n_v Σ_{ℓ ≠ layer of v} |⟨Δ_u, ∇_v^(ℓ) m⟩|

∇^(ℓ) is the metric's gradient when the attention and the MLP of layer ℓ pass none, so that it goes around them along
the stream; n_v counts the layers other than the receiver's own, in which nothing would arrive (all L for `logits`).
Where a direct and an indirect effect cancel in EAP, they do not cancel in all of these. Receivers in the last layer and
`logits` have nothing behind them that could be left out: there the score is |EAP|.

Magnitudes without sign, not additive: project by scoring again. 2 forwards and L backwards through the same graph, and
L contractions. Of a model of one layer nothing is left to average over; it is refused.

Kramár et al. 2024 (AtP*), arXiv 2403.00745, who score nodes; applied here to the gradients at receivers, one edge each.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import ComputationGraph, Form
from ...circuits.recipe import DIRECTIONS, Direction
from ...errors import InputError
from ...models import SenderOutputs, ViT, sender_differences
from ...models.receivers import ReceiverGradients, TapGradients, TappedRun
from ..batches import Pairs
from ..contraction import Contraction
from ..method import GRADIENT, Task
from ..metrics import flat_on_clean
from ..scoring import BatchScores, per_image


class BaseRun(NamedTuple):
    """The run that is patched, open for gradients, and how senders differ.

    Attributes:
        stream: that enters block 0 of the clean run (denoising: of the corrupted one).
        run: this run.
        differences: clean minus corrupted.
        clean: the metric on the clean images.
        corrupted: the metric on the corrupted images.
    """

    stream: Float[Tensor, "image token d_model"]
    run: TappedRun
    differences: Float[Tensor, "image sender token d_model"]
    clean: Float[Tensor, "image"]
    corrupted: Float[Tensor, "image"]

    @classmethod
    def of(cls, model: ViT, form: Form, direction: Direction, batch: Pairs, gradient: str) -> BaseRun:
        noising = direction == "noising"
        streams = [model.embed(batch.clean), model.embed(batch.corrupted)]
        base, other = streams if noising else streams[::-1]
        sent = SenderOutputs(base)
        with sent.recording(model):
            run = TappedRun(model, form, base, batch.values, gradient)
        others, logits = SenderOutputs.of(model, other)
        values = [run.values, batch.values(logits)]
        ends, runs = (values, [sent, others]) if noising else (values[::-1], [others, sent])
        return cls(base, run, sender_differences(model, form, *runs), *ends)

    def gradients_without(self, layer: int, *, heads: bool = False) -> TapGradients:
        """With one layer left out of the way back; layers are asked for in their order."""
        last = len(self.run.taps.heads) - 1
        return self.run.gradients(dropped=layer, heads=heads, again=layer < last)


def other_layers(graph: ComputationGraph) -> Float[np.ndarray, "edge"]:
    """How many layers there are beside that of each edge's receiver.

    Raises:
        InputError: none, for a model of one layer.
    """
    if graph.n_layers == 1:
        raise InputError("grad-drop averages over the layers other than an edge's own; this model has one layer only")
    inside = np.array([graph.components[node].layer is not None for node in graph.receiver_node])
    return (graph.n_layers - inside[graph.edge_receiver]).astype(float)


def _grad_drop(task: Task, batch: Pairs, *, gradient: str) -> BatchScores:
    counts = torch.from_numpy(other_layers(task.graph))
    base = BaseRun.of(task.model, task.form, task.direction, batch, gradient)
    gradients = ReceiverGradients(task.model, task.form, base.stream, gradient)

    def without(layer: int) -> Float[Tensor, "image edge"]:
        contraction = Contraction(task.graph, batch.token_weights(base.stream, base.differences.dtype))
        gradients.take(base.run, base.gradients_without(layer), 1)
        contraction.add(base.differences, gradients)
        return contraction.scores()[0].abs_()

    total = reduce(torch.Tensor.add_, map(without, range(task.graph.n_layers)))
    return BatchScores(total / counts.to(total), base.clean, base.corrupted)


GRAD_DROP = per_image(
    _grad_drop,
    key="grad-drop",
    name="Attribution patching of edges with GradDrop",
    paper="Kramár et al. 2024, arXiv 2403.00745",
    passes=lambda graph, gradient: (2, graph.n_layers),
    directions=DIRECTIONS,
    params={"gradient": GRADIENT},
    signed=False,
    additive=False,
    refuses=flat_on_clean,
)
