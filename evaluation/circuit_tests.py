"""From a model, a circuit and images to the verdicts of the five hypothesis tests of Shi et al. 2024 (NeurIPS).

Equivalence and independence ask whether the circuit does what the model does and nothing outside does; minimality,
sufficiency and partial necessity hold the circuit against random circuits of its size, and its edges against random
edges added to it. How far two runs are apart is the root mean square difference of the metric over images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float

from ..circuits import Circuit, Metric, RandomPaths
from ..errors import InputError, unknown
from ..models import ViT, runs_model
from ..results import Exportable
from . import p_values as given
from .baselines import Null, drawn
from .edge_sets import EdgeSetRuns, some_edges, whole_number
from .execution import DEFAULT, Execution
from .pairs import ImagePairs

if TYPE_CHECKING:
    import pandas as pd

HYPOTHESES = {
    "equivalence": "circuit and model each score higher about equally often",
    "independence": "what the edges outside add to the empty circuit tells nothing of the model's metric",
    "minimality": "every edge matters more than 9 in 10 random edges added to the circuit",
    "sufficiency": "the circuit is nearer to the model than at most 9 in 10 random circuits of its size",
    "partial-necessity": "leaving the circuit out harms more than leaving out at most 9 in 10 random ones of its size",
}
"""The null hypothesis of each test."""
ALPHA = 0.05
"""A p-value up to it rejects a null hypothesis."""


@dataclass(frozen=True)
class Verdict:
    """What one test says.

    Attributes:
        test: a key of `HYPOTHESES`, which has its null hypothesis.
        p_value: how likely figures as extreme are if that held; None where the test could not be run, see the notes.
        rejected: whether the p-value is at most `ALPHA`.
        found: the figure behind it, in words.
    """

    test: str
    p_value: float | None
    rejected: bool | None
    found: str


@dataclass(frozen=True, eq=False)
class CircuitTests(Exportable):
    """Verdicts on a circuit.

    For a circuit that explains its model, equivalence, independence and minimality are not rejected, sufficiency and
    partial necessity are.

    Attributes:
        circuit: what was tested.
        verdicts: one a test.
        edge_p_values: of minimality, in the order of `circuit.edges`, corrected for their number; small: the edge is
            not needed. Empty where minimality was not asked for.
        n_images: that it was tested on.
        draws: random circuits, and random added edges.
        seed: of the draws.
        notes: what the reader must know beside them.
    """

    circuit: Circuit
    verdicts: tuple[Verdict, ...]
    edge_p_values: Float[np.ndarray, "member"]
    n_images: int
    draws: int
    seed: int
    notes: tuple[str, ...] = ()

    def __getitem__(self, test: str) -> Verdict:
        """The verdict of a test.

        Raises:
            InputError: it was not asked for.
        """
        for verdict in self.verdicts:
            if verdict.test == test:
                return verdict
        raise unknown("test", test, [verdict.test for verdict in self.verdicts])

    @property
    def unneeded(self) -> tuple[str, ...]:
        """Edges that minimality rejects."""
        return tuple(e for e, p in zip(self.circuit.edges, self.edge_p_values, strict=False) if p <= ALPHA)

    def to_pandas(self) -> pd.DataFrame:
        """Columns `test, null_hypothesis, p_value, rejected, found`; one row per test."""
        import pandas as pd

        return pd.DataFrame(
            {
                "test": [v.test for v in self.verdicts],
                "null_hypothesis": [HYPOTHESES[v.test] for v in self.verdicts],
                "p_value": np.array([v.p_value for v in self.verdicts], float),
                "rejected": pd.array([v.rejected for v in self.verdicts], "boolean"),
                "found": [v.found for v in self.verdicts],
            }
        )

    def __repr__(self) -> str:
        said = ", ".join(
            f"{v.test} {'not run' if v.p_value is None else 'rejected' if v.rejected else 'not rejected'}"
            for v in self.verdicts
        )
        return f"CircuitTests({self.circuit.n_edges} edges, {self.n_images} images: {said})"


@runs_model
def hypothesis_tests(
    model: ViT,
    pairs: ImagePairs,
    circuit: Circuit,
    *,
    metric: str | Metric = "logit",
    tests: Sequence[str] = tuple(HYPOTHESES),
    draws: int = given.RIVALS,
    null: Null = "paths",
    seed: int = 0,
    execution: Execution = DEFAULT,
) -> CircuitTests:
    """Test a circuit on images that chose nothing.

    Costs 2 runs of a circuit on all images; `draws` more for sufficiency, and for partial necessity; 2 · `draws`, and
    one an edge, for minimality. What rounding alone could move (16 units of the model's type at the largest metric)
    counts as no effect.

    Args:
        tests: keys of `HYPOTHESES`.
        draws: random circuits of the circuit's size, and random edges added to it, each the rest of a random path.
        null: how random circuits are drawn: `paths` (connected) or `uniform`.
        seed: of everything random.
        execution: its progress counts runs.

    Raises:
        InputError: a circuit without edges or of all edges, unknown names, numbers out of range, or what `evaluate`
            raises.
    """
    for test in tests:
        if test not in HYPOTHESES:
            raise unknown("test", test, HYPOTHESES)
    if some_edges(circuit).n_edges == circuit.graph.n_edges:
        raise InputError("circuit: all edges of the graph are in it, so there is nothing to hold it against")
    whole_number("draws", draws, 1)
    wanted = [test for test in HYPOTHESES if test in tests]
    runs = EdgeSetRuns(model, circuit.graph, pairs, metric, execution, _total(circuit, wanted, draws))
    trial = _Trial(circuit, runs, np.random.default_rng(seed), draws, null)
    trial.run(wanted)
    return CircuitTests(
        circuit, tuple(trial.verdicts), trial.edge_p_values, len(pairs), draws, seed, tuple(trial.notes)
    )


def _total(circuit: Circuit, tests: Sequence[str], draws: int) -> int:
    """Runs that are told: what each test adds to the circuit and its complement."""
    more = {"sufficiency": draws, "partial-necessity": draws, "minimality": 2 * draws + circuit.n_edges}
    return 2 + sum(more.get(test, 0) for test in tests)


class _Trial:
    """The tests of one circuit, and what they have said so far."""

    def __init__(
        self,
        circuit: Circuit,
        runs: EdgeSetRuns,
        rng: np.random.Generator,
        draws: int,
        null: Null,
    ) -> None:
        self.circuit, self.runs, self.rng, self.draws = circuit, runs, rng, draws
        self.null = null
        self.verdicts: list[Verdict] = []
        self.notes: list[str] = []
        self.edge_p_values: Float[np.ndarray, "member"] = np.empty(0)

    def run(self, tests: Sequence[str]) -> None:
        self.alone, self.outside = self.runs([self.circuit.members, ~self.circuit.members])
        self.model = self.runs.full
        unit = torch.finfo(self.runs.model.dtype).eps
        self.least = 16 * unit * max(np.abs(self.model).max(), np.abs(self.alone).max())
        known = {
            "equivalence": self._equivalence,
            "independence": self._independence,
            "minimality": self._minimality,
            "sufficiency": self._sufficiency,
            "partial-necessity": self._partial_necessity,
        }
        for test in tests:
            known[test]()

    def _say(self, test: str, p: float | None, found: str) -> None:
        self.verdicts.append(Verdict(test, p, None if p is None else p <= ALPHA, found))

    def _far(
        self, first: Float[np.ndarray, "*run image"], second: Float[np.ndarray, "*#run image"]
    ) -> Float[np.ndarray, "*run"]:
        """Root mean square difference over images; 0 where it could be rounding."""
        far = np.sqrt(((first - second) ** 2).mean(axis=-1))
        return np.where(far > self.least, far, 0.0)

    def _losses(self, members: Sequence[Bool[np.ndarray, "edge"]]) -> Float[np.ndarray, "rival"]:
        return self._far(self.runs(members), self.model)

    @cached_property
    def _rivals(self) -> list[Circuit]:
        rivals = drawn(self.circuit.graph, self.circuit.n_edges, self.draws, self.null, self.rng)
        bare = sum(not rival.n_edges for rival in rivals)
        if bare:
            self.notes.append(f"{bare} of {self.draws} random circuits have no path from input to logits")
        if given.beats_random(self.draws, self.draws) > ALPHA:
            self.notes.append(f"{self.draws} random circuits are too few for p ≤ {ALPHA:g}, even if all are beaten")
        return rivals

    def _equivalence(self) -> None:
        difference = self.alone - self.model
        n, ties = len(difference), int((np.abs(difference) <= self.least).sum())
        if ties == n:
            self._say("equivalence", 1.0, "the same metric on every image")
        elif ties:
            self.notes.append("equivalence: not run, as ties make which is higher mean nothing")
            self._say("equivalence", None, f"the same metric on {ties} of {n} images")
        else:
            higher = f"the circuit is higher on {(difference > 0).sum()} of {n} images"
            self._say("equivalence", given.equivalence(self.alone, self.model), higher)
        if given.equivalence_of_count(n, n) > ALPHA:
            self.notes.append(f"{n} images are too few to find circuit and model not equivalent")

    def _independence(self) -> None:
        seed = int(self.rng.integers(2**32))
        added = self.outside - self.runs.empty
        added = np.where(np.abs(added) > self.least, added, 0.0)
        p = given.independence(added, self.model, seed=seed)
        self._say("independence", p, f"HSIC against {given.PERMUTATIONS} permutations")

    def _sufficiency(self) -> None:
        self._against("sufficiency", given.sufficiency, self.alone, [r.members for r in self._rivals])

    def _partial_necessity(self) -> None:
        self._against("partial-necessity", given.partial_necessity, self.outside, [~r.members for r in self._rivals])

    def _against(
        self,
        test: str,
        p_value: Callable[..., float],
        own: Float[np.ndarray, "image"],
        rivals: Sequence[Bool[np.ndarray, "edge"]],
    ) -> None:
        loss, losses = float(self._far(own, self.model)), self._losses(rivals)
        ties = int((np.abs(losses - loss) <= self.least).sum())
        if ties:
            self.notes.append(
                f"{test}: {ties} of {len(losses)} random circuits do exactly as the circuit does: no wins"
            )
        found = f"{loss:.4g} from the model; random circuits {np.median(losses):.4g}, the median"
        self._say(test, p_value(loss, losses, rounding=self.least), found)

    def _minimality(self) -> None:
        members, inside = self.circuit.members, np.flatnonzero(self.circuit.members)
        effects = self._far(self.runs([_without(members, edge) for edge in inside]), self.alone)
        paths = RandomPaths(self.circuit.graph, self.rng)
        both = self.runs([state for _ in range(self.draws) for state in self._inflated(paths)])
        self.edge_p_values = given.minimality(effects, self._far(both[::2], both[1::2]))
        rejected = int((self.edge_p_values <= ALPHA).sum())
        self._say("minimality", float(self.edge_p_values.min()), f"{rejected} of {len(inside)} edges are not needed")

    def _inflated(self, paths: RandomPaths) -> tuple[Bool[np.ndarray, "edge"], Bool[np.ndarray, "edge"]]:
        """The circuit and a random path that adds to it, and the same without one of the edges that it added."""
        outside = np.flatnonzero(~self.circuit.members)
        path = np.array(paths.through(int(self.rng.choice(outside))))
        more = self.circuit.members.copy()
        more[path] = True
        return more, _without(more, self.rng.choice(path[~self.circuit.members[path]]))


def _without(members: Bool[np.ndarray, "edge"], edge: int | np.integer) -> Bool[np.ndarray, "edge"]:
    members = members.copy()
    members[edge] = False
    return members
