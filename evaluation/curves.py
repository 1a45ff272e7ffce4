"""Faithfulness curves: faithfulness over circuit size, and their areas (MIB, arXiv 2504.13151)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from ..circuits import (
    Circuit,
    ComputationGraph,
    EdgeScores,
    Evaluation,
    Metric,
    joining_order,
    shares_error,
    size_grid,
)
from ..circuits.extraction import Order
from ..errors import InputError
from ..models import ViT
from ..results import Exportable
from .evaluate import evaluate_many
from .execution import DEFAULT, Execution
from .pairs import ImagePairs

if TYPE_CHECKING:
    import pandas as pd

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of all edges at which MIB evaluates; n = int(share · n_edges)."""


@dataclass(frozen=True, eq=False)
class FaithfulnessCurve(Exportable):
    """Faithfulness and retention of circuits of growing size.

    Attributes:
        n_graph_edges: number of edges of the graph.
        requested: requested edges, in ascending order.
        realised: edges left after pruning.
        faithfulness: (circuit − empty) / (full − empty) of the metric; NaN where undefined.
        retention: the same for the accuracy; NaN where undefined.
    """

    n_graph_edges: int
    requested: Int[np.ndarray, "size"]
    realised: Int[np.ndarray, "size"]
    faithfulness: Float[np.ndarray, "size"]
    retention: Float[np.ndarray, "size"]

    @property
    def shares(self) -> Float[np.ndarray, "size"]:
        """Requested edges as shares of all edges, as MIB plots them although pruning shrinks circuits."""
        return self.requested / self.n_graph_edges

    @property
    def cpr(self) -> float:
        """Area under faithfulness over shares, for signed scores; higher is better.

        1 if circuits of every size are faithful, more if a circuit surpasses the model.
        """
        return area(self.shares, self.faithfulness)

    @property
    def cmd(self) -> float:
        """Area of |1 − faithfulness| over shares, for scores ranked by magnitude; 0 at best."""
        return area(self.shares, np.abs(1 - self.faithfulness))

    @property
    def log_cpr(self) -> float:
        """Mean faithfulness over the logarithm of the share: small circuits weigh as much as large ones."""
        return log_area(self.shares, self.faithfulness)

    @property
    def log_cmd(self) -> float:
        """Mean |1 − faithfulness| over the logarithm of the share."""
        return log_area(self.shares, np.abs(1 - self.faithfulness))

    def smallest(self, target: float = 0.85, of: str = "retention") -> int | None:
        """Return the realised edges of the smallest circuit that reaches the target; None if there is none.

        Args:
            target: a share.
            of: `retention` or `faithfulness`.
        """
        reached = np.flatnonzero(getattr(self, of) >= target)
        return int(self.realised[reached].min()) if len(reached) else None

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `requested, realised, share, faithfulness, retention`; one row per size."""
        import pandas as pd

        return pd.DataFrame(
            {
                "requested": self.requested,
                "realised": self.realised,
                "share": self.shares,
                "faithfulness": self.faithfulness,
                "retention": self.retention,
            }
        )

    def __repr__(self) -> str:
        return f"FaithfulnessCurve({len(self.requested)} sizes, CPR {self.cpr:.3f}, CMD {self.cmd:.3f})"

    def _first_rows(self, n: int) -> pd.DataFrame:
        return self.to_pandas().head(n)


def area(shares: Float[np.ndarray, "size"], values: Float[np.ndarray, "size"]) -> float:
    """Return the area by trapezoids over linear shares, with no segment before the first: CPR and CMD of MIB's code."""
    return float(np.trapezoid(values, shares))


def log_area(shares: Float[np.ndarray, "size"], values: Float[np.ndarray, "size"]) -> float:
    """Return the area over the logarithm of the shares, divided by its range; sizes without edges are left out."""
    some = shares > 0
    places = np.log(shares[some])
    return float(np.trapezoid(values[some], places) / (places[-1] - places[0]))


def mib_sizes(graph: ComputationGraph) -> list[int]:
    """Return the sizes at MIB's shares, without duplicates."""
    return sorted({int(share * graph.n_edges) for share in SHARES})


def faithfulness_curve(
    model: ViT,
    pairs: ImagePairs,
    scores: EdgeScores,
    *,
    metric: str | Metric = "logit",
    sizes: Sequence[int] | None = None,
    order: Order = "greedy",
    absolute: bool = False,
    execution: Execution = DEFAULT,
) -> FaithfulnessCurve:
    """Extract circuits of growing size and evaluate each on images that were not used to find them.

    Args:
        scores: scores that rank the edges.
        sizes: requested edges. The default is a geometric grid (ratio 1.25), since shares of a small graph give few
            sizes; `mib_sizes` gives MIB's.
        order: `top` or `greedy`.
        absolute: rank by magnitude, as CMD requires, instead of by signed score, as CPR requires.
        execution: batch size and progress; progress counts runs of all images.

    Raises:
        InputError: sizes out of range, order `top` for scores that are shares, or any error of `evaluate`.

    Examples:
        >>> faithfulness_curve(model, pairs, scores, sizes=[24, 96, 384])
        FaithfulnessCurve(3 sizes, CPR ..., CMD ...)
    """
    graph = scores.graph
    wanted = sorted(set(size_grid(graph.n_edges) if sizes is None else sizes))
    if not wanted or wanted[0] < 0 or wanted[-1] > graph.n_edges:
        raise InputError(f"sizes: expected numbers of edges from 0 to {graph.n_edges}, got {list(wanted)[:5]}")
    if scores.shares and order == "top":
        raise shares_error(order)
    joining = joining_order(graph, scores.mean, order, absolute=absolute)
    circuits = [Circuit.pruned(graph, joining[:n], size_requested=n, extraction=order, scores=scores) for n in wanted]
    return curve_of(model, pairs, circuits, metric=metric, execution=execution)


def curve_of(
    model: ViT,
    pairs: ImagePairs,
    circuits: Sequence[Circuit],
    *,
    metric: str | Metric = "logit",
    execution: Execution = DEFAULT,
) -> FaithfulnessCurve:
    """Compute the curve of given circuits, smallest first; arguments as for `evaluate_many`."""
    requested = [c.n_edges if c.size_requested is None else c.size_requested for c in circuits]
    found = evaluate_many(model, pairs, circuits, metric=metric, execution=execution)
    return curve_from(circuits, found, requested=requested)


def curve_from(
    circuits: Sequence[Circuit], found: Sequence[Evaluation], *, requested: Sequence[int]
) -> FaithfulnessCurve:
    """Return the curve of evaluated circuits at the requested sizes."""

    def column(name: str) -> Float[np.ndarray, "size"]:
        values = [getattr(evaluation, name) for evaluation in found]
        return np.array([np.nan if value is None else value for value in values], float)

    return FaithfulnessCurve(
        n_graph_edges=circuits[0].graph.n_edges,
        requested=np.array(requested, int),
        realised=np.array([c.n_edges for c in circuits]),
        faithfulness=column("faithfulness"),
        retention=column("retention"),
    )
