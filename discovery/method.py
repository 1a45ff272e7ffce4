"""A discovery method is a value: what it is, what it promises, which parameters it takes, how it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from jaxtyping import Bool

from ..circuits import FORMS, Circuit, ComputationGraph, EdgeScores, Form, MethodUse
from ..circuits.recipe import Direction, Scalar
from ..errors import InputError, unknown
from ..models import ViT
from ..models.gradients import GRADIENTS
from .batches import Pairs
from .conserved import Conserved
from .journal import Journal
from .steps import AutoSteps


@dataclass(frozen=True)
class Param:
    """A parameter of a method: its default, which values it takes, and how a value is written in an identity."""

    default: Scalar
    allowed: str
    accepts: Callable[[Any], bool]
    canonical: Callable[[Any], Scalar] = lambda value: value


def count(default: int) -> Param:
    """A whole number from 1 on."""
    return Param(
        default, "a whole number from 1 on", lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 1
    )


def path_steps(default: int) -> Param:
    """Into how many steps a path is cut: a number, or `auto`, see `AutoSteps`."""
    whole = count(default)

    def canonical(value: Any) -> Scalar:
        auto = AutoSteps.parse(value)
        return auto.text if auto else value

    return Param(
        default,
        f'{whole.allowed}, or "auto", which is "{AutoSteps().text}"',
        lambda value: whole.accepts(value) or AutoSteps.parse(value) is not None,
        canonical,
    )


def choice(*values: str) -> Param:
    """One of some names, by default the first."""
    return Param(values[0], " or ".join(values), lambda v: v in values)


def number(default: float | None, allowed: str, accepts: Callable[[float], bool]) -> Param:
    """A finite number in a range told by `allowed`; None only where it is the default."""

    def fits(value: Any) -> bool:
        if value is None:
            return default is None
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and accepts(value)

    return Param(default, allowed, fits)


def switch(default: bool) -> Param:
    """On or off."""
    return Param(default, "true or false", lambda v: isinstance(v, bool))


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
    pairs: Pairs
    batch_size: int
    journal: Journal
    progress: Callable[[int, int], None]
    selection: Pairs | None = None
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


@dataclass(frozen=True)
class Method:
    """How a circuit is discovered.

    Attributes:
        key: what specs and calls name.
        name: for people.
        paper: where it comes from.
        function: answers a task, given the resolved parameters by name.
        passes: forwards and backwards per image pair (at most, where they depend on what is found), given the graph,
            and the resolved parameters by name.
        version: of what it computes; part of every identity.
        forms: on which it runs.
        directions: in which it runs.
        params: by name.
        signed: positive means that the edge raises the metric; else magnitudes.
        additive: scores of merged edges are sums, so they project to coarser forms.
        shares: scores are shares of what each receiver reads, and compare at one receiver alone.
        selects: it selects edges itself.
        conserves: which scores sum to what, in the limit of many steps and with the plain gradient only, see
            `conserved`; None: none do.
        tokens: scores are sums over token positions, so they can be told apart by groups of them.
        lacks: why it does not take a parameter that others take, by the parameter's name.
        refuses: why it means nothing for a metric (its key), a direction and its parameters; None where it does.
    """

    key: str
    name: str
    paper: str
    function: Callable[..., Found]
    passes: Callable[..., tuple[int | float, int | float]]
    version: int = 1
    forms: tuple[Form, ...] = FORMS
    directions: tuple[Direction, ...] = ("noising",)
    params: Mapping[str, Param] = field(default_factory=dict)
    signed: bool = True
    additive: bool = True
    shares: bool = False
    selects: bool = False
    conserves: Conserved | None = None
    tokens: bool = False
    lacks: Mapping[str, str] = field(default_factory=dict)
    refuses: Callable[[str, str, Mapping[str, Scalar]], str | None] = lambda metric, direction, params: None

    def resolve(self, params: Mapping[str, Scalar]) -> MethodUse:
        """The method with defaults filled in.

        Raises:
            InputError: a parameter that it does not take, or a value out of range; names what is allowed.
        """
        for name, value in params.items():
            if name in self.lacks:
                raise InputError(f"{name}: method {self.key!r} takes none: {self.lacks[name]}; leave it out")
            if name not in self.params:
                raise unknown(f"parameter of method {self.key!r}", name, self.params)
            if not self.params[name].accepts(value):
                raise InputError(f"{name}: method {self.key!r} takes {self.params[name].allowed}, got {value!r}")
        values = {name: param.canonical(params.get(name, param.default)) for name, param in self.params.items()}
        return MethodUse.of(self.key, values, self.version)

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
