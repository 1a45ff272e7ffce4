"""A discovery method is a value: what it is, what it promises, which parameters it takes, how it is run."""

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
from ..models import ViT
from ..models.gradients import GRADIENTS
from .conserved import Conserved
from .steps import AutoSteps


def path_steps(default: int) -> Param:
    """Into how many steps a path is cut: a number, or `auto`, see `AutoSteps`."""
    steps = whole(default)

    def read(value: Any) -> Scalar:
        auto = AutoSteps.parse(value)
        return auto.text if auto else steps.read(value)

    return Param(default, f'{steps.allowed}, or "auto", which is "{AutoSteps().text}"', read)


GRADIENT = choice(*GRADIENTS)
"""The gradient mode of a gradient method: by which rules the way back goes."""

NO_GRADIENT = {"gradient": "it patches and measures, and no gradient enters its scores"}
"""Of methods that patch, and have no gradient for a mode to change."""


@dataclass(frozen=True)
class Task:
    """What a method is given.

    Attributes:
        model: whose edges are asked about.
        form: of its graph.
        direction: `noising` (clean run, an edge corrupted) or `denoising` (corrupted run, an edge restored).
        pairs: the discovery images.
        selection: images for what a method has to choose on images of its own (a threshold); None where none
            were given.
        batch_size: images at a time.
        seed: of everything random.
        progress: told how much is done, and of how much, in the method's own unit (images, decisions, steps).
        journal: where a long method keeps what it has found so far.
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
class Found:
    """What a method answers: scores of every edge, the edges that it selected itself, or both.

    Attributes:
        graph: which edges the positions mean.
        scores: of every edge; for a method that selects, each edge's effect when it was decided.
        members: the selected edges as decided, before pruning; None for methods that only score.
        trace: what was recorded on the way (JSON values).
    """

    graph: ComputationGraph
    scores: EdgeScores | None = None
    members: Bool[np.ndarray, "edge"] | None = None
    trace: Mapping[str, Any] = field(default_factory=dict)

    @property
    def circuit(self) -> Circuit:
        """The selected edges, pruned; `size_requested` is their number before pruning.

        Raises:
            InputError: the method selects none.
        """
        if self.members is None:
            raise InputError(
                "circuit: this method scores edges and selects none; extract one, as by scores.greedy(0.05)"
            )
        return Circuit.found(self.graph, self.members, self.scores)


@dataclass(frozen=True, kw_only=True)
class Method(Kind):
    """How a circuit is discovered.

    Attributes:
        function: answers a task, given the resolved parameters by name.
        passes: forwards and backwards per image pair (at most, where they depend on what is found), given the graph,
            and the resolved parameters by name.
        forms: on which it runs.
        directions: in which it runs.
        signed: positive means that the edge raises the metric; else magnitudes.
        additive: scores of merged edges are sums, so they project to coarser forms.
        shares: scores are shares of what each receiver reads, and compare only at one receiver.
        selects: it selects edges itself.
        conserves: which scores sum to what, in the limit of many steps and with the plain gradient only, see
            `conserved`; None: none do.
        tokens: scores are sums over token positions, so they can be split by groups of them.
        refuses: returns why a metric (its key), a direction and its parameters mean nothing for it, or None.
    """

    function: Callable[..., Found]
    passes: Callable[..., tuple[int | float, int | float]]
    forms: tuple[Form, ...] = FORMS
    directions: tuple[Direction, ...] = ("noising",)
    signed: bool = True
    additive: bool = True
    shares: bool = False
    selects: bool = False
    conserves: Conserved | None = None
    tokens: bool = False
    refuses: Callable[[str, str, Mapping[str, Scalar]], str | None] = lambda metric, direction, params: None

    def check(self, form: str, direction: str, metric: str, params: Mapping[str, Scalar]) -> None:
        """Pass only what the method can answer.

        Raises:
            InputError: a form or direction that it does not run in, a metric that means nothing for it, or steps to be
                found by sums that the gradient mode does not keep.
        """
        if form not in self.forms:
            raise unknown(f"form for method {self.key!r}", form, self.forms)
        if direction not in self.directions:
            raise unknown(f"direction for method {self.key!r}", direction, self.directions)
        gradient = params.get("gradient", "plain")
        if AutoSteps.parse(params.get("steps")) and gradient != "plain":
            raise InputError(
                f"steps: with gradient {gradient!r} the scores of method {self.key!r} need not sum to anything, so "
                'nothing shows how many steps are enough; give a number, or gradient = "plain"'
            )
        reason = self.refuses(metric, direction, params)
        if reason:
            raise InputError(f"method {self.key!r} with metric {metric!r}, {direction}: {reason}")

    def answer(self, task: Task, use: MethodUse) -> Found:
        """What the method finds."""
        return self.function(task, **dict(use.params))
