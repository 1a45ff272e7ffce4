"""Completeness and minimality of circuits (Wang et al. 2023, arXiv 2211.00593).

F(·) is the mean metric over images when all other edges are corrupted, M is the model with all its edges, C the
circuit. C is complete if F(M∖K) − F(C∖K) is small for every set of removed edges K ⊆ C. If the circuit lacks a backup
path, the difference shows when the backed-up edges are removed. C is minimal if every edge e has some K ⊆ C∖{e} for
which F(C∖K) − F(C∖(K∪{e})) is large. An edge with a backup inside the circuit matters only for a K that contains the
backup. The paper removes nodes; here edges are removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from ..circuits import Circuit, Metric
from ..models import ViT, runs_model
from ..results import Exportable
from .edge_sets import EdgeSetRuns, require_edges, require_whole_number
from .execution import DEFAULT, Execution
from .pairs import ImagePairs

if TYPE_CHECKING:
    import pandas as pd

Members = Bool[np.ndarray, "edge"]


@dataclass(frozen=True, eq=False)
class Completeness(Exportable):
    """The metric of circuit and model after removing the same edges; metrics are means over images.

    Attributes:
        circuit: C.
        full: F(M), all edges open.
        empty: F(∅), all edges corrupted.
        kinds: how each K was chosen: `none` (K empty), `all` (K = C), `random` or `greedy`.
        removed: the sets K, True for removed edges.
        of_circuit: F(C∖K).
        of_model: F(M∖K).
        notes: limitations of these results.
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
        """The difference as a share of F(M) − F(∅); NaN where that is undefined (a note gives the reason)."""
        return np.full(len(self.kinds), np.nan) if self.notes else self.difference / (self.full - self.empty)

    @property
    def worst(self) -> float:
        """The largest |F(M∖K) − F(C∖K)| over these K: a lower bound of the incompleteness, 0 at best."""
        return float(np.abs(self.difference).max())

    @property
    def outside(self) -> float:
        """F(M∖C) − F(∅) as a share of F(M) − F(∅): what the edges outside do without C; 0 if C is necessary."""
        return float(self.share[self.kinds.index("all")])

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `kind, n_removed, circuit, model, difference, share`; one row per K."""
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
    """Remove sets K of a circuit's edges from the circuit and from the model, and compare the results.

    K is empty, the whole circuit, random, or grown greedily: each step tries a few random edges and adds the one that
    increases the difference between circuit and model most. Costs 4 + 2 · (`draws` + `steps` · `candidates`) runs of
    one circuit on all images.

    Args:
        draws: number of random K, which contain each edge of the circuit with probability one half.
        steps: steps of the greedy search, at most the number of edges of the circuit.
        candidates: edges tried per greedy step.
        seed: seed of the draws.
        execution: batch size and progress; progress counts runs.

    Raises:
        InputError: a circuit without edges, a number out of range, or any error of `evaluate`.

    Examples:
        >>> completeness(model, pairs, circuit, draws=3, steps=2).to_pandas()
              kind  n_removed ...
    """
    graph, rng = require_edges(circuit).graph, np.random.default_rng(seed)
    require_whole_number("draws", draws, 0)
    inside = np.flatnonzero(circuit.members)
    tries = _tries(
        len(inside), require_whole_number("steps", steps, 0), require_whole_number("candidates", candidates, 1)
    )
    runs = EdgeSetRuns(model, graph, pairs, metric, execution, 2 * (2 + draws + sum(tries)))

    def metrics(sets: list[Members]) -> Float[np.ndarray, "set 2"]:
        """Return F(C∖K) and F(M∖K)."""
        return runs([left for k in sets for left in (circuit.members & ~k, ~k)]).mean(axis=1).reshape(-1, 2)

    kinds = ["none", "all", *["random"] * draws, *["greedy"] * len(tries)]
    sets = [np.zeros(graph.n_edges, bool), circuit.members]
    sets += [circuit.members & (rng.random(graph.n_edges) < 0.5) for _ in range(draws)]
    found = [metrics(sets)]
    grown = sets[0]
    for count in tries:
        options = [_with(grown, int(edge)) for edge in rng.permutation(inside[~grown[inside]])[:count]]
        values = metrics(options)
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
    """Return how many edges each greedy step tries: fewer when fewer are left."""
    return [min(candidates, n_edges - step) for step in range(min(steps, n_edges))]


def _with(members: Members, edge: int) -> Members:
    members = members.copy()
    members[edge] = True
    return members


def _notes(runs: EdgeSetRuns) -> tuple[str, ...]:
    return () if runs.reason is None else (f"no shares: {runs.reason}",)


@dataclass(frozen=True, eq=False)
class Minimality(Exportable):
    """The effect of each edge of a circuit, by itself and after removing other edges; metrics are means over images.

    Attributes:
        circuit: C.
        edges: its edges, in flat order.
        removed: the sets K, True for removed edges; the first is empty.
        effects: F(C∖K) − F(C∖(K∪{e})) with e taken out of K; positive if the edge raises the metric.
        gap: F(M) − F(∅).
        notes: limitations of these results.
    """

    circuit: Circuit
    edges: tuple[str, ...]
    removed: Bool[np.ndarray, "set edge"]
    effects: Float[np.ndarray, "set member"]
    gap: float
    notes: tuple[str, ...] = ()

    @property
    def alone(self) -> Float[np.ndarray, "member"]:
        """Effect of each edge when the rest of the circuit is intact."""
        return self.effects[0]

    @property
    def largest(self) -> Float[np.ndarray, "member"]:
        """The effect of largest magnitude over all K; near 0 for an edge that the circuit does not need."""
        return self.effects[self._which, np.arange(len(self.edges))]

    @property
    def _which(self) -> Int[np.ndarray, "member"]:
        return np.abs(self.effects).argmax(axis=0)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per edge: `edge, alone, largest, share, n_removed`.

        `n_removed` is the size of K without the edge at the largest effect; `share` is the share of F(M) − F(∅), NaN
        where that is undefined.
        """
        import pandas as pd

        removed = self.removed[self._which]
        own = removed[np.arange(len(self.edges)), np.flatnonzero(self.circuit.members)]
        return pd.DataFrame(
            {
                "edge": self.edges,
                "alone": self.alone,
                "largest": self.largest,
                "share": np.nan if self.notes else self.largest / self.gap,
                "n_removed": removed.sum(axis=1) - own,
            }
        )

    def __repr__(self) -> str:
        smallest = np.abs(self.largest).min()
        return f"Minimality({len(self.edges)} edges, {len(self.removed)} sets K, smallest effect {smallest:.4g})"


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
    """Remove each edge from a circuit, also after removing sets K of other edges.

    K is first empty, then random. For an edge in K, the effect of adding it back is measured, so every K serves every
    edge. Costs (`draws` + 1) · (edges + 1) runs of one circuit on all images.

    Args:
        draws: number of random K, which contain each edge of the circuit with probability one half.
        seed: seed of the draws.
        execution: batch size and progress; progress counts runs.

    Raises:
        InputError: a circuit without edges, a number out of range, or any error of `evaluate`.

    Examples:
        >>> minimality(model, pairs, scores.greedy(8), draws=2)
        Minimality(6 edges, 3 sets K, smallest effect ...)
    """
    graph, rng = require_edges(circuit).graph, np.random.default_rng(seed)
    require_whole_number("draws", draws, 0)
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
