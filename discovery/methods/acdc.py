"""ACDC: from `logits` backwards, an edge goes if the metric loses less than a threshold by it.

    for v in receivers, reverse topological:
        for u in senders(v):
            remove u→v if m(C) − m(C ∖ {u→v}) < τ

Conmy et al. 2023 (code at bc99ace8). Removed edges carry the corrupted run's value, kept ones the current. The
reference takes the rise of a metric that is lower where it is better; here it is the loss of one that is higher. Metric
`kl` is their setting. A removal that helps the metric is always made, unless `absolute` holds the size of the change
to τ. Costs at most about a third of a forward an edge, less where what follows is removed already; what is told is this
bound.
"""

from __future__ import annotations

from ...circuits.kinds import number, switch
from ...evaluation.edges import FORWARDS_PER_EDGE
from ..method import NO_GRADIENT, Found, Method, Task
from ..sequential import ORDER, Sequential, found, order_of


def _acdc(task: Task, *, threshold: int | float, absolute: bool, order: str) -> Found:
    def removes(loss: float, limit: float) -> bool:
        return (abs(loss) if absolute else loss) < limit

    search = Sequential(task, order_of(task.graph, order), removes, most=1)
    return found(search, search.sweep(0, float(threshold)), order=order)


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
