"""The five hypothesis tests of a circuit by Shi et al. 2024 (NeurIPS).

Equivalence and independence test whether the circuit does what the model does and whether the edges outside do not.
Minimality, sufficiency and partial necessity compare the circuit with random circuits of its size, and its edges with
random edges added to it. The distance of two runs is the root mean square difference of the metric over images.
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
from . import p_values
from .baselines import Null, draw_circuits
from .edge_sets import EdgeSetRuns, require_edges, require_whole_number
from .execution import DEFAULT, Execution
from .pairs import ImagePairs

if TYPE_CHECKING:
    import pandas as pd

HYPOTHESES = {
    "equivalence": "circuit and model each score higher about equally often",
    "independence": "what the edges outside add to the empty circuit is independent of the model's metric",
    "minimality": "every edge matters more than 9 in 10 random edges added to the circuit",
    "sufficiency": "the circuit is closer to the model than at most 9 in 10 random circuits of its size",
    "partial-necessity": "removing the circuit harms more than removing at most 9 in 10 random circuits of its size",
}
"""The null hypothesis of each test."""
ALPHA = 0.05
"""Significance level: a p-value of at most `ALPHA` rejects the null hypothesis."""


@dataclass(frozen=True)
class Verdict:
    """The result of one test.

    Attributes:
        test: a key of `HYPOTHESES`, which has the null hypothesis.
        p_value: probability of figures at least as extreme under the null hypothesis; None if the test could not run,
            see the notes.
        rejected: whether the p-value is at most `ALPHA`.
        found: the figure behind the p-value, as text.
    """

    test: str
    p_value: float | None
    rejected: bool | None
    found: str


@dataclass(frozen=True, eq=False)
class CircuitTests(Exportable):
    """Results of the hypothesis tests of a circuit.

    If the circuit explains the model, equivalence, independence and minimality are not rejected, and sufficiency and
    partial necessity are rejected.

    Attributes:
        circuit: the tested circuit.
        verdicts: one per test.
        edge_p_values: p-values of minimality in the order of `circuit.edges`, corrected for multiple testing. A small
            value means that the edge is not needed. Empty if minimality was not tested.
        n_images: number of images.
        draws: number of random circuits, and of random added edges.
        seed: seed of the draws.
        notes: limitations of these results.
    """

    circuit: Circuit
    verdicts: tuple[Verdict, ...]
    edge_p_values: Float[np.ndarray, "member"]
    n_images: int
    draws: int
    seed: int
    notes: tuple[str, ...] = ()

    def __getitem__(self, test: str) -> Verdict:
        """Return the verdict of a test.

        Raises:
            InputError: the test was not run.
        """
        for verdict in self.verdicts:
            if verdict.test == test:
                return verdict
        raise unknown("test", test, [verdict.test for verdict in self.verdicts])

    @property
    def unneeded(self) -> tuple[str, ...]:
        """Edges for which minimality is rejected."""
        return tuple(e for e, p in zip(self.circuit.edges, self.edge_p_values, strict=False) if p <= ALPHA)

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `test, null_hypothesis, p_value, rejected, found`; one row per test."""
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
        outcomes = ", ".join(
            f"{v.test} {'not run' if v.p_value is None else 'rejected' if v.rejected else 'not rejected'}"
            for v in self.verdicts
        )
        return f"CircuitTests({self.circuit.n_edges} edges, {self.n_images} images: {outcomes})"


@runs_model
def hypothesis_tests(
    model: ViT,
    pairs: ImagePairs,
    circuit: Circuit,
    *,
    metric: str | Metric = "logit",
    tests: Sequence[str] = tuple(HYPOTHESES),
    draws: int = p_values.DRAWS,
    null: Null = "paths",
    seed: int = 0,
    execution: Execution = DEFAULT,
) -> CircuitTests:
    """Test a circuit on images that were not used to find it.

    Costs 2 runs of a circuit on all images, `draws` more each for sufficiency and partial necessity, and 2 · `draws`
    plus one per edge for minimality. Differences up to rounding (16 units of the model's floating-point type at the
    largest metric) count as no effect.

    Args:
        tests: keys of `HYPOTHESES`.
        draws: random circuits of the circuit's size, and random edges added to it, each with the rest of a random path.
        null: how random circuits are drawn: `paths` (connected) or `uniform`.
        seed: seed of all random choices.
        execution: batch size and progress; progress counts runs.

    Raises:
        InputError: a circuit with no edges or with all edges, an unknown name, a number out of range, or any error of
            `evaluate`.

    Examples:
        >>> hypothesis_tests(model, pairs, circuit, tests=["equivalence", "sufficiency"], draws=30)
        CircuitTests(45 edges, 8 images: equivalence not rejected, sufficiency rejected)
    """
    for test in tests:
        if test not in HYPOTHESES:
            raise unknown("test", test, HYPOTHESES)
    if require_edges(circuit).n_edges == circuit.graph.n_edges:
        raise InputError("circuit: it contains all edges of the graph, so there is nothing to compare it with")
    require_whole_number("draws", draws, 1)
    wanted = [test for test in HYPOTHESES if test in tests]
    runs = EdgeSetRuns(model, circuit.graph, pairs, metric, execution, _total(circuit, wanted, draws))
    trial = _Trial(circuit, runs, np.random.default_rng(seed), draws, null)
    trial.run(wanted)
    return CircuitTests(
        circuit, tuple(trial.verdicts), trial.edge_p_values, len(pairs), draws, seed, tuple(trial.notes)
    )


