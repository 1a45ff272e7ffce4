"""The base run of gradient methods, recorded for backward passes that can leave out one layer at a time (GradDrop)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..circuits import ComputationGraph, Form
from ..circuits.recipe import Direction
from ..errors import InputError
from ..evaluation.measured import MeasuredPairs
from ..evaluation.reference import reference
from ..models import SenderOutputs, ViT, capture, sender_differences
from ..models.receivers import ReceiverGradients, TapGradients, TappedRun
from .contraction import Contraction
from .method import Task


class BaseRun(NamedTuple):
    """The run that is patched, recorded for gradients, with the differences of the senders.

    Attributes:
        stream: input of block 0 in the clean run (denoising: in the corrupted run).
        run: this run.
        differences: clean minus corrupted output of each sender.
        clean: the metric on the clean images.
        corrupted: the metric on the corrupted images.
    """

    stream: Float[Tensor, "image token d_model"]
    run: TappedRun
    differences: Float[Tensor, "image sender token d_model"]
    clean: Float[Tensor, "image"]
    corrupted: Float[Tensor, "image"]

    @classmethod
    def of(cls, model: ViT, form: Form, direction: Direction, batch: MeasuredPairs, gradient: str) -> BaseRun:
        noising = direction == "noising"
        base = model.embed(batch.clean if noising else batch.corrupted)
        sent = SenderOutputs(base)
        with sent.recording(model):
            run = TappedRun(model, form, base, batch.values, gradient)
        other = reference(model, batch) if noising else capture(model, batch.clean)
        values = [run.values, batch.values(other.logits)]
        ends, runs = (values, [sent, other]) if noising else (values[::-1], [other, sent])
        return cls(base, run, sender_differences(model, form, *runs), *ends)

    def gradients_without(self, layer: int, *, heads: bool = False) -> TapGradients:
        """Return the gradients when the backward pass leaves out one layer; call with the layers in ascending order."""
        last = len(self.run.taps.heads) - 1
        return self.run.gradients(dropped=layer, heads=heads, again=layer < last)


def other_layers(graph: ComputationGraph, method: str) -> Float[np.ndarray, "edge"]:
    """Return the number of layers other than that of each edge's receiver.

    Args:
        method: key of the method that averages over them.

    Raises:
        InputError: the model has only one layer.
    """
    if graph.n_layers == 1:
        raise InputError(
            f"method {method!r} averages over the layers other than the receiver's own (GradDrop), but this model has "
            "one layer; use 'qk-fix' or 'eap'"
        )
    inside = np.array([graph.components[node].layer is not None for node in graph.receiver_node])
    return (graph.n_layers - inside[graph.edge_receiver]).astype(float)


def eap_scores(
    task: Task, batch: MeasuredPairs, base: BaseRun, gradients: ReceiverGradients
) -> Float[Tensor, "image edge"]:
    """Return receiver gradients times sender differences, as in EAP, and clear the gradients."""
    contraction = Contraction(task.graph, batch.token_weights(base.stream, base.differences.dtype))
    contraction.add(base.differences, gradients)
    return contraction.scores()[0]
