"""What a graph database must do to hold circuits: the contract of every backend.

The graph is a projection. The archive owns the circuits, the catalog owns the list of what there should
be; a backend may lose everything at any time and is filled again from them. What it must never do is show
something that is not so: half a circuit, a circuit twice, values other than the archive's.

**Who owns what.** A graph database belongs to one store, whose id is written in its `Store` node when the
schema is created. A database that holds another store's id, or something that is not ours, is refused
untouched. One writer at a time; it holds the lease (`claim`), and writes in groups (`put`). Readers open
with `read_only=True` and may come and go at any time; each call sees what was committed before it.

**Immutable, create-only.** A circuit is never changed in place. `put` adds circuits that are missing,
`remove` takes them away; nothing replaces. The `Circuit` node is the commit marker: it becomes visible, with
all its nodes, edges and links, in one transaction at the end of `put`. Before that the circuit does not
exist: `present` does not list it, queries that start at a `Circuit` do not meet it, and `sweep` removes
what a killed `put` left. A backend may write it hidden before, under another label: on Neo4j it is `Arriving`
until whoever reads has begun when all of it was there, and `Removed` until whoever met it has ended.

**Fenced.** A writer may have been suspended, and another have taken over, at any instant. So what takes effect does so
with the `permit` of the writer, entered around each commit and nothing else, and, where another could write the same
database, only while the lease is still held by whom `claim` gave it to. Both raise `LeaseLost`, and nothing changes.

**Idempotent.** `put`, `remove`, `sweep`, `clear`, `claim`, `renew` and `release` may be called again after any
failure, by the same or another process; together with `present` that is all that resuming needs. A call that
is refused for its arguments adds no circuit, and the backend can be used on.

**Durable.** What a call has written when it returns outlives the process, however that ends.

**Values.** Edge and node values are float32 (the archive's canonical form) with one zero, figures of the evaluation
are float64, and both are given back unchanged; what a record lacks is null. Nodes and edges are rows of the two tables
that a circuit's universe makes, whatever these hold (`rows.universe_tables`). Edges into the q, k and v of one head are
relationships of their own, told apart by `edge` and `port`. Labels and properties are those of `docs/graph.md`.

`docs/backends.md` tells how to make a backend of your own; `circuitstore.testing.graph_contract.GraphContract` tests
what is promised here, all but how a database is told of that cannot be reached.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ...circuits import CircuitRecord
from ...results import Table
from ..lease import Permit, shown
from .content import GraphContent


@dataclass(frozen=True)
class Lease:
    """Who may write: `owner` in words that name host and process, until `until_ms` (epoch milliseconds)."""

    owner: str
    until_ms: int

    def refusal(self, url: str) -> str:
        """What to tell a writer who cannot have it."""
        seconds = max(0, round(self.until_ms / 1000 - time.time()))
        return (
            f"{url} is being written by {shown(self.owner)}; wait until it is done (--wait SECONDS), or end it: "
            f"its lease lapses in {seconds} s unless it is renewed"
        )


class GraphBackend(ABC):
    """One open graph database. See the module's text for what holds for all methods.

    Every method raises `StoreError` when the database cannot be reached or refuses, when the backend was closed, and
    in a fork of the process that opened it, where the database is to be opened anew. The methods that write raise it
    as well when the backend was opened read-only. A backend may be used from several threads, whose queries (`run`) run
    side by side: a long one does not hold up others.

    Attributes:
        url: where the database is; never holds a password.
        read_only: whether writing is refused.
        notices: what had to be mended or set aside when the database was opened, in words for the user.
        engine: by which named queries may declare a text for this engine; empty where they are asked as they are.
    """

    engine: ClassVar[str] = ""
    url: str
    read_only: bool
    notices: tuple[str, ...] = ()

    @abstractmethod
    def __init__(self, url: str, *, store_id: str, read_only: bool = False, permit: Permit = nullcontext) -> None:
        """Open the database of a store, made if it is not there; see `open_graph`, which calls this.

        Args:
            permit: to be entered around each commit, and whatever else takes effect.

        Raises:
            StoreError: not there and `read_only`, or not to be opened.
            StoreForeign: it belongs to another store, or is something else; it is left as it is.
            StoreVersion: its schema is of another version; the message names the command that mends it.
            StoreBusy: another process has it open for writing, where the engine takes one alone.
        """

    @classmethod
    @abstractmethod
    def migrate(cls, url: str, *, store_id: str, permit: Permit = nullcontext) -> tuple[str, ...]:
        """Bring the schema up to this program's, circuits kept; the names of the steps taken. See `migrate_graph`.

        Nothing happens, and nothing is named, where it is up to date. Errors as on opening.
        """

    @classmethod
    @abstractmethod
    def recreate(cls, url: str, *, store_id: str, permit: Permit = nullcontext) -> Self:
        """Open for writing, empty and of this program's schema, whatever its version was. See `recreate_graph`.

        Errors as on opening, but `StoreVersion`.
        """

    @abstractmethod
    def put(self, records: Sequence[CircuitRecord], created_ms: Mapping[str, int]) -> None:
        """Add a group of circuits, and the models, classes, conditions, recipes they refer to.

        Circuits that are present with the same checksum are skipped. Each other circuit becomes visible
        whole or not at all; when the call returns all are visible. What a killed `put` left is in nobody's way. A group
        may be of any size, of several models and universes; larger ones are faster, until the arrays no longer fit in
        memory.

        Args:
            records: the circuits; an id may occur once.
            created_ms: when each circuit (by id) was made, in epoch milliseconds.

        Raises:
            StoreDamaged: a circuit is present with another checksum; nothing of the group is written.
        """

    @abstractmethod
    def present(self) -> dict[str, str]:
        """Checksum (`CircuitRecord.sha256`) of every visible circuit, by id."""

    @abstractmethod
    def remove(self, ids: Collection[str]) -> None:
        """Take circuits away, with their nodes and edges; unknown ids are ignored.

        What circuits share (models, classes, components …) stays. A killed `remove` leaves each circuit
        either visible and whole, or invisible, its rest to be swept.
        """

    @abstractmethod
    def sweep(self) -> int:
        """Remove the nodes that no visible circuit has, left by a killed `put` or `remove`; returns how many."""

    @abstractmethod
    def content(self, circuit_id: str) -> GraphContent:
        """All that the database holds of a circuit, in canonical order, to be held against the archive.

        Raises:
            InputError: no such circuit.
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
        """Rows of a Cypher query, in the portable dialect, whose text, names and values `Store.query` has checked.

        At most `max_rows` rows; a note says so when there were more. Integers are int, floats float (`to_table`); an
        answer without rows has its columns. Parameters are values, never text. Whatever the query asks for, this
        process lives on, its memory does not grow by much more than the answer, which has at most `max_mib` MiB as it
        is sent, and Ctrl-C ends the query.

        The answer is of whole circuits only, of those that the query reaches through a `Circuit`. Where the engine
        gives a query no view of its own (Neo4j), the writer waits for the queries that it is shown, for 60 s at most:
        one of a longer `timeout_s`, of an account that the writer's may not see, or at another member of a cluster
        may meet circuits without all of their edges if they came or went meanwhile.

        Raises:
            QueryFailed: it does not parse, writes, ran longer than `timeout_s` (told at most a second later), or its
                answer is too large; the next query is answered.
        """

    @abstractmethod
    def lease(self) -> Lease | None:
        """Who holds the lease, lapsed or not; None before the first claim and after a release."""

    @abstractmethod
    def claim(self, owner: str, until_ms: int, *, over: str | None = None) -> None:
        """Take the lease; of several who claim it at once one gets it.

        It is taken when it is free, has lapsed, is `owner`'s already, or is held by `over` (an owner of
        whom the caller knows that it is dead).

        Raises:
            StoreBusy: another holds it; the message names it.
        """

    @abstractmethod
    def renew(self, owner: str, until_ms: int) -> None:
        """Let the lease hold for longer, lapsed or not.

        Raises:
            LeaseLost: it is not `owner`'s, or not any more.
        """

    @abstractmethod
    def release(self, owner: str) -> None:
        """Give the lease back; nothing happens when another holds it, or nobody."""

    @abstractmethod
    def clear(self) -> None:
        """Remove everything but the store's id, the schema and the lease: the start of a rebuild.

        Killed, it leaves some circuits whole, the rest gone or to be swept.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the database; calling again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
