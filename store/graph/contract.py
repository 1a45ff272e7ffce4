"""The contract of every graph backend.

The graph is a projection. The archive owns the circuits, and the catalog owns the list of circuits that should exist. A
backend may lose everything at any time and is filled again from them. It must never show incorrect data: part of a
circuit, a circuit twice, or values other than the archive's.

**Ownership.** A graph database belongs to one store, whose id is written to its `Store` node when the schema is
created. A database with another store's id, or with other data, raises an error and is not changed. There is one writer
at a time; it has the lease (`claim`) and writes in groups (`put`). Readers open with `read_only=True` and may open and
close at any time; each call sees what was committed before it.

**Immutable, create-only.** A circuit is never changed in place. `put` adds missing circuits and `remove` deletes
circuits; nothing replaces them. The `Circuit` node is the commit marker: it becomes visible, with all its nodes, edges
and links, in one transaction at the end of `put`. Before that, the circuit does not exist: `present` does not list it,
queries that start at a `Circuit` do not find it, and `sweep` removes what a killed `put` left. A backend may write it
hidden before, under another label. On Neo4j it is `Arriving` until the transactions have ended that began before it was
complete, and `Removed` until the transactions have ended that may have read it.

**Fenced.** A writer may be suspended, and another may take over, at any time. Therefore each commit, and nothing else,
runs inside the writer's `permit`. If another process could write the same database, each commit also checks that the
owner that called `claim` still has the lease. Both checks raise `LeaseLost`, and nothing changes.

**Idempotent.** `put`, `remove`, `set_similar`, `set_notes`, `sweep`, `clear`, `claim`, `renew` and `release` may be
called again after any failure, by the same or another process. With `present`, this is all that resuming needs. A call
with invalid arguments adds no circuit, and the backend stays usable.

**Derived.** `SIMILAR` relationships between circuits belong to no circuit: `content` does not contain them.
`set_similar` replaces those of a measure in one transaction, and whatever removes a circuit also removes its own.
Notes belong to no circuit either: `set_notes` replaces them all, and a circuit that is removed takes with it only the
`ABOUT` relationships that lead to it.

**Durable.** Once a call returns, what it has written survives any end of the process.

**Values.** Edge and node values are float32 (the archive's canonical form) with one zero. Figures of the evaluation are
float64. Both are returned unchanged; values that a record lacks are null. Nodes and edges are rows of the two tables of
a circuit's universe, whatever their contents (`rows.universe_tables`). Edges into the q, k and v of one head are
separate relationships, distinguished by `edge` and `port`. Labels and properties are those of `docs/graph.md`.

`docs/backends.md` describes how to write a backend. `circuitstore.testing.graph_contract.GraphContract` tests this
contract, except for the errors about a database that cannot be reached.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pyarrow as pa

from ...circuits import CircuitRecord
from ...results import Table
from ..lease import Permit, shown
from .content import GraphContent
from .notes import GraphNotes


@dataclass(frozen=True)
class Lease:
    """The right to write: `owner` is a text that names host and process, `until_ms` when it lapses (epoch ms)."""

    owner: str
    until_ms: int

    def refusal(self, url: str) -> str:
        """Return the message for another writer that claims it."""
        seconds = max(0, round(self.until_ms / 1000 - time.time()))
        return (
            f"{url} is being written by {shown(self.owner)}; wait until it has finished (--wait SECONDS), or stop it: "
            f"its lease lapses in {seconds} s unless it is renewed"
        )


class GraphBackend(ABC):
    """One open graph database. The module's docstring describes what holds for all methods.

    Every method raises `StoreError` if the database cannot be reached or reports an error, if the backend was closed,
    and in a fork of the process that opened it, which must open the database again. Methods that write also raise it if
    the backend was opened read-only. A backend may be used from several threads. Their queries (`run`) run
    concurrently: a long one does not delay others.

    Attributes:
        url: URL of the database; never contains a password.
        read_only: whether methods that write raise an error.
        notices: messages for the user about what was repaired or set aside when the database was opened.
        engine: the name under which named queries may have a separate text for this engine; empty if none has one.
    """

    engine: ClassVar[str] = ""
    url: str
    read_only: bool
    notices: tuple[str, ...] = ()

    @abstractmethod
    def __init__(self, url: str, *, store_id: str, read_only: bool = False, permit: Permit = nullcontext) -> None:
        """Open the database of a store, and create it if it does not exist; called by `open_graph`.

        Args:
            permit: entered around each commit and every other action with a lasting effect.

        Raises:
            StoreError: it does not exist and `read_only`, or cannot be opened.
            StoreForeign: it belongs to another store or has other data; it is not changed.
            StoreVersion: its schema has another version; the message names the command that fixes this.
            StoreBusy: another process has it open for writing, if the engine allows only one.
        """

    @classmethod
    @abstractmethod
    def migrate(cls, url: str, *, store_id: str, permit: Permit = nullcontext) -> tuple[str, ...]:
        """Update the schema, keep the circuits, and return the names of the steps; see `migrate_graph`.

        If the schema is current, nothing happens and the result is empty. Errors are those of opening.
        """

    @classmethod
    @abstractmethod
    def recreate(cls, url: str, *, store_id: str, permit: Permit = nullcontext) -> Self:
        """Open for writing, empty and with this program's schema, whatever its version was; see `recreate_graph`.

        Errors are those of opening, except `StoreVersion`.
        """

    @abstractmethod
    def put(self, records: Sequence[CircuitRecord], created_ms: Mapping[str, int]) -> None:
        """Add a group of circuits, and the models, classes, conditions and recipes that they refer to.

        Circuits that are present with the same checksum are skipped. Each other circuit becomes visible as a whole or
        not at all; when the call returns, all are visible. Leftovers of a killed `put` do not disturb it. A group may
        have any size, and several models and universes; larger groups are faster, as long as the arrays fit in memory.

        Args:
            records: the circuits; an id may occur once.
            created_ms: creation time of each circuit by id, in epoch milliseconds.

        Raises:
            StoreDamaged: a circuit is present with another checksum; none of the group is written.
        """

    @abstractmethod
    def present(self) -> dict[str, str]:
        """Return the checksum (`CircuitRecord.sha256`) of every visible circuit, by id."""

    @abstractmethod
    def remove(self, ids: Collection[str]) -> None:
        """Remove circuits with their nodes and edges; unknown ids are ignored.

        What circuits share (models, classes, components …) stays. A killed `remove` leaves each circuit either visible
        and whole, or invisible, with leftovers for `sweep`.
        """

    @abstractmethod
    def set_similar(self, measure: str, pairs: pa.Table) -> None:
        """Replace the `SIMILAR` relationships of a measure; without pairs, remove them.

        A killed call leaves either the old ones or the new ones.

        Args:
            measure: the measure of all pairs.
            pairs: the columns of `schema.SIMILAR`; pairs with a circuit that is not visible are ignored.
        """

    @abstractmethod
    def set_notes(self, notes: GraphNotes) -> None:
        """Replace all notes and their `ABOUT` relationships; do nothing if the database has just these.

        A killed call leaves either the old ones or the new ones. `ABOUT` relationships to nodes that do not exist, or
        are not visible, are left out; the next call adds them.
        """

    @abstractmethod
    def sweep(self) -> int:
        """Remove the nodes of no visible circuit, left by a killed `put` or `remove`, and return their number."""

    @abstractmethod
    def content(self, circuit_id: str) -> GraphContent:
        """Return everything that the database stores of a circuit, in canonical order, to compare with the archive.

        Raises:
            InputError: there is no such circuit.
        """

    @abstractmethod
    def run(
        self,
        text: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 30.0,
        max_rows: int = 10_000,
        max_mib: int = 64,
    ) -> Table:
        """Return the rows of a Cypher query in the portable dialect; `Store.query` has checked text, names and values.

        The table has at most `max_rows` rows, and a note if there were more. Integers are int, floats are float
        (`to_table`); an answer without rows has its columns. Parameters are values, never text. Whatever the query
        does, this process survives, its memory grows by little more than the answer, which has at most `max_mib` MiB
        as sent, and Ctrl-C stops the query.

        The answer contains only whole circuits, if the query reaches them through a `Circuit`. On an engine without
        snapshot isolation (Neo4j), the writer waits up to 60 s for the running queries that it can see. A query may
        therefore find circuits without all of their edges, if they were added or removed meanwhile, in three cases: its
        `timeout_s` is longer, the writer's account may not see its account, or it runs on another member of a cluster.

        Raises:
            QueryFailed: the query does not parse, writes, ran longer than `timeout_s` (raised at most a second later),
                or its answer is too large; the backend stays usable.
        """

    @abstractmethod
    def lease(self) -> Lease | None:
        """Return the lease, lapsed or not; None before the first claim and after a release."""

    @abstractmethod
    def claim(self, owner: str, until_ms: int, *, over: str | None = None) -> None:
        """Take the lease; of several concurrent claims, one succeeds.

        The claim succeeds if the lease is free, has lapsed, is already `owner`'s, or belongs to `over` (an owner that
        the caller knows to be dead).

        Raises:
            StoreBusy: another owner has it; the message names it.
        """

    @abstractmethod
    def renew(self, owner: str, until_ms: int) -> None:
        """Extend the lease, lapsed or not.

        Raises:
            LeaseLost: it is not `owner`'s, or no longer.
        """

    @abstractmethod
    def release(self, owner: str) -> None:
        """Release the lease; nothing happens if another owner has it, or none."""

    @abstractmethod
    def clear(self) -> None:
        """Remove everything except the store's id, the schema and the lease: the start of a rebuild.

        A killed `clear` leaves some circuits whole; the others are removed or left for `sweep`.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the database; calling again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
