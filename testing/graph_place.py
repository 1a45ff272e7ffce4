"""Places, assertions and circuits for the tests of graph backends."""

from __future__ import annotations

import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from ..circuits import CircuitRecord
from ..store.graph import open_graph
from ..store.graph.content import GraphContent
from ..store.graph.contract import GraphBackend
from ..store.lease import Permit

STORE = "store-of-the-contract"
SHARED = ("Model", "Dataset", "Class", "Condition", "Recipe", "Component")


@dataclass(frozen=True)
class GraphPlace:
    """A database, by its URL: `open` may be called any number of times, in this and other processes."""

    url: str

    def open(self, *, store_id: str = STORE, read_only: bool = False, permit: Permit = nullcontext) -> GraphBackend:
        return open_graph(self.url, store_id=store_id, read_only=read_only, permit=permit)


def created(records: Sequence[CircuitRecord]) -> dict[str, int]:
    """Return creation times for records: 1, 2, 3 … ms."""
    return {r.id: i for i, r in enumerate(records, 1)}


def later() -> int:
    """Return the time in an hour, in epoch milliseconds."""
    return int(time.time() * 1000) + 3_600_000


def bare(record: CircuitRecord) -> CircuitRecord:
    """Return the record without values, as from a method without scores and without report images."""
    circuit = replace(record.circuit, score=None, std=None)
    return replace(record, circuit=circuit, frequency=None, full_in=None, full_out=None, evaluation=None, n_images=1)


def count(graph: GraphBackend, label: str) -> int:
    """Return the number of nodes of a label."""
    return int(graph.run(f"MATCH (x:{label}) RETURN count(x) AS n").to_pandas()["n"].item())


def assert_holds(graph: GraphBackend, records: Sequence[CircuitRecord], times: dict[str, int] | None = None) -> None:
    """Assert that the graph has exactly these circuits."""
    times = times or created(records)
    assert graph.present() == {r.id: r.sha256 for r in records}
    for record in records:
        assert GraphContent.of(record, times[record.id]).differences(graph.content(record.id)) == []
    assert count(graph, "Node") == sum(r.circuit.n_nodes for r in records)


def in_a_fork(act: Callable[[], None], within_s: int = 600) -> None:
    """Call a function in a fork of this process.

    Raises:
        AssertionError: it failed or exceeded the time limit; its traceback is in standard error.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn about forks of processes with threads
        child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(within_s)  # an engine may wait forever on an inherited handle
        try:
            act()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, f"the fork ended with {status}"