def _total(circuit: Circuit, tests: Sequence[str], draws: int) -> int:
    """Return the number of runs: the circuit, its complement, and what each test adds."""
    more = {"sufficiency": draws, "partial-necessity": draws, "minimality": 2 * draws + circuit.n_edges}
    return 2 + sum(more.get(test, 0) for test in tests)


class _Trial:
    """The tests of one circuit and their verdicts so far."""

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
        self.inside, self.outside = self.runs([self.circuit.members, ~self.circuit.members])
        self.model = self.runs.full
        unit = torch.finfo(self.runs.model.dtype).eps
        self.rounding = 16 * unit * max(np.abs(self.model).max(), np.abs(self.inside).max())
        functions = {
            "equivalence": self._equivalence,
            "independence": self._independence,
            "minimality": self._minimality,
            "sufficiency": self._sufficiency,
            "partial-necessity": self._partial_necessity,
        }
        for test in tests:
            functions[test]()

    def _add(self, test: str, p: float | None, found: str) -> None:
        self.verdicts.append(Verdict(test, p, None if p is None else p <= ALPHA, found))

    def _distance(
        self, first: Float[np.ndarray, "*run image"], second: Float[np.ndarray, "*#run image"]
    ) -> Float[np.ndarray, "*run"]:
        """Return the root mean square difference over images; 0 if it could be rounding."""
        distance = np.sqrt(((first - second) ** 2).mean(axis=-1))
        return np.where(distance > self.rounding, distance, 0.0)

    def _losses(self, members: Sequence[Bool[np.ndarray, "edge"]]) -> Float[np.ndarray, "draw"]:
        return self._distance(self.runs(members), self.model)

    @cached_property
    def _random_circuits(self) -> list[Circuit]:
        circuits = draw_circuits(self.circuit.graph, self.circuit.n_edges, self.draws, self.null, self.rng)
        empty = sum(not circuit.n_edges for circuit in circuits)
        if empty:
            self.notes.append(f"{empty} of {self.draws} random circuits have no path from input to logits")
        if p_values.beats_random(self.draws, self.draws) > ALPHA:
            self.notes.append(f"{self.draws} random circuits are too few for p ≤ {ALPHA:g}, even if all are beaten")
        return circuits

    def _equivalence(self) -> None:
        difference = self.inside - self.model
        n, ties = len(difference), int((np.abs(difference) <= self.rounding).sum())
        if ties == n:
            self._add("equivalence", 1.0, "the same metric on every image")
        elif ties:
            self.notes.append("equivalence: not run, because ties make the comparison meaningless")
            self._add("equivalence", None, f"the same metric on {ties} of {n} images")
        else:
            higher = f"the circuit is higher on {(difference > 0).sum()} of {n} images"
            self._add("equivalence", p_values.equivalence(self.inside, self.model), higher)
        if p_values.equivalence_of_count(n, n) > ALPHA:
            self.notes.append(f"{n} images are too few to reject equivalence of circuit and model")

    def _independence(self) -> None:
        seed = int(self.rng.integers(2**32))
        added = self.outside - self.runs.empty
        added = np.where(np.abs(added) > self.rounding, added, 0.0)
        p = p_values.independence(added, self.model, seed=seed)
        self._add("independence", p, f"HSIC against {p_values.PERMUTATIONS} permutations")

    def _sufficiency(self) -> None:
        self._compare("sufficiency", p_values.sufficiency, self.inside, [r.members for r in self._random_circuits])

    def _partial_necessity(self) -> None:
        self._compare(
            "partial-necessity", p_values.partial_necessity, self.outside, [~r.members for r in self._random_circuits]
        )

    def _compare(
        self,
        test: str,
        p_value: Callable[..., float],
        values: Float[np.ndarray, "image"],
        random_members: Sequence[Bool[np.ndarray, "edge"]],
    ) -> None:
        loss, losses = float(self._distance(values, self.model)), self._losses(random_members)
        ties = int((np.abs(losses - loss) <= self.rounding).sum())
        if ties:
            self.notes.append(
                f"{test}: {ties} of {len(losses)} random circuits give the same metric as the circuit; "
                "they do not count as wins"
            )
        found = f"distance {loss:.4g} from the model; median of random circuits {np.median(losses):.4g}"
        self._add(test, p_value(loss, losses, rounding=self.rounding), found)

    def _minimality(self) -> None:
        members, inside = self.circuit.members, np.flatnonzero(self.circuit.members)
        effects = self._distance(self.runs([_without(members, edge) for edge in inside]), self.inside)
        paths = RandomPaths(self.circuit.graph, self.rng)
        both = self.runs([state for _ in range(self.draws) for state in self._inflated(paths)])
        self.edge_p_values = p_values.minimality(effects, self._distance(both[::2], both[1::2]))
        rejected = int((self.edge_p_values <= ALPHA).sum())
        self._add("minimality", float(self.edge_p_values.min()), f"{rejected} of {len(inside)} edges are not needed")

    def _inflated(self, paths: RandomPaths) -> tuple[Bool[np.ndarray, "edge"], Bool[np.ndarray, "edge"]]:
        """Return the circuit with a random path added, and the same without one of the added edges."""
        outside = np.flatnonzero(~self.circuit.members)
        path = np.array(paths.through(int(self.rng.choice(outside))))
        more = self.circuit.members.copy()
        more[path] = True
        return more, _without(more, self.rng.choice(path[~self.circuit.members[path]]))


def _without(members: Bool[np.ndarray, "edge"], edge: int | np.integer) -> Bool[np.ndarray, "edge"]:
    members = members.copy()
    members[edge] = False
    return members
