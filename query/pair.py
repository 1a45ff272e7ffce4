"""Two circuits edge by edge: which edges both have, which only one has, and how much the images alone change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..circuits import Circuit, CircuitRecord
from ..circuits.similarity import overlap_p_values
from ..errors import InputError
from ..results import Exportable
from ..store import Store
from .compare import is_change
from .differences import SETS, differences
from .entries import Entry, entries_of
from .floors import Floor, floor_of, left_out_of_floors
from .forms import coarseness, graphs_of, projected
from .groups import FIELDS
from .measures import Sample, get_measure
from .swaps import SwapFloor, swap_floor

if TYPE_CHECKING:
    import pandas as pd

_JACCARD = get_measure("jaccard")


@dataclass(frozen=True, eq=False)
class CircuitPair(Exportable):
    """Two circuits that may be compared, in one form.

    Attributes:
        records: the circuits as they are stored, `a` and `b`.
        circuits: the same over one universe: if their forms differ, in the coarser one and without scores.
        differing: the properties in which they differ, of `groups.FIELDS`.
        change: whether edges that only b has are gained and those that only a has are lost: nothing but the condition
            or the model differs.
        notes: what else differs.
    """

    records: tuple[CircuitRecord, CircuitRecord]
    circuits: tuple[Circuit, Circuit]
    differing: tuple[str, ...]
    change: bool
    notes: tuple[str, ...]

    @cached_property
    def index(self) -> Int[np.ndarray, "union"]:
        """Flat indices of the edges that at least one of the two has."""
        a, b = self.circuits
        return np.flatnonzero(a.members | b.members)

    @cached_property
    def sides(self) -> tuple[Literal["both", "a", "b"], ...]:
        """Which circuit has each edge of `index`."""
        a, b = (circuit.members[self.index] for circuit in self.circuits)
        return tuple("both" if x and y else "a" if x else "b" for x, y in zip(a, b, strict=True))

    @property
    def common(self) -> int:
        """The number of edges that both have."""
        return self.sides.count("both")

    @property
    def jaccard(self) -> float:
        """|A ∩ B| / |A ∪ B|; 1 for two empty circuits."""
        a, b = self.circuits
        return _JACCARD.pair(Sample(a), Sample(b))

    @property
    def chance(self) -> float | None:
        """The expected value of `jaccard` for random sets of these numbers of edges; None across forms."""
        if self._across_forms or _JACCARD.chance is None:
            return None
        a, b = self.circuits
        return _JACCARD.chance(a.n_edges, b.n_edges, a.universe.n_edges)

    @property
    def p_chance(self) -> float | None:
        """The probability that such random sets have as many edges in common; None across forms."""
        if self._across_forms:
            return None
        a, b = (np.array([circuit.n_edges]) for circuit in self.circuits)
        return float(overlap_p_values(np.array([self.common]), a, b, self.circuits[0].universe.n_edges)[0])

    @property
    def _across_forms(self) -> bool:
        return "form" in self.differing

    def scores(self) -> tuple[Float[np.ndarray, "union"], Float[np.ndarray, "union"]] | None:
        """Return the scores of the edges of `index` in both circuits; None if they are unknown or not comparable."""
        a, b = (circuit.score for circuit in self.circuits)
        if a is None or b is None or not set(SETS).isdisjoint(self.differing):
            return None
        return a[self.index], b[self.index]

    def to_pandas(self) -> pd.DataFrame:
        """Return a row for each edge that one of the two has.

        Columns: `edge, sender, receiver, port, side` (`both`, `a` or `b`), `rank_a, rank_b` (0 outside the circuit)
        and, if they are comparable, `score_a, score_b` (NaN if unknown).
        """
        import pandas as pd

        universe = self.circuits[0].universe
        edges = [universe.edge(int(i)) for i in self.index]
        frame = pd.DataFrame(
            {
                "edge": [edge.name for edge in edges],
                "sender": [edge.sender for edge in edges],
                "receiver": [edge.receiver for edge in edges],
                "port": [edge.port for edge in edges],
                "side": self.sides,
            }
        )
        for name, circuit in zip("ab", self.circuits, strict=True):
            frame[f"rank_{name}"] = circuit.ranks[self.index]
        scores = self.scores()
        return frame if scores is None else frame.assign(score_a=scores[0], score_b=scores[1])

    def __repr__(self) -> str:
        a, b = (record.id[:12] for record in self.records)
        return f"CircuitPair({a}, {b}, {self.common} of {len(self.index)} edges in common)"


class PairFloors(NamedTuple):
    """How much two circuits differ when only the images differ; None if unknown.

    Attributes:
        a: the noise floor of the first circuit, by jaccard.
        b: that of the second one.
        swapped: edges that change if the two are swapped at random for each image; only for a change.
        notes: what the noise floor leaves out.
    """

    a: Floor | None
    b: Floor | None
    swapped: SwapFloor | None
    notes: tuple[str, ...]


def compare_pair(store: Store, a: str, b: str) -> CircuitPair:
    """Compare two circuits edge by edge; circuits that are given by id always count.

    Args:
        store: the store to read.
        a: id of a circuit, or the beginning of it: the circuit before, such as that of natural images.
        b: likewise: the circuit after, such as that of attacked images.

    Raises:
        InputError: there is no such circuit, or both are the same.
        NotComparable: form, method, metric or direction differ in more than one of them, or condition and corruption
            both differ, or the models have different shapes; the message names the fields.

    Examples:
        >>> natural, attacked = (store.circuits(attack=attack)["id"][0] for attack in ("natural", "typographic"))
        >>> pair = compare_pair(store, natural, attacked)
        >>> pair.differing, pair.change
        (('condition',), True)
        >>> pair.sides.count("b"), pair.sides.count("a")
        (6, 15)
    """
    ids = [store.circuit_id(start) for start in (a, b)]
    if ids[0] == ids[1]:
        raise InputError(f"expected two circuits, got {ids[0][:12]} twice; choose another one to compare it with")
    found = {entry.id: entry for entry in entries_of(store, store.circuits(id=ids))}
    x, y = (found[id] for id in ids)
    differing = tuple(field for field in FIELDS if _value(x, field) != _value(y, field))
    by = next((field for field in differing if field in SETS), next(iter(differing), "images"))
    notes = [*_also(differing, by), *differences([x, y], by, sets=True)]
    records = (store.circuit(x.id), store.circuit(y.id))
    change = differing in {("condition",), ("model",)} and is_change(x, y, by)
    return CircuitPair(records, _in_one_form(records), differing, change, tuple(notes))


def pair_floors(store: Store, pair: CircuitPair) -> PairFloors:
    """Return how much two circuits differ when only the images differ; takes seconds for large graphs.

    Examples:
        >>> natural, attacked = (store.circuits(attack=attack)["id"][0] for attack in ("natural", "typographic"))
        >>> floors = pair_floors(store, compare_pair(store, natural, attacked))
        >>> 0 < floors.a.value < 1, floors.swapped.p <= 1
        (True, True)
    """
    answers = [(record, store.discovery(record.discovery_id)) for record in pair.records]
    a, b = (floor_of(record, discovery, _JACCARD) for record, discovery in answers)
    swapped = swap_floor(answers[0], answers[1]) if pair.change else None
    notes = tuple(left_out_of_floors([record.item for record in pair.records])) if a or b else ()
    return PairFloors(a, b, swapped, notes)


def _value(entry: Entry, field: str) -> str:
    return str(entry.row["model_id" if field == "model" else field])


def _also(differing: Sequence[str], by: str) -> list[str]:
    """Return a note if several properties differ, so that no single one explains what differs between the circuits."""
    if len(differing) < 2:
        return []
    return [f"{' and '.join(differing)} differ, so no single one of them explains the differences"]


def _in_one_form(records: tuple[CircuitRecord, CircuitRecord]) -> tuple[Circuit, Circuit]:
    """Return the circuits of two records in the coarser of their forms."""
    a, b = (record.circuit for record in records)
    if a.universe == b.universe:
        return a, b
    graphs = graphs_of([a.universe, b.universe])
    target = max(graphs, key=coarseness)
    first, second = (projected(graph, circuit.members, target) for graph, circuit in zip(graphs, (a, b), strict=True))
    return (
        replace(a, universe=target, members=first, order=np.flatnonzero(first), score=None, std=None),
        replace(b, universe=target, members=second, order=np.flatnonzero(second), score=None, std=None),
    )
