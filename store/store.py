"""A store, open for reading: tables of what is there, circuits and scores, queries of the graph."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from ..circuits import CircuitRecord, Discovery, Response
from ..errors import StoreDamaged, StoreError
from ..results import Table
from . import catalog_lease, listing
from .archive import Archive
from .catalog import Catalog
from .cypher.query import Query
from .cypher.values import check_text, limits
from .graph import open_graph
from .graph.contract import GraphBackend
from .interrupts import deferred
from .location import Location
from .verify import differences
from .writer import PARENTS, Writer

_IMAGE_COLUMNS = [
    "split", "hash", "file", "attacked_hash", "attacked_file", "against", "against_hash", "against_file",
]  # fmt: skip


class Store:
    """A store, read-only. A context manager; `close` lets go of the graph.

    May be used from several threads. A forked process may go on reading: it opens the graph anew.

    Attributes:
        location: where its parts are.
        id: tells it from other stores; archive, catalog and graph carry the same.
        archive: its files.
        catalog: its SQL database, read-only.
    """

    def __init__(self, location: Location, catalog: Catalog, id: str) -> None:
        self.location, self.catalog, self.id = location, catalog, id
        self.archive = Archive(location.archive)
        self._graph: GraphBackend | None = None
        self._writer: Writer | None = None
        self._lock = threading.RLock()
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"Store({str(self.location.folder)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the graph; calling again does nothing."""
        with self._lock:
            if self._graph is not None and self._pid == os.getpid():
                self._graph.close()
            self._graph = None

    @property
    def graph(self) -> GraphBackend:
        """The graph database; read-only, or the writer's while there is one.

        Raises:
            StoreError: it is missing, damaged, another store's, or cannot be reached.
        """
        with self._lock:
            if self._pid != os.getpid():
                PARENTS.append((self._graph, self._writer))
                self._graph, self._writer, self._pid = None, None, os.getpid()
            if self._writer is not None:
                return self._writer.graph
            if self._graph is None:
                place = self.location
                self._graph = open_graph(place.graph, read_only=True, store_id=self.id, account=place.account)
            return self._graph

    def runs(self) -> pd.DataFrame:
        """Runs, oldest first.

        Columns: `run, items, done, leased, failed, wanted, circuits, circuits_wanted, created_ms, changed_ms, spec`.
        `done` items have their discovery; `circuits` of the `circuits_wanted` are stored; `changed_ms` is when the run
        or one of its items last changed.
        """
        with self.catalog.reading() as connection:
            return listing.runs(connection)

    def items(self, run: str | None = None, state: str | None = None) -> pd.DataFrame:
        """Work items, in the run's order.

        Columns: `id, state, error, attempts, model, dataset, class, class_index, condition, method, form, corruption,
        metric, changed_ms`.

        Args:
            state: `wanted`, `leased`, `done` or `failed`.

        Raises:
            InputError: no such run or state.
        """
        with self.catalog.reading() as connection:
            return listing.items(connection, run, state)

    def circuits(self, run: str | None = None, *, columns: Sequence[str] | None = None, **equals: Any) -> pd.DataFrame:
        """Circuits, sorted by class, condition and recipe.

        Columns: `CircuitRecord.properties`, `question`, `discovery_id`, `created_ms`; `newest`: whether no later
        circuit, of the run if one is given, answers the same question; `counts`: whether it is the newest and has no
        flag.

        Args:
            columns: only these.
            equals: columns and the value, or list of values, that they must have, such as `class_index=3`,
                `attack=["natural", "typographic"]`, `counts=True`, `**{"class": "3"}`.

        Raises:
            InputError: no such run or column.
        """
        with self.catalog.reading() as connection:
            return listing.circuits(connection, run, equals, columns)

    def count_circuits(self, columns: Sequence[str], run: str | None = None) -> pd.DataFrame:
        """How many circuits, of the run if one is given, have the same values in some of `circuits`' columns.

        Columns: these, and `circuits`.

        Raises:
            InputError: no such run or column.
        """
        with self.catalog.reading() as connection:
            return listing.count_circuits(connection, columns, run)

    def circuit_id(self, start: str) -> str:
        """The id of the one circuit whose id begins so.

        Raises:
            InputError: no circuit, or several.
        """
        with self.catalog.reading() as connection:
            return listing.resolve(connection, "circuit", start)

    def responses(self, run: str | None = None, **equals: Any) -> pd.DataFrame:
        """Responses: what the model did image by image, of itself and as each circuit. Sorted by class and condition.

        Columns: `Response.properties` and `created_ms`; `intervention` is `none` (the model), `corrupted` (every edge)
        or `circuit`, whose id is in the column of that name. The columns `response_full`, `response_empty` and
        `response_circuit` of `circuits` refer to them.

        Args:
            run: only those that the circuits of this run refer to.
            equals: as for `circuits`.

        Raises:
            InputError: no such run or column.
        """
        with self.catalog.reading() as connection:
            return listing.responses(connection, run, equals)

    def response(self, id: str) -> Response:
        """A response by its id, or by the first digits of it if no other begins so. Errors as for `circuit`."""
        with self.catalog.reading() as connection:
            id = listing.resolve(connection, "response", id)
        return self.archive.response(id)[0]

    def writing_process(self) -> str | None:
        """Which process writes now, in words; None when none does."""
        with self.catalog.reading() as connection:
            return catalog_lease.writing_process(connection)

    def circuit(self, id: str) -> CircuitRecord:
        """A circuit by its id, or by the first digits of it if no other begins so.

        Scores and deviations are those of all edges, from its discovery; frequencies are NaN outside it.

        Raises:
            InputError: no circuit, or several.
            StoreDamaged: its file is missing or damaged.
        """
        id = self.circuit_id(id)
        try:
            record, _ = self.archive.circuit(id)
            if record.circuit.score is None or not self.archive.has("discovery", record.discovery_id):
                return record
            scores = self.archive.discovery(record.discovery_id, per_image=False)[0].scores
        except StoreDamaged:
            self.circuit_id(id)  # the writer may have removed it meanwhile: then that is what is told
            raise
        if scores is None:
            return record
        return replace(record, circuit=record.circuit.scored(scores))

    def discovery(self, id: str) -> Discovery:
        """A discovery by its id, or by the first digits of it if no other begins so. Errors as for `circuit`."""
        id = self._discovery_id(id)
        try:
            return self.archive.discovery(id)[0]
        except StoreDamaged:
            self._discovery_id(id)  # likewise
            raise

    def images(self, id: str) -> Table:
        """The images behind a discovery or circuit, given by its id or the first digits of it.

        Columns `split` (`discovery`, `selection`, `report`), `hash` (SHA-256 of the content), `file`; `attacked_hash`,
        `attacked_file` of its attacked twin; and of the image that it is contrasted with `against` (its class),
        `against_hash`, `against_file`. Missing where attacked or corrupted images come from no other file. In the order
        of the scores per image. Errors as for `circuit`.
        """
        with self.catalog.reading() as connection:
            id = listing.resolve_discovery(connection, id)
        found, _ = self.archive.discovery(id, per_image=False)
        rows = found.provenance.get("images") or [{"split": "discovery", "hash": hash_} for hash_ in found.images]
        return Table(pd.DataFrame(rows, columns=_IMAGE_COLUMNS))

    def _discovery_id(self, id: str) -> str:
        with self.catalog.reading() as connection:
            return listing.resolve(connection, "discovery", id)

    def members(self, circuit_ids: Sequence[str]) -> Bool[np.ndarray, "circuit edge"]:
        """Member edges of circuits on one graph, in flat edge order. Ids in full; errors as for `circuit`."""
        return self.archive.members(circuit_ids)

    def scores(self, discovery_ids: Sequence[str]) -> Float[np.ndarray, "discovery edge"]:
        """Mean scores (float32) of discoveries on one graph; scores per image are not read. Ids in full."""
        return self.archive.scores(discovery_ids)

    def query(
        self,
        cypher: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 30.0,
        max_rows: int = 10_000,
        max_mib: int = 64,
    ) -> Table:
        """Rows of a Cypher query that only reads; the same from every engine, or refused by all.

        Args:
            params: values by name: text, numbers, truth values, None, and lists of them; those of NumPy, pandas, torch
                and Arrow as well, and Decimal, UUID, paths, enumerations and times with a zone (milliseconds).
            timeout_s: seconds after which the query is ended, and within one more told so.
            max_rows: rows after which the answer is cut, with a note.
            max_mib: how large an answer may be, as it is sent by the engine.

        Raises:
            QueryRefused: it could write, or reach files or the network, or no timeout would end it.
            InputError: a parameter has no value, a value no parameter or no meaning; a limit is out of range.
            QueryFailed: it does not parse, names what is not in the schema, compares what has different kinds, ran out
                of time or memory, or its answer is too large.
        """
        check_text(cypher)
        within = limits(timeout_s, max_rows, max_mib)
        query = Query.of(cypher, params)
        table = self.graph.run(query.text, query.values, **within)
        return table if query.columns is None else table.renamed(query.columns)

    def verify(self) -> Table:
        """Holds archive, catalog and graph against each other: `part, kind, id, what, remedy`, a row a difference.

        No rows: the store is sound.
        """
        return differences(self.archive, self.catalog, lambda: self.graph)

    @contextmanager
    def writer(self, wait_s: float = 0.0, *, anew: bool = False) -> Iterator[Writer]:
        """The one writer of the store, for a `with` block; what is queued is in the graph when it ends.

        Args:
            wait_s: seconds to wait for another writer to end.
            anew: start with an empty graph, for `Writer.rebuild`, whatever the version of the one that is there.

        Raises:
            StoreBusy: another process writes; the message names it.
        """
        writer = None
        try:
            with deferred(), self._lock:
                self.close()
                if self._writer is not None:
                    raise StoreError("this store has a writer already; use that one")
                writer = self._writer = Writer(self.location, self.id, wait_s, anew=anew)
            yield writer
            writer.close()
        except BaseException:
            if writer is not None:
                with suppress(StoreError):  # what could not be projected is filled in by the next writer
                    writer.close(wait_s=0.0)
            raise
        finally:
            if writer is not None:
                self._writer = None
