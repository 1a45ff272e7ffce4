# pyright: reportAttributeAccessIssue=false
"""Readers of a store in separate processes, which compare every circuit that they meet with itself and the archive.

As a program: FOLDER GRAPH PROCESSES THREADS (GRAPH `-`: the store's own). Each reader writes its number and how many
circuits it met after every read; when standard input ends, so do they, with a line of JSON of what they met.
"""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from circuitstore.errors import CircuitStoreError, InputError, StoreBusy, StoreUnreachable
from circuitstore.query import run
from circuitstore.store import Store, open_store
from circuitstore.store.graph.content import GraphContent

LONG_S = 600.0
"""Maximum number of seconds to wait for what must happen; a guard against hangs."""

PAUSE_S = 0.05
"""Between two reads of one reader: twenty that never paused would leave the writer no processor."""

WHOLE = """
    MATCH (c:Circuit)-[:HAS]->(n:Node)
    OPTIONAL MATCH (n)-[f:FEEDS]->(:Node)
    RETURN c.id AS id, c.n_edges AS n_edges, c.n_nodes AS n_nodes, count(DISTINCT n.key) AS nodes, count(f) AS edges"""


class Readers:
    """Processes that read until they are stopped."""

    def __init__(self, folder: Path, graph: str | None, *, processes: int, threads: int) -> None:
        command = [sys.executable, __file__, str(folder), graph or "-", str(processes), str(threads)]
        self.count = processes * threads
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._met: Counter[str] = Counter()
        self.await_each()

    def await_sight(self, circuits: int) -> None:
        """Return when a reader, in a read that ended after this call, met so many circuits.

        Raises:
            AssertionError: none did in that time.
        """
        ends = time.monotonic() + LONG_S
        self._skip_earlier()
        while (met := self._next_read()[1]) != circuits:
            assert time.monotonic() < ends, f"readers meet {met} circuits, not {circuits}"

    def await_each(self) -> None:
        """Return when every reader has made a read that began after this call: its second that ended since."""
        self._skip_earlier()
        left = Counter(dict.fromkeys(range(self.count), 2))
        while left:
            left -= Counter([self._next_read()[0]])

    def _skip_earlier(self) -> None:
        """Read away what was written by now."""
        while select.select([self._process.stdout], [], [], 0)[0]:
            self._next_read()

    def _next_read(self, within_s: float = LONG_S) -> tuple[int, int]:
        """The reader that made the next read, and how many circuits it met.

        Raises:
            AssertionError: none did in that time.
        """
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], within_s)[0], "the readers are stuck"
        line = self._process.stdout.readline()
        assert line.replace(b" ", b"").strip().isdigit(), f"the readers ended, and said {line!r}"
        reader, circuits = line.split()
        return int(reader), int(circuits)

    def stop(self) -> Counter[str]:
        """What they met: `reads`, `reads of N` of each, `retries`, and whatever should not be, in words."""
        out, _ = self._process.communicate(timeout=LONG_S)
        for line in out.decode().splitlines():
            if line.startswith("{"):
                self._met.update(json.loads(line))
        return self._met


class _Reader(threading.Thread):
    def __init__(self, store: Store, number: int, stopped: threading.Event) -> None:
        super().__init__(daemon=True)
        self._store, self._number, self._stopped = store, number, stopped
        self._dice = random.Random(number)
        self.met: Counter[str] = Counter()

    def run(self) -> None:
        while not self._stopped.wait(PAUSE_S):
            try:
                circuits = self._read()
                self.met["reads"] += 1
                self.met[f"reads of {self._number}"] += 1
                os.write(1, f"{self._number} {circuits}\n".encode())
            except (StoreBusy, StoreUnreachable) as busy:
                self.met["retries"] += 1
                self.met[f"retried: {type(busy).__name__}"] += 1
            except CircuitStoreError as error:
                self.met[f"raised: {type(error).__name__}: {error}"] += 1
            except BaseException as error:
                self.met[f"failed: {type(error).__name__}: {error}"] += 1

    def _read(self) -> int:
        whole = self._store.query(WHOLE).frame
        for row in whole.itertuples():
            if (row.nodes, row.edges) != (row.n_nodes, row.n_edges):
                self.met[f"half: {row.nodes} of {row.n_nodes} nodes, {row.edges} of {row.n_edges} edges"] += 1
        if len(whole):
            self._compare(self._dice.choice(list(whole["id"])))
        return len(whole)

    def _compare(self, id: str) -> None:
        """A circuit in full against the archive, and by a named query."""
        try:
            there = self._store.graph.content(id)
            record = self._store.circuit(id)
            edges = run(self._store, "edges-of-circuit", {"circuit": id}).frame
        except InputError:
            self.met["gone meanwhile"] += 1
            return
        for difference in GraphContent.of(record, there.properties["created_ms"]).differences(there):
            self.met[f"differs: {difference}"] += 1
        if edges.empty:  # gone from the graph, the catalog follows
            self.met["gone meanwhile"] += 1
        elif list(edges["edge"]) != [record.circuit.graph.edge(int(i)).name for i in record.circuit.order]:
            self.met["differs: the named query"] += 1


def _child(folder: str, graph: str | None, numbers: range) -> None:
    stopped = threading.Event()
    store = open_store(folder, graph=graph)
    readers = [_Reader(store, number, stopped) for number in numbers]
    for reader in readers:
        reader.start()
    sys.stdin.read()
    stopped.set()
    met: Counter[str] = Counter()
    for reader in readers:
        reader.join()
        met += reader.met
    os.write(1, (json.dumps(met) + "\n").encode())


def main(folder: str, graph: str, processes: str, threads: str) -> None:
    children, each = [], int(threads)
    for process in range(int(processes)):
        child = os.fork()
        if child == 0:
            _child(folder, None if graph == "-" else graph, range(process * each, (process + 1) * each))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
