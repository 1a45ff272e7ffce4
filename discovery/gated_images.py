"""Gated runs of all images of a task: the distance of a mixture from the full model, and the gain of each gate.

Keeps the activations of each image's corrupted run in memory, about seven streams per layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits.recipe import Scalar
from ..evaluation.reference import reference
from ..models import GRADIENTS, GatedRuns
from .conserved import Residual
from .flat_gradients import constant_metric_error
from .method import Task
from .steps import AutoSteps


class Gains(NamedTuple):
    """The gain of each gate between two settings of the gates.

    Attributes:
        per_edge: gain per unit of gate; times the change of the gates, it sums to the metric's difference.
        steps: steps of the integration.
        residual: deviation of the sum from the difference, in units of the metric; NaN if it was not measured.
    """

    per_edge: Float[Tensor, "edge"]
    steps: int
    residual: float


def round_trace(rounds: Sequence[Sequence[int | float]], name: str) -> dict[str, list[int | float]]:
    """Return the trace of rounds, each given by its sum, its steps and its residual.

    Args:
        name: name of the sums.
    """
    sums, steps, residuals = (list(column) for column in zip(*rounds, strict=True))
    measured = {} if any(map(isnan, residuals)) else {"steps": list(map(int, steps)), "residual_absolute": residuals}
    return {name: sums} | measured


class GatedImages:
    """The discovery images of a task, for gated runs.

    Attributes:
        full: the metric of the full model, per image.
        empty: the metric with every edge corrupted, per image.
        gap: mean over images of |full − empty|, the size of the corruption's effect.
    """

    full: Float[Tensor, "image"]
    empty: Float[Tensor, "image"]
    gap: float

    def __init__(self, task: Task) -> None:
        """Compute the activations of the corrupted run of every image.

        Raises:
            InputError: corruption does not change the metric on any image.
        """
        self.graph = task.graph
        self.parts, full, empty = [], [], []
        for batch in task.pairs.batches(task.batch_size):
            corrupted = reference(task.model, batch)
            runs = GatedRuns(task.model, task.graph, task.model.embed(batch.clean), corrupted)
            self.parts.append((runs, batch))
            full.append(batch.values(task.model.logits(batch.clean)).double())
            empty.append(batch.values(corrupted.logits).double())
        self.full, self.empty = torch.cat(full), torch.cat(empty)
        self.device = self.full.device
        self.gap = float((self.full - self.empty).abs().mean())
        if self.gap == 0:
            raise constant_metric_error(task.pairs.metric)

    def metric(self, gates: Float[Tensor, "edge"]) -> Float[Tensor, "image"]:
        """Return the metric of each image's gated run."""
        with torch.no_grad():
            return torch.cat([batch.values(runs.logits(gates)).double() for runs, batch in self.parts])

    def distance(self, gates: Float[Tensor, "image edge"]) -> tuple[float, Float[Tensor, "image edge"]]:
        """Return the distance of gated runs from the full model, and its gradient.

        Returns:
            The mean over images of |m(M) − m(run)|, in units of the gap; its gradient with respect to the gates.
        """
        total, slopes = 0.0, torch.zeros_like(gates)
        start, scale = 0, len(self.full) * self.gap
        for runs, batch in self.parts:
            part = slice(start, start + len(batch))
            variable = gates[part].detach().requires_grad_()
            with torch.enable_grad():
                distance = (self.full[part] - batch.values(runs.logits(variable)).double()).abs().sum() / scale
            (slopes[part],) = torch.autograd.grad(distance, variable)
            total, start = total + float(distance.detach()), part.stop
        return total, slopes

    def integrated(
        self, start: Float[Tensor, "edge"], end: Float[Tensor, "edge"], steps: Scalar, gradient: str = "plain"
    ) -> Gains:
        """Return `gains` with a fixed number of steps, or doubled until the sum is close enough, see `AutoSteps`."""
        auto = AutoSteps.parse(steps)
        if auto is None:
            assert isinstance(steps, int)
            return Gains(self.gains(start, end, steps, gradient), steps, float("nan"))
        expected = float(self.metric(end).mean() - self.metric(start).mean())
        differences = (self.full - self.empty).cpu().numpy()

        def attempt(number: int) -> tuple[Float[Tensor, "edge"], Residual]:
            per_edge = self.gains(start, end, number, gradient)
            return per_edge, Residual.between(float(((end - start) * per_edge).sum()), expected, differences)

        per_edge, tried = auto.first_within(attempt)
        return Gains(per_edge, tried[-1][0], tried[-1][1].absolute)

    def gains(
        self, start: Float[Tensor, "edge"], end: Float[Tensor, "edge"], steps: int, gradient: str = "plain"
    ) -> Float[Tensor, "edge"]:
        """Return gate-IG between two settings of the gates: ∫ ∂m/∂g_e dα at g = start + α (end − start), by midpoints.

        The mean over images. With the gradient mode `plain` (a key of `GRADIENTS`), the gains times `end − start` sum
        over edges to m(end) − m(start) in the limit of many steps.
        """
        total = torch.zeros_like(start)
        for step in range(steps):
            gates = torch.lerp(start, end, (step + 0.5) / steps)
            for runs, batch in self.parts:
                variable = gates.detach().requires_grad_()
                with torch.enable_grad(), GRADIENTS[gradient].during(runs.model):
                    values = batch.values(runs.logits(variable)).double().sum()
                total += torch.autograd.grad(values, variable)[0]
        return total / (steps * len(self.full))
