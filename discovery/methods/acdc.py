"""ACDC: remove edges from `logits` backwards if the metric loses less than a threshold.

    for v in receivers, reverse topological:
        for u in senders(v):
            remove u→v if m(C) − m(C ∖ {u→v}) < τ

Conmy et al. 2023 (code at bc99ace8). Removed edges carry the corrupted run's value, kept edges the current one. The
reference takes the increase of a metric that is better when lower; here it is the loss of a metric that is better when
higher. Metric `kl` is their setting. A removal that raises the metric is always made, unless `absolute` compares the
size of the change with τ. Costs up to about a third of a forward pass per edge, less if much was removed already; the
reported cost is this upper bound.
"""

from __future__ import annotations

from ...circuits.kinds import number, switch
from ...evaluation.edges import FORWARDS_PER_EDGE
from ..method import NO_GRADIENT, Method, MethodOutput, Task
from ..sequential import ORDER, Sequential, method_output, order_of


def _acdc(task: Task, *, threshold: int | float, absolute: bool, order: str) -> MethodOutput:
    def removes(loss: float, limit: float) -> bool:
        return (abs(loss) if absolute else loss) < limit

    search = Sequential(task, order_of(task.graph, order), removes, max_sweeps=1)
    return method_output(search, search.sweep(0, float(threshold)), order=order)


ACDC = Method(
    key="acdc",
    name="Automatic circuit discovery (ACDC)",
    source="Conmy et al. 2023, arXiv 2304.14997",
    function=_acdc,
    passes=lambda graph, threshold, absolute, order: (7 + FORWARDS_PER_EDGE * graph.n_edges, 1),
    params={
        "threshold": number(0.01, "a finite number, in units of the metric", lambda value: True),
        "absolute": switch(False),
        "order": ORDER,
    },
    additive=False,
    selects=True,
    lacks=NO_GRADIENT,
)
