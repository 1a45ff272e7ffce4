"""A discovery method as a value: its properties, its parameters and the function that answers a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool

from ..circuits import FORMS, Circuit, ComputationGraph, EdgeScores, Form, MethodUse
from ..circuits.kinds import Kind, Param, choice, whole
from ..circuits.recipe import Direction, Scalar
from ..errors import InputError, unknown
from ..evaluation.journal import Journal
from ..evaluation.measured import MeasuredPairs
from ..evaluation.reference import NO_CORRUPTED_RUN
from ..models import ViT
from ..models.gradients import GRADIENTS
from .conserved import Conserved
from .steps import AutoSteps


def path_steps(default: int) -> Param:
    """Return the parameter for the number of steps along a path: a number, or `auto`, see `AutoSteps`."""
    steps = whole(default)

    def read(value: Any) -> Scalar:
        auto = AutoSteps.parse(value)
        return auto.text if auto else steps.read(value)

    return Param(default, f'{steps.allowed}, or "auto", short for "{AutoSteps().text}"', read)


GRADIENT = choice(*GRADIENTS)
"""The gradient mode of a gradient method: the rules of the backward pass."""

NO_GRADIENT = {"gradient": "it patches and measures without a gradient"}
"""Why methods that patch have no gradient mode."""


@dataclass(frozen=True)
class Task:
    """The input of a method.

    Attributes:
        model: the model whose edges are scored or selected.
        form: form of its graph.
        direction: `noising` (clean run, an edge corrupted) or `denoising` (corrupted run, an edge restored).
        pairs: the discovery images.
        selection: images for methods that choose a threshold on separate images; None if there are none.
        batch_size: images per batch.
        seed: seed of all random choices.
        progress: called with the completed and the total amount, in the method's own unit (images, decisions, steps).
        journal: where a long method saves its progress.
    """

    model: ViT
    form: Form
    direction: Direction
    pairs: MeasuredPairs
    batch_size: int
    journal: Journal
    progress: Callable[[int, int], None]
    selection: MeasuredPairs | None = None
    seed: int = 0

    @property
    def graph(self) -> ComputationGraph:
        return self.model.graph(self.form)


@dataclass(frozen=True)
class MethodOutput:
    """The output of a method: scores of every edge, the edges that it selected, or both.

    Attributes:
        graph: the graph that edge positions refer to.
        scores: scores of every edge; for a method that selects, the effect of each edge when it was decided.
        members: the selected edges before pruning; None for methods that only score.
        trace: record of the method's steps (JSON values).
    """

    graph: ComputationGraph
    scores: EdgeScores | None = None
    members: Bool[np.ndarray, "edge"] | None = None
    trace: Mapping[str, Any] = field(default_factory=dict)

    @property
    def circuit(self) -> Circuit:
        """The selected edges, pruned; `size_requested` is their number before pruning.

        Raises:
            InputError: the method does not select edges.
        """
        if self.members is None:
            raise InputError(
                "circuit: this method scores edges without selecting any; extract a circuit, for example with "
                "scores.greedy(0.05)"
            )
        return Circuit.found(self.graph, self.members, self.scores)


@dataclass(frozen=True, kw_only=True)
class Method(Kind):
    """A discovery method.

    Attributes:
        function: answers a task, given the resolved parameters by name.
        passes: forward and backward passes per image pair (an upper bound if they depend on the results), given the
            graph and the resolved parameters by name.
        forms: forms on which it runs.
        directions: directions in which it runs.
        signed: scores are signed, positive if the edge raises the metric; otherwise they are magnitudes.
        additive: scores of merged edges are sums, so they project to coarser forms.
        shares: scores are shares of what each receiver reads, comparable only at one receiver.
        selects: it selects edges itself.
        conserves: which sums of scores are conserved, in the limit of many steps and only with the plain gradient, see
            `conserved`; None if none is.
        tokens: scores are sums over token positions, so they can be split by token groups.
        needs_images: it runs the corrupted images also in the direction `noising`, so constants of senders do not do.
        refuses: returns why it is meaningless for a metric (its key), a direction and its parameters, or None.
    """

    function: Callable[..., MethodOutput]
    passes: Callable[..., tuple[int | float, int | float]]
    forms: tuple[Form, ...] = FORMS
    directions: tuple[Direction, ...] = ("noising",)
    signed: bool = True
    additive: bool = True
    shares: bool = False
    selects: bool = False
    conserves: Conserved | None = None
    tokens: bool = False
    needs_images: bool = False
    refuses: Callable[[str, str, Mapping[str, Scalar]], str | None] = lambda metric, direction, params: None

    def check(self, form: str, direction: str, metric: str, params: Mapping[str, Scalar]) -> None:
        """Check that the method can answer a question.

        Raises:
            InputError: a form or direction in which it does not run, a metric for which it is meaningless, or automatic
                steps with a gradient mode that conserves no sum.
        """
        if form not in self.forms:
            raise unknown(f"form for method {self.key!r}", form, self.forms)
        if direction not in self.directions:
            raise unknown(f"direction for method {self.key!r}", direction, self.directions)
        gradient = params.get("gradient", "plain")
        if AutoSteps.parse(params.get("steps")) and gradient != "plain":
            raise InputError(
                f"steps: with gradient {gradient!r} the scores of method {self.key!r} have no known sum, so the number "
                'of steps cannot be chosen automatically; give a number, or gradient = "plain"'
            )
        reason = self.refuses(metric, direction, params)
        if reason:
            raise InputError(f"method {self.key!r} with metric {metric!r}, {direction}: {reason}")

    def check_without_images(self, direction: str) -> None:
        """Check that the method can answer a question whose corruption has no image, only constants of senders.

        Raises:
            InputError: it runs corrupted images.
        """
        if direction == "denoising":
            raise InputError(f"method {self.key!r}, denoising: {NO_CORRUPTED_RUN}")
        if self.needs_images:
            raise InputError(
                f"method {self.key!r} follows a path of images from the corrupted to the clean one, and a corruption "
                "that replaces senders' outputs by constants has no image; use 'eap', 'gate-ig' or "
                "'eap-ig-activations', or a corruption of images"
            )

    def answer(self, task: Task, use: MethodUse) -> MethodOutput:
        """Run the method on a task."""
        return self.function(task, **dict(use.params))
