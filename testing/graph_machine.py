"""Comparison of a graph backend with a dictionary over random sequences of operations: `graph_machine`.

    TestMine = graph_machine(new_place).TestCase

where `new_place` returns a context manager over a new, empty `GraphPlace`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ..circuits import CircuitRecord
from ..errors import StoreDamaged
from ..store.graph.content import GraphContent
from .factories import make_records
from .graph_place import GraphPlace, bare

NewPlace = Callable[[], AbstractContextManager[GraphPlace]]
POOL, BARE = 8, 2
some = st.sets(st.integers(0, POOL - 1), max_size=4)


@lru_cache(maxsize=1)
def pool() -> tuple[CircuitRecord, ...]:
    """Return small circuits of two forms; the last `BARE` have no values."""
    records = [
        *make_records(5, n=8, n_layers=2, n_heads=2),
        *make_records(3, n=8, form="attention", n_layers=2, n_heads=2),
    ]
    return (*records[:-BARE], *(bare(r) for r in records[-BARE:]))


class GraphMachine(RuleBasedStateMachine):
    """The operations of a store's writer on one database; `expected` is its expected content."""

    def new_place(self) -> AbstractContextManager[GraphPlace]:
        raise NotImplementedError("use graph_machine")

    @initialize()
    def begin(self) -> None:
        self.context = self.new_place()
        self.place = self.context.__enter__()
        self.graph = self.place.open()
        self.expected: dict[int, int] = {}  # created_ms by position in the pool

    @rule(chosen=some, now=st.integers(1, 1000))
    def put(self, chosen: set[int], now: int) -> None:
        self.graph.put([pool()[i] for i in chosen], {pool()[i].id: now for i in chosen})
        self.expected |= {i: now for i in chosen if i not in self.expected}

    @precondition(lambda self: min(self.expected, default=POOL) < POOL - BARE)
    @rule(others=some)
    def put_other_content(self, others: set[int]) -> None:
        known = pool()[min(self.expected)]
        group = [bare(known), *(pool()[i] for i in others if pool()[i] is not known)]
        with pytest.raises(StoreDamaged):
            self.graph.put(group, {r.id: 1 for r in group})

    @rule(chosen=some)
    def remove(self, chosen: set[int]) -> None:
        self.graph.remove({pool()[i].id for i in chosen})
        self.expected = {i: now for i, now in self.expected.items() if i not in chosen}

    @rule()
    def sweep(self) -> None:
        assert self.graph.sweep() == 0

    @rule()
    def clear(self) -> None:
        self.graph.clear()
        self.expected = {}

    @rule()
    def reopen(self) -> None:
        self.graph.close()
        self.graph = self.place.open()

    @rule()
    def read(self) -> None:
        with self.place.open(read_only=True) as reader:
            assert reader.present() == self.checksums()

    @invariant()
    def holds_what_was_put(self) -> None:
        if not hasattr(self, "graph"):
            return
        assert self.graph.present() == self.checksums()
        for i, now in self.expected.items():
            assert GraphContent.of(pool()[i], now).differences(self.graph.content(pool()[i].id)) == []
        nodes = self.graph.run("MATCH (n:Node) RETURN count(n) AS n").to_pandas()["n"].tolist()
        assert nodes == [sum(pool()[i].circuit.n_nodes for i in self.expected)]

    def checksums(self) -> dict[str, str]:
        return {pool()[i].id: pool()[i].sha256 for i in self.expected}

    def teardown(self) -> None:
        if hasattr(self, "graph"):
            self.graph.close()
            self.context.__exit__(None, None, None)


def graph_machine(new_place: NewPlace) -> type[GraphMachine]:
    """Return the state machine for a backend's databases."""
    return type("GraphMachine", (GraphMachine,), {"new_place": lambda self: new_place()})
