"""EAP-IG (activations) as coded by its authors (hannamw/EAP-IG at 795f560).

For each node in turn, in the clean run at α = 1/S … 1, *every* edge is scored with the gradients of that run, and the
sum is divided by S times the number of nodes. The moved node is detached from its inputs. The sums over edges are not
the effect of any patch; this variant serves to reproduce published circuits. Costs (2L + 1) S forward and backward
passes in addition to the two plain runs.

Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch

from ...circuits import ComputationGraph
from ...circuits.kinds import whole
from ...evaluation.measured import MeasuredPairs
from ...evaluation.path_points import points
from ...evaluation.reference import reference
from ...models import ReceiverGradients, capture, fixed_output, sender_differences
from ..contraction import Contraction
from ..flat_gradients import flat_in_one_step
from ..interpolation import AT_ONCE
from ..method import Task
from ..scoring import BatchScores, per_image


def _as_coded(task: Task, batch: MeasuredPairs, *, steps: int) -> BatchScores:
    model = task.model
    clean, corrupted = capture(model, batch.clean), reference(model, batch)
    differences = sender_differences(model, task.form, clean, corrupted)
    gradients = ReceiverGradients(model, task.form, clean.stream)
    contraction = Contraction(task.graph, batch.token_weights(clean.stream, model.exact_dtype))
    components = 2 * model.n_layers
    for moved in range(-1, components):  # -1: `input`
        for point in points(steps, "right"):
            stream = torch.lerp(corrupted.stream, clean.stream, point) if moved < 0 else clean.stream
            with fixed_output(model, moved, clean, corrupted, point) if moved >= 0 else nullcontext():
                gradients.add(stream, batch.values, 1 / (steps * (components + 1)))
            if gradients.runs == AT_ONCE:
                contraction.add(differences, gradients)
    contraction.add(differences, gradients)
    ends = batch.values(clean.logits), batch.values(corrupted.logits)
    return BatchScores.of(contraction.scores(), *ends)


def _coded_passes(graph: ComputationGraph, steps: int) -> tuple[int, int]:
    backwards = (2 * graph.n_layers + 1) * steps
    return 2 + backwards, backwards


EAP_IG_ACTIVATIONS_AS_CODED = per_image(
    _as_coded,
    key="eap-ig-activations-as-coded",
    name="Edge attribution patching with integrated gradients (activations), as in the authors' code",
    source="Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806; hannamw/EAP-IG at 795f560",
    passes=_coded_passes,
    params={"steps": whole(5)},
    refuses=flat_in_one_step,
    tokens=True,
    lacks={"gradient": "it reproduces the authors' code, which has only the plain gradient"},
)
