"""Vi-CD: sequential patching on the `attention` form, with a threshold per class.

    for v in receivers, reverse topological:
        for u in senders(v):
            remove u→v if |m(C) − m(C ∖ {u→v})| < τ

Żukowska et al. 2026, arXiv 2604.14477, according to third parties: that the change of the target's logit is compared
with τ is stated, but the exact formula and the order of the edges could not be verified; the order here is that of
ACDC. The paper chooses τ per class for more than 80 % of the performance at the highest sparsity. Without `threshold`,
this is done here by bisection on log τ between 10⁻⁴ of the metric's gap m(x) − m(x') and the whole gap, with retention
of accuracy on selection images; the sparsest circuit that reaches `retention` is returned. A sweep at another τ starts
from the first edge that it decides differently. Costs up to about a third of a forward pass per edge and sweep, and
three runs of the selection images per sweep; the reported cost is this upper bound, without the selection images.

Memory: the current run and the changes by corruption are kept for all discovery images during a sweep, about 68 MB per
image on ViT-B in float32, whatever the batch size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...circuits import Circuit, ComputationGraph, Evaluation
from ...circuits.kinds import number, whole
from ...errors import InputError, warn
from ...evaluation import Execution, evaluate
from ...evaluation.edges import FORWARDS_PER_EDGE
from ..flat_gradients import constant_metric_error
from ..method import NO_GRADIENT, Method, MethodOutput, Task
from ..sequential import ORDER, Sequential, Sweep, method_output, order_of

_SMALLEST = 1e-4
"""The smallest threshold of the search, as a share of the metric's gap."""


def _removes(loss: float, threshold: float) -> bool:
    return abs(loss) < threshold


def _vi_cd(
    task: Task, *, threshold: int | float | None, retention: int | float, sweeps: int, order: str
) -> MethodOutput:
    search = Sequential(task, order_of(task.graph, order), _removes, max_sweeps=1 if threshold is not None else sweeps)
    if threshold is not None:
        return method_output(search, search.sweep(0, float(threshold)), order=order)
    return _Bisection(task, search, retention).answer(sweeps, order)


class _Bisection:
    """The search for the threshold.

    Attributes:
        tried: per sweep its threshold, the edges left after pruning, and the retention, as in the trace.
    """

    def __init__(self, task: Task, search: Sequential, target: int | float) -> None:
        """Check that there are selection images and that the metric changes.

        Raises:
            InputError: no selection images, or a metric that corruption does not change.
        """
        if task.selection is None:
            raise InputError(
                "vi-cd: the search for a threshold needs selection images, got none; pass some, or set a threshold"
            )
        clean, corrupted = search.ends
        self.gap = abs(float((clean - corrupted).mean()))
        if self.gap == 0:
            raise constant_metric_error(task.pairs.metric)
        self.task, self.search, self.target = task, search, target
        self.tried: list[dict[str, Any]] = []

    def answer(self, sweeps: int, order: str) -> MethodOutput:
        """Return the circuit of the sparsest sweep that reaches the target, or all edges with the reason."""
        low, high = np.log(self.gap * _SMALLEST), np.log(self.gap)
        best, fewest, reason = None, np.inf, self._undefined_reason()
        for index in range(0 if reason else sweeps):
            sweep = self.search.sweep(index, float(np.exp((low + high) / 2)))
            n_edges, retention = self._measure(sweep)
            if retention < self.target:
                high = np.log(sweep.threshold)
                continue
            low = np.log(sweep.threshold)
            if n_edges < fewest:
                best, fewest = sweep, n_edges
        if best is None:
            reason = reason or f"none of {sweeps} thresholds keeps a retention of {self.target:g}"
            warn(f"vi-cd: all edges are kept: {reason}")
        notes = {"all_edges": reason} if best is None else {}
        return method_output(self.search, best, order=order, target=self.target, sweeps=self.tried, **notes)

    def _undefined_reason(self) -> str | None:
        """Return why retention is undefined on these images; None if it is defined."""
        whole = Circuit.found(self.search.graph, np.ones(self.search.graph.n_edges, bool), None)
        return self._evaluate(whole).reasons.get("retention")

    def _measure(self, sweep: Sweep) -> tuple[int, float]:
        """Return the edges of a sweep's circuit, and its retention."""
        members = np.ones(self.search.graph.n_edges, bool)
        members[self.search.order] = ~sweep.removed
        circuit = Circuit.found(self.search.graph, members, None)
        retention = self._evaluate(circuit).retention
        assert retention is not None
        self.tried.append({"threshold": sweep.threshold, "edges": circuit.n_edges, "retention": retention})
        return circuit.n_edges, retention

    def _evaluate(self, circuit: Circuit) -> Evaluation:
        pairs = self.task.selection
        assert pairs is not None
        execution = Execution(batch_size=self.task.batch_size)
        return evaluate(self.task.model, pairs, circuit, metric=pairs.metric, execution=execution)


def _passes(
    graph: ComputationGraph, threshold: int | float | None, retention: int | float, sweeps: int, order: str
) -> tuple[float, int]:
    """Return an upper bound, without runs of selection images."""
    swept = sweeps if threshold is None else 1
    return 5 + swept * (2 + FORWARDS_PER_EDGE * graph.n_edges), 1


VI_CD = Method(
    key="vi-cd",
    name="Vi-CD: sequential patching with a threshold per class",
    source="Żukowska, Stammer, Schiele & Fischer 2026, arXiv 2604.14477",
    function=_vi_cd,
    passes=_passes,
    forms=("attention",),
    params={
        "threshold": number(None, "a finite number, in units of the metric", lambda value: True),
        "retention": number(0.8, "a share in (0, 1]", lambda value: 0 < value <= 1),
        "sweeps": whole(8),
        "order": ORDER,
    },
    additive=False,
    selects=True,
    lacks=NO_GRADIENT,
)
