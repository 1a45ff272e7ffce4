"""All images of a task as gated runs: how far a mixture is from the full model, and what each gate gains.

Kept for every image are the activations of its corrupted run, about seven streams a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits.recipe import Scalar
from ..models import GRADIENTS, GatedRuns, capture
from .conserved import Residual
from .flat_gradients import unmoved
from .method import Task
from .steps import AutoSteps


class Gains(NamedTuple):
    """What each gate gains between two settings of the gates.

    Attributes:
        each: per edge; times what the gate moves, they sum to the metric's difference.
        steps: by how many they were found.
        off: how far the sum is from this difference, in units of the metric; NaN where that was not measured.
    """

    each: Float[Tensor, "edge"]
    steps: int
    off: float


def round_trace(rounds: Sequence[Sequence[int | float]], name: str) -> dict[str, list[int | float]]:
    """What a trace says of rounds, each given by its sum, its steps and how far off that was.

    Args:
        name: of the sums.
    """
    sums, steps, off = (list(column) for column in zip(*rounds, strict=True))
    measured = {} if any(map(isnan, off)) else {"steps": list(map(int, steps)), "residual_absolute": off}
    return {name: sums} | measured


class GatedImages:
    """The discovery images of a task.

    Attributes:
        full: the metric of the full model, per image.
        empty: the metric with every edge corrupted, per image.
        gap: what corruption moves the metric by: the mean over images of |full − empty|.
    """

    full: Float[Tensor, "image"]
    empty: Float[Tensor, "image"]
    gap: float

    def __init__(self, task: Task) -> None:
        """Keep the activations of the corrupted run of every image.

        Raises:
            InputError: corruption does not move the metric of any image, so there is nothing to learn or to rank by.
        """
        self.graph = task.graph
        self.parts, full, empty = [], [], []
        for batch in task.pairs.batches(task.batch_size):
            corrupted = capture(task.model, batch.corrupted)
            runs = GatedRuns(task.model, task.graph, task.model.embed(batch.clean), corrupted)
            self.parts.append((runs, batch))
            full.append(batch.values(task.model.logits(batch.clean)).double())
            empty.append(batch.values(corrupted.logits).double())
        self.full, self.empty = torch.cat(full), torch.cat(empty)
        self.device = self.full.device
        self.gap = float((self.full - self.empty).abs().mean())
        if self.gap == 0:
            raise unmoved(task.pairs.metric)

    def metric(self, gates: Float[Tensor, "edge"]) -> Float[Tensor, "image"]:
        """The metric of each image's gated run."""
        with torch.no_grad():
            return torch.cat([batch.values(runs.logits(gates)).double() for runs, batch in self.parts])

    def distance(self, gates: Float[Tensor, "image edge"]) -> tuple[float, Float[Tensor, "image edge"]]:
        """How far gated runs are from the full model, and the gradient.

        Returns:
            The mean over images of |m(M) − m(run)|, in units of the gap; its gradient by the gates.
        """
        total, slopes = 0.0, torch.zeros_like(gates)
        start, scale = 0, len(self.full) * self.gap
        for runs, batch in self.parts:
            part = slice(start, start + len(batch))
            given = gates[part].detach().requires_grad_()
            with torch.enable_grad():
                off = (self.full[part] - batch.values(runs.logits(given)).double()).abs().sum() / scale
            (slopes[part],) = torch.autograd.grad(off, given)
            total, start = total + float(off.detach()), part.stop
        return total, slopes

    def integrated(
        self, start: Float[Tensor, "edge"], end: Float[Tensor, "edge"], steps: Scalar, gradient: str = "plain"
    ) -> Gains:
        """`gains` by a number of steps, or by as many as it takes to sum to the difference, see `AutoSteps`."""
        auto = AutoSteps.parse(steps)
        if auto is None:
            assert isinstance(steps, int)
            return Gains(self.gains(start, end, steps, gradient), steps, float("nan"))
        wanted = float(self.metric(end).mean() - self.metric(start).mean())
        differences = (self.full - self.empty).cpu().numpy()

        def attempt(number: int) -> tuple[Float[Tensor, "edge"], Residual]:
            each = self.gains(start, end, number, gradient)
            return each, Residual.between(float(((end - start) * each).sum()), wanted, differences)

        each, tried = auto.first_within(attempt)
        return Gains(each, tried[-1][0], tried[-1][1].absolute)

    def gains(
        self, start: Float[Tensor, "edge"], end: Float[Tensor, "edge"], steps: int, gradient: str = "plain"
    ) -> Float[Tensor, "edge"]:
        """Gate-IG between two settings of the gates: ∫ ∂m/∂g_e dα at g = start + α (end − start), by midpoints.

        The mean over images. Times `end − start`, it sums over edges to m(end) − m(start), in the limit of steps, where
        `gradient`, a key of `GRADIENTS`, is `plain`.
        """
        total = torch.zeros_like(start)
        for step in range(steps):
            gates = torch.lerp(start, end, (step + 0.5) / steps)
            for runs, batch in self.parts:
                given = gates.detach().requires_grad_()
                with torch.enable_grad(), GRADIENTS[gradient].during(runs.model):
                    values = batch.values(runs.logits(given)).double().sum()
                total += torch.autograd.grad(values, given)[0]
        return total / (steps * len(self.full))
