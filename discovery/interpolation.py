"""Scores with the gradient averaged over points between the corrupted and the clean input stream of block 0."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits import Form
from ..evaluation.measured import MeasuredPairs
from ..evaluation.reference import reference
from ..models import ReceiverGradients, SenderOutputs, ViT, capture, sender_differences
from .contraction import Contraction
from .scoring import BatchScores

AT_ONCE = 8
"""Runs whose normalised streams are kept until they are contracted; bounds the memory of many steps."""


def along_path(model: ViT, pairs: MeasuredPairs, form: Form, at: Sequence[float], gradient: str) -> BatchScores:
    """Return the scores with the gradient, in a mode of `GRADIENTS`, averaged over the points `at`.

    Runs at the ends of the path also give the sender differences, so the cost is `len(at)` backward passes and as many
    forward passes, plus one for each end that is not in `at`.
    """
    clean = model.embed(pairs.clean)
    ends = {1.0: clean} if min(at) == 1 else {1.0: clean, 0.0: model.embed(pairs.corrupted)}
    gradients = ReceiverGradients(model, form, clean, gradient)
    sent, values = {}, {}
    for end in (1.0, 0.0):
        if end in at:
            sent[end] = SenderOutputs(ends[end])
            with sent[end].recording(model):
                values[end] = gradients.add(ends[end], pairs.values, 1 / len(at))
        else:
            sent[end], values[end] = _plain_run(model, pairs, end)
    differences = sender_differences(model, form, sent[1.0], sent[0.0])
    sent.clear()
    contraction = Contraction(model.graph(form), pairs.token_weights(clean, model.exact_dtype))
    for point in at:
        if gradients.runs == AT_ONCE:
            contraction.add(differences, gradients)
        if point not in values:
            gradients.add(torch.lerp(ends[0.0], clean, point), pairs.values, 1 / len(at))
    contraction.add(differences, gradients)
    return BatchScores.of(contraction.scores(), values[1.0], values[0.0])


def _plain_run(model: ViT, pairs: MeasuredPairs, end: float) -> tuple[SenderOutputs, Float[Tensor, "image"]]:
    """Return the senders' outputs and the metric of the clean run (1) or of the reference (0)."""
    run = capture(model, pairs.clean) if end else reference(model, pairs)
    return SenderOutputs(run.stream, run.heads, run.mlp_out), pairs.values(run.logits)
