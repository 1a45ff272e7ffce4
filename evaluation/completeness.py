"""Completeness and minimality: whether a circuit breaks as the model does, and needs each of its edges.

Wang et al. 2023, arXiv 2211.00593.

F(·) is the mean metric over images with all other edges corrupted, M the model with all its edges, C the circuit.
Complete: F(M∖K) − F(C∖K) is small whichever edges K ⊆ C are taken away; a back-up that the circuit lacks shows when
what it backs up is taken away. Minimal: every edge e has some K ⊆ C∖{e} for which F(C∖K) − F(C∖(K∪{e})) is large; an
edge that is backed up inside the circuit matters only beside a K that holds its back-up. The paper takes away nodes,
here it is edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from ..circuits import Circuit, Metric
from ..models import ViT, runs_model
from ..results import Exportable
from .edge_sets import EdgeSetRuns, some_edges, whole_number
from .execution import DEFAULT, Execution
from .pairs import ImagePairs

if TYPE_CHECKING:
    import pandas as pd

Members = Bool[np.ndarray, "edge"]


@dataclass(frozen=True, eq=False)
class Completeness(Exportable):
    """What circuit and model do without the same edges; metrics are means over images.

    Attributes:
        circuit: C.
        full: F(M), all edges open.
        empty: F of no edge.
        kinds: how each K was chosen: `none` (K empty), `all` (K = C), `random` or `greedy`.
        removed: the K, True for edges taken away.
        of_circuit: F(C∖K).
        of_model: F(M∖K).
        notes: what the reader must know beside them.
    """

    circuit: Circuit
    full: float
    empty: float
    kinds: tuple[str, ...]
    removed: Bool[np.ndarray, "set edge"]
    of_circuit: Float[np.ndarray, "set"]
    of_model: Float[np.ndarray, "set"]
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> Float[np.ndarray, "set"]:
        """F(M∖K) − F(C∖K): positive where the model keeps what the circuit loses."""
        return self.of_model - self.of_circuit

    @property
    def share(self) -> Float[np.ndarray, "set"]:
        """The difference as a share of F(M) − F(∅); NaN where that is undefined (a note says why)."""
        return np.full(len(self.kinds), np.nan) if self.notes else self.difference / (self.full - self.empty)

    @property
    def worst(self) -> float:
        """The largest |F(M∖K) − F(C∖K)|: incompleteness, 0 at best, as far as these K tell."""
        return float(np.abs(self.difference).max())

    @property
    def outside(self) -> float:
        """F(M∖C) − F(∅) as a share of F(M) − F(∅): what the edges outside do alone, 0 where C is necessary."""
        return float(self.share[self.kinds.index("all")])

    def to_pandas(self) -> pd.DataFrame:
        """Columns `kind, n_removed, circuit, model, difference, share`; one row per K."""
        import pandas as pd

        return pd.DataFrame(
            {
                "kind": self.kinds,
                "n_removed": self.removed.sum(axis=1),
                "circuit": self.of_circuit,
                "model": self.of_model,
                "difference": self.difference,
                "share": self.share,
            }
        )

    def __repr__(self) -> str:
        return f"Completeness({len(self.kinds)} sets of {self.circuit.n_edges} edges, worst {self.worst:.4g})"


@runs_model
def completeness(
    model: ViT,
    pairs: ImagePairs,
    circuit: Circuit,
    *,
    metric: str | Metric = "logit",
    draws: int = 20,
    steps: int = 10,
    candidates: int = 5,
    seed: int = 0,
    execution: Execution = DEFAULT,
) -> Completeness:
    """Take sets K of a circuit's edges away from it and from the model, and compare what is left.

    K is empty, the whole circuit, drawn at random, and grown greedily: at each step, of some random edges the one joins
    that sets circuit and model apart most. Costs 4 + 2 · (`draws` + `steps` · `candidates`) runs of one circuit on all
    images.

    Args:
        draws: random K, each edge of the circuit in it with probability one half.
        steps: of the greedy search, at most as many as the circuit has edges.
        candidates: edges that a greedy step looks at.
        seed: of the draws.
        execution: its progress counts runs.

    Raises:
        InputError: a circuit without edges, numbers out of range, or what `evaluate` raises.
    """
    graph, rng = some_edges(circuit).graph, np.random.default_rng(seed)
    whole_number("draws", draws, 0)
    inside = np.flatnonzero(circuit.members)
    tries = _tries(len(inside), whole_number("steps", steps, 0), whole_number("candidates", candidates, 1))
    runs = EdgeSetRuns(model, graph, pairs, metric, execution, 2 * (2 + draws + sum(tries)))

    def apart(sets: list[Members]) -> Float[np.ndarray, "set 2"]:
        """F(C∖K) and F(M∖K)."""
        return runs([left for k in sets for left in (circuit.members & ~k, ~k)]).mean(axis=1).reshape(-1, 2)

    kinds = ["none", "all", *["random"] * draws, *["greedy"] * len(tries)]
    sets = [np.zeros(graph.n_edges, bool), circuit.members]
    sets += [circuit.members & (rng.random(graph.n_edges) < 0.5) for _ in range(draws)]
    found = [apart(sets)]
    grown = sets[0]
    for count in tries:
        options = [_with(grown, int(edge)) for edge in rng.permutation(inside[~grown[inside]])[:count]]
        values = apart(options)
        best = int(np.abs(values[:, 1] - values[:, 0]).argmax())
        grown = options[best]
        sets.append(grown)
        found.append(values[best : best + 1])
    of_circuit, of_model = np.concatenate(found).T
    return Completeness(
        circuit=circuit,
        full=float(of_model[0]),
        empty=float(runs.empty.mean()),
        kinds=tuple(kinds),
        removed=np.stack(sets),
        of_circuit=of_circuit,
        of_model=of_model,
        notes=_notes(runs),
    )


def _tries(n_edges: int, steps: int, candidates: int) -> list[int]:
    """How many edges each greedy step looks at: fewer where fewer are left."""
    return [min(candidates, n_edges - step) for step in range(min(steps, n_edges))]


def _with(members: Members, edge: int) -> Members:
    members = members.copy()
    members[edge] = True
    return members


def _notes(runs: EdgeSetRuns) -> tuple[str, ...]:
    return () if runs.reason is None else (f"no shares: {runs.reason}",)


@dataclass(frozen=True, eq=False)
class Minimality(Exportable):
    """How much each edge of a circuit matters, alone and beside others that are missing; metrics are means over images.

    Attributes:
        circuit: C.
        edges: its edges, in flat order.
        removed: the K that were tried, True for edges taken away; the first is empty.
        effects: F(C∖K) − F(C∖(K∪{e})) with K less e; positive: the edge raises the metric.
        gap: F(M) − F(∅).
        notes: what the reader must know beside them.
    """

    circuit: Circuit
    edges: tuple[str, ...]
    removed: Bool[np.ndarray, "set edge"]
    effects: Float[np.ndarray, "set member"]
    gap: float
    notes: tuple[str, ...] = ()

    @property
    def alone(self) -> Float[np.ndarray, "member"]:
        """Effect of each edge with the rest of the circuit whole."""
        return self.effects[0]

    @property
    def largest(self) -> Float[np.ndarray, "member"]:
        """The effect that is largest in magnitude over all K: next to 0 for an edge that the circuit does not need."""
        return self.effects[self._which, np.arange(len(self.edges))]

    @property
    def _which(self) -> Int[np.ndarray, "member"]:
        return np.abs(self.effects).argmax(axis=0)

    def to_pandas(self) -> pd.DataFrame:
        """One row per edge: `edge, alone, largest, share, n_removed`.

        `n_removed` counts K, less the edge, at the largest effect; `share` is of F(M) − F(∅), NaN where that is
        undefined.
        """
        import pandas as pd

        beside = self.removed[self._which]
        own = beside[np.arange(len(self.edges)), np.flatnonzero(self.circuit.members)]
        return pd.DataFrame(
            {
                "edge": self.edges,
                "alone": self.alone,
                "largest": self.largest,
                "share": np.nan if self.notes else self.largest / self.gap,
                "n_removed": beside.sum(axis=1) - own,
            }
        )

    def __repr__(self) -> str:
        least = np.abs(self.largest).min()
        return f"Minimality({len(self.edges)} edges beside {len(self.removed)} sets, least effect {least:.4g})"


@runs_model
def minimality(
    model: ViT,
    pairs: ImagePairs,
    circuit: Circuit,
    *,
    metric: str | Metric = "logit",
    draws: int = 5,
    seed: int = 0,
    execution: Execution = DEFAULT,
) -> Minimality:
    """Leave each edge out of a circuit from which other edges K are gone as well.

    K is empty, then drawn at random; an edge of K is put back instead, so that all K serve all edges. Costs
    (`draws` + 1) · (edges + 1) runs of one circuit on all images.

    Args:
        draws: random K, each edge of the circuit in it with probability one half.
        seed: of the draws.
        execution: its progress counts runs.

    Raises:
        InputError: a circuit without edges, numbers out of range, or what `evaluate` raises.
    """
    graph, rng = some_edges(circuit).graph, np.random.default_rng(seed)
    whole_number("draws", draws, 0)
    inside = np.flatnonzero(circuit.members)
    runs = EdgeSetRuns(model, graph, pairs, metric, execution, (draws + 1) * (len(inside) + 1))
    removed = [np.zeros(graph.n_edges, bool)]
    removed += [circuit.members & (rng.random(graph.n_edges) < 0.5) for _ in range(draws)]
    effects = []
    for k in removed:
        left = circuit.members & ~k
        values = runs([left, *(_toggled(left, int(edge)) for edge in inside)]).mean(axis=1)
        effects.append(np.where(left[inside], values[0] - values[1:], values[1:] - values[0]))
    return Minimality(circuit, circuit.edges, np.stack(removed), np.stack(effects), runs.gap, _notes(runs))


def _toggled(members: Members, edge: int) -> Members:
    members = members.copy()
    members[edge] = ~members[edge]
    return members
