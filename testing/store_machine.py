"""Comparison of a whole store with a dictionary over random operations and kills: `store_machine`.

    with Mortal() as mortal:
        run_state_machine_as_test(store_machine(new_place, mortal), settings=settings(...))

where `new_place` returns a context manager over a new, empty `StorePlace`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, ExitStack

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ..errors import InputError
from ..store import Store, create_store
from .graph_place import bare
from .mortal import DISCOVERIES, SIZES, Mortal, StorePlace, do, pool, put

RUNS = ("first", "second")
POINTS_OF_PUT = (
    *(f"catalog.commit.{side}:{n}" for side in ("before", "after") for n in (1, 2, 3)),
    *(f"archive.{point}:{n}" for point in ("fsync.before", "rename.after") for n in (1, 4)),
    *(f"graph.{point}:1" for point in ("shared.before", "commit.before", "commit.after")),
    "graph.publish.before:1",  # only backends that write circuits hidden first have this point
)
"""Fault points, and which pass of them kills: the first of each, and later ones where a put of one circuit has them."""

POINTS_OF_UPKEEP = (
    ("gc", "graph.remove.before"),
    ("gc", "catalog.commit.before"),
    ("gc", "catalog.commit.after"),
    ("rebuild", "graph.commit.before"),
    ("rebuild", "graph.commit.after"),
    ("rebuild", "catalog.commit.before"),
)
POINTS_OF_REPAIR = ("graph.commit.before", "graph.commit.after", "catalog.commit.before", "catalog.commit.after")
"""Fault points that every backend has."""

CIRCUITS = "MATCH (c:Circuit) RETURN c.id AS id, c.n_edges AS n"
EDGES = "MATCH (c:Circuit {id: $id})-[:HAS]->(:Node)-[f:FEEDS]->(:Node) RETURN f.edge AS edge"
NODES = "MATCH (n:Node) RETURN count(n) AS n"

which = st.integers(0, DISCOVERIES * len(SIZES) - 1)
some = st.sets(which, min_size=1, max_size=4)
run_names = st.sampled_from(RUNS)
again = st.none() | st.sampled_from(POINTS_OF_REPAIR)


class StoreMachine(RuleBasedStateMachine):
    """The operations on one store. `requested` is what each run refers to, `stored` the expected circuits."""

    mortal: Mortal

    def __init__(self) -> None:
        super().__init__()
        self.around, self.held = ExitStack(), ExitStack()

    def new_place(self) -> AbstractContextManager[StorePlace]:
        raise NotImplementedError("use store_machine")

    @initialize()
    def begin(self) -> None:
        self.place = self.around.enter_context(self.new_place())
        create_store(self.place.folder, graph=self.place.graph).close()
        self.requested: dict[str, set[int]] = {}
        self.stored: set[int] = set()
        self.open()

    def open(self) -> None:
        with ExitStack() as held:
            self.store = held.enter_context(self.place.open())
            self.writer = held.enter_context(self.store.writer())
            self.held = held.pop_all()

    @rule(run=run_names, chosen=some)
    def put(self, run: str, chosen: set[int]) -> None:
        put(self.writer, run, chosen)
        self.expect("put", run, chosen)
        assert self.writer.pending(run) == []

    @precondition(lambda self: self.stored)
    @rule(run=run_names, data=st.data(), other=st.booleans())
    def put_again(self, run: str, data: st.DataObject, other: bool) -> None:
        """Put the same circuit again, or one with other values: the first is kept."""
        i = data.draw(st.sampled_from(sorted(self.stored)))
        before = len(self.writer.notices)
        self.writer.put(bare(pool()[i][1]) if other else pool()[i][1], run=run)
        assert len(self.writer.notices) == before + other
        self.requested.setdefault(run, set()).add(i)

    @rule(run=run_names)
    def retire(self, run: str) -> None:
        if run in self.requested:
            self.writer.delete_run(run)
            del self.requested[run]
        else:
            with pytest.raises(InputError, match="run"):
                self.writer.delete_run(run)

    @rule()
    def gc(self) -> None:
        self.writer.gc()
        self.expect("gc")
        self.sound()

    @rule()
    def rebuild(self) -> None:
        self.writer.rebuild()
        self.sound()

    @rule()
    def query(self) -> None:
        self.writer.flush()
        self.answers(self.store)

    @rule()
    def verify(self) -> None:
        self.writer.flush()
        self.sound()

    @rule()
    def reopen(self) -> None:
        """Close the writer, read the store with a reader, and open the writer again."""
        self.held.close()
        with self.place.open() as reader:
            assert reader.verify().to_pandas().empty
            self.answers(reader)
        self.open()

    @precondition(lambda self: self.stored)
    @rule(data=st.data(), repair=st.sampled_from(["project", "rebuild", "reopen"]))
    def lose_circuits(self, data: st.DataObject, repair: str) -> None:
        """Remove circuits from the graph only, and repair it."""
        lost = data.draw(st.sets(st.sampled_from(sorted(self.stored)), min_size=1))
        self.writer.flush()
        self.store.graph.remove(self.ids(lost))
        assert self.differences() == {("graph", "missing circuit", id) for id in self.ids(lost)}
        match repair:
            case "project":
                assert self.writer.project_pending() == len(lost)
            case "rebuild":
                self.writer.rebuild()
            case "reopen":
                self.reopen_after_damage(len(lost))
        self.sound()

    def reopen_after_damage(self, lost: int) -> None:
        self.held.close()
        self.open()
        assert f"lacked {lost} of {len(self.stored)} circuits" in " ".join(self.writer.notices)

    @precondition(lambda self: len(self.stored) < len(pool()))
    @rule(data=st.data(), repair=st.sampled_from(["gc", "rebuild"]))
    def put_an_extra_circuit(self, data: st.DataObject, repair: str) -> None:
        """Put a circuit into the graph that the catalog does not list, and repair it."""
        record = pool()[data.draw(which.filter(lambda i: i not in self.stored))][1]
        self.writer.flush()
        self.store.graph.put([record], {record.id: 1})
        assert self.differences() == {("graph", "extra circuit", record.id)}
        do(repair, self.writer, "", ())
        self.expect(repair)
        self.sound()

    @rule(run=run_names, chosen=some, point=st.sampled_from(POINTS_OF_PUT), again=again, repair=st.booleans())
    def crash_while_putting(self, run: str, chosen: set[int], point: str, again: str | None, repair: bool) -> None:
        self.crash("put", run, chosen, point, again, repair)

    @precondition(lambda self: self.stored)
    @rule(task_and_point=st.sampled_from(POINTS_OF_UPKEEP), again=again)
    def crash_at_upkeep(self, task_and_point: tuple[str, str], again: str | None) -> None:
        task, point = task_and_point
        self.crash(task, "", (), point, again, False)

    def crash(self, task: str, run: str, chosen: Collection[int], point: str, again: str | None, repair: bool) -> None:
        """Run a task in another process, which is killed at the N-th pass of a fault point, if it gets there.

        A second process, which repairs what the first left, may be killed too. The next writer must find the store
        sound, except for files that the catalog does not list yet; it runs the task again.
        """
        self.held.close()
        before = set(self.stored)
        self.mortal.run(self.place, task, run, chosen, point)
        if again is not None:
            self.mortal.run(self.place, "open", "", (), again)
        self.open()
        assert {kind for _, kind, _ in self.differences()} <= {"orphan file"}
        between = set(self.store.circuits()["id"])
        if repair:
            self.writer.rebuild()
            assert not self.differences()
        do(task, self.writer, run, chosen)
        self.expect(task, run, chosen)
        assert self.ids(before & self.stored) <= between <= self.ids(before | self.stored)
        self.sound()

    def expect(self, task: str, run: str = "", chosen: Collection[int] = ()) -> None:
        """Apply an operation to the dictionary."""
        if task == "put":
            self.requested.setdefault(run, set()).update(chosen)
            self.stored.update(chosen)
        elif task == "gc":
            self.stored.intersection_update(set().union(*self.requested.values()))

    @invariant()
    def lists_what_was_put(self) -> None:
        assert set(self.store.circuits()["id"]) == self.ids(self.stored)
        counted = self.store.runs().set_index("run")[["circuits", "circuits_wanted"]]
        assert {str(run): tuple(row) for run, row in counted.iterrows()} == {
            run: (len(ids), len(ids)) for run, ids in self.requested.items()
        }
        for run, chosen in self.requested.items():
            assert set(self.store.circuits(run)["id"]) == self.ids(chosen)

    def ids(self, chosen: Collection[int]) -> set[str]:
        return {pool()[i][1].id for i in chosen}

    def differences(self) -> set[tuple[str, str, str]]:
        rows = self.store.verify().to_pandas()
        return set(zip(rows["part"], rows["kind"], rows["id"], strict=True))

    def sound(self) -> None:
        assert not self.differences()
        assert self.store.graph.present() == {pool()[i][1].id: pool()[i][1].sha256 for i in self.stored}

    def answers(self, store: Store) -> None:
        """Compare the answers of queries with the dictionary."""
        circuits = {pool()[i][1].id: pool()[i][1].circuit for i in self.stored}
        found = store.query(CIRCUITS).to_pandas()
        assert dict(zip(found["id"], found["n"], strict=True)) == {id: c.n_edges for id, c in circuits.items()}
        assert store.query(NODES).to_pandas()["n"].tolist() == [sum(c.n_nodes for c in circuits.values())]
        for id, circuit in circuits.items():
            assert sorted(store.query(EDGES, {"id": id}).to_pandas()["edge"]) == sorted(circuit.edges)

    def teardown(self) -> None:
        with self.around:
            self.held.close()


def store_machine(new_place: Callable[[], AbstractContextManager[StorePlace]], mortal: Mortal) -> type[StoreMachine]:
    """Return the state machine for a backend's stores."""
    return type("StoreMachine", (StoreMachine,), {"new_place": lambda self: new_place(), "mortal": mortal})
