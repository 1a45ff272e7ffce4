"""Tests of ownership for `GraphContract`: opening, the lease, closing, forks and recreation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from ..circuits import CircuitRecord
from ..errors import StoreBusy, StoreError, StoreForeign
from ..store.graph import migrate_graph, recreate_graph
from ..store.graph.contract import GraphBackend, Lease
from ..store.lease import LeaseLost
from .factories import make_records
from .graph_place import STORE, GraphPlace, assert_holds, created, in_a_fork, later


def acts(graph: GraphBackend, records: Sequence[CircuitRecord]) -> list[Callable[[], object]]:
    """Return all operations that change a graph with the first two of three records."""
    return [
        lambda: graph.put(records, created(records)),
        lambda: graph.remove([records[0].id]),
        lambda: graph.renew("first", later()),
        graph.clear,
    ]


class Owning:
    """The tests of ownership."""

    def test_content_persists_after_reopening(self, place: GraphPlace):
        records = make_records(3)
        with place.open() as graph:
            graph.put(records, created(records))
        with place.open() as graph:
            assert graph.notices == ()
            assert_holds(graph, records)
            more = make_records(5)
            graph.put(more, created(more))
            assert_holds(graph, more)

    def test_the_lease_has_one_owner_until_it_lapses(self, place: GraphPlace):
        with place.open() as graph:
            assert graph.lease() is None
            until = later()
            graph.claim("first", until)
            graph.claim("first", until + 1000)
            assert graph.lease() == Lease("first", until + 1000)
            with pytest.raises(StoreBusy, match="first"):
                graph.claim("second", until)
            graph.renew("first", until + 1000)
            with pytest.raises(LeaseLost, match="first"):
                graph.renew("second", until)
            graph.release("second")
            assert graph.lease() == Lease("first", until + 1000)
            graph.claim("second", until, over="first")
            assert graph.lease() == Lease("second", until)
            for _ in range(2):
                graph.release("second")
                assert graph.lease() is None
                with pytest.raises(LeaseLost, match="has ended"):
                    graph.renew("second", until)
            graph.claim("third", lapsed := int(time.time() * 1000) - 1)
            assert graph.lease() == Lease("third", lapsed)
            graph.renew("third", until)
            assert graph.lease() == Lease("third", until)
            graph.renew("third", lapsed)
            graph.claim("fourth", until)
            assert graph.lease() == Lease("fourth", until)
        with place.open() as graph:
            assert graph.lease() == Lease("fourth", until)

    def test_a_writer_that_lost_the_lease_changes_nothing(self, place: GraphPlace):
        """The lease belongs to another writer or is free again; the other writer does not have to wait."""
        records = make_records(3)
        with place.open() as first:
            first.put(records[:2], created(records))
            first.claim("first", int(time.time() * 1000) - 1)
            try:
                second = place.open()
            except StoreBusy:
                pytest.skip("only one process can open the database for writing")
            with second:
                second.claim("second", later())
                for give_back in (False, True):
                    if give_back:
                        second.release("second")
                    for act in acts(first, records):
                        with pytest.raises(LeaseLost):
                            act()
                    assert_holds(second, records[:2])
                second.put(records, created(records))
                assert_holds(second, records)

    def test_nothing_takes_effect_without_the_permit(self, place: GraphPlace):
        records = make_records(3)
        permitted = True

        @contextmanager
        def permit() -> Iterator[None]:
            if not permitted:
                raise LeaseLost.to(None)
            yield

        with place.open(permit=permit) as graph:
            graph.put(records[:2], created(records))
            graph.claim("first", later())
            lease = graph.lease()
            permitted = False
            for act in acts(graph, records):
                with pytest.raises(LeaseLost):
                    act()
        with place.open() as graph:
            assert_holds(graph, records[:2])
            assert graph.lease() == lease

    def test_a_database_of_another_store_raises_and_is_unchanged(self, place: GraphPlace):
        records = make_records(1)
        with place.open() as graph:
            graph.put(records, created(records))
        for read_only in (False, True):
            with pytest.raises(StoreForeign, match=f"{STORE}.*another-store"):
                place.open(store_id="another-store", read_only=read_only)
        with place.open() as graph:
            assert_holds(graph, records)

    def test_methods_raise_after_close(self, place: GraphPlace):
        graph = place.open()
        graph.close()
        graph.close()
        with pytest.raises(StoreError, match="closed"):
            graph.present()

    def test_one_of_several_concurrent_claims_succeeds(self, place: GraphPlace):
        until, refused = later(), []

        def claim(owner: str) -> None:
            try:
                graph.claim(owner, until)
            except StoreBusy:
                refused.append(owner)

        with place.open() as graph:
            threads = [threading.Thread(target=claim, args=(f"owner {i}",)) for i in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            held = graph.lease()
        assert held is not None and sorted([held.owner, *refused]) == [f"owner {i}" for i in range(4)]

    def test_a_reader_creates_no_database(self, place: GraphPlace):
        for _ in range(2):
            with pytest.raises(StoreError, match=r"there is no graph at .*circuitstore rebuild"):
                place.open(read_only=True)
        with place.open() as graph:
            assert graph.present() == {} and graph.notices == () and graph.url == place.url and not graph.read_only

    @pytest.mark.parametrize("read_only", [False, True])
    def test_other_data_raises_and_is_unchanged(self, foreign: GraphPlace, read_only):
        for _ in range(2):
            with pytest.raises(StoreForeign, match="not a graph of circuits"):
                foreign.open(read_only=read_only)

    def test_a_current_schema_needs_no_migration(self, place: GraphPlace):
        records = make_records(2)
        with place.open() as graph:
            graph.put(records, created(records))
        assert migrate_graph(place.url, store_id=STORE) == ()
        with place.open() as graph:
            assert_holds(graph, records)

    def test_recreating_empties_only_a_database_of_the_store(self, place: GraphPlace):
        records = make_records(2)
        with place.open() as graph:
            graph.put(records, created(records))
        for refused in (migrate_graph, recreate_graph):
            with pytest.raises(StoreForeign, match=f"{STORE}.*another-store"):
                refused(place.url, store_id="another-store")
        with place.open() as graph:
            assert_holds(graph, records)
        with recreate_graph(place.url, store_id=STORE) as graph:
            assert_holds(graph, [])
            assert graph.notices == ()
            graph.put(records, created(records))
            assert_holds(graph, records)

    @pytest.mark.parametrize("read_only", [False, True])
    def test_methods_raise_after_a_fork(self, place: GraphPlace, read_only):
        def use() -> None:
            with pytest.raises(StoreError, match="does not survive a fork"):
                graph.present()
            graph.close()

        with place.open():
            pass
        with place.open(read_only=read_only) as graph:
            in_a_fork(use)
            assert graph.present() == {}

    def test_a_fork_can_open_it_again(self, place: GraphPlace):
        def use() -> None:
            graph.close()
            with place.open(read_only=True) as again:
                assert_holds(again, records)

        records = make_records(1)
        with place.open() as graph:
            graph.put(records, created(records))
            in_a_fork(use)
            assert_holds(graph, records)
