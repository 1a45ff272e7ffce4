"""A store open for reading: tables of its content, circuits and scores, and queries of the graph."""

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

from ..circuits import CircuitRecord, Discovery, ExampleImages, Fit, Note, ReadoutRecord, Response, Subject
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
from .kinds import EXAMPLES, FITS, NOTES, READOUTS
from .listing import FIRST, Part
from .location import Location
from .verify import differences
from .writer import PARENTS, Writer

_IMAGE_COLUMNS = [
    "split", "hash", "file", "attacked_hash", "attacked_file", "attacked_as", "linf", "l2", "against", "against_hash",
    "against_file",
]  # fmt: skip


class Store:
    """A read-only store, and a context manager; `close` closes the graph.

    Several threads may use it. A forked process may continue to read: it opens the graph again.

    Attributes:
        location: locations of its parts.
        id: unique id; archive, catalog and graph have the same.
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
        """Close the graph; a second call does nothing."""
        with self._lock:
            if self._graph is not None and self._pid == os.getpid():
                self._graph.close()
            self._graph = None

    @property
    def graph(self) -> GraphBackend:
        """The graph database: read-only, or that of the current writer.

        Raises:
            StoreError: it is missing or damaged, belongs to another store, or cannot be reached.
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
        """Return the runs, oldest first.

        Columns: `run, items, done, leased, failed, wanted, circuits, circuits_wanted, created_ms, changed_ms, spec`.
        `done` items have their discovery; `circuits` of the `circuits_wanted` are stored; `changed_ms` is the last
        change of the run or of one of its items.
        """
        with self.catalog.reading() as connection:
            return listing.runs(connection)

    def items(self, run: str | None = None, state: str | None = None) -> pd.DataFrame:
        """Return the work items, in the order of the run.

        Columns: `id, state, error, attempts, model, dataset, class, class_index, condition, method, form, corruption,
        metric, changed_ms`.

        Args:
            state: `wanted`, `leased`, `done` or `failed`.

        Raises:
            InputError: there is no such run or state.
        """
        with self.catalog.reading() as connection:
            return listing.items(connection, run, state)

    def circuits(self, run: str | None = None, *, columns: Sequence[str] | None = None, **equals: Any) -> pd.DataFrame:
        """Return the circuits, sorted by class, condition and recipe.

        Columns: `CircuitRecord.properties`, `question`, `discovery_id`, `created_ms`; `newest`: whether no later
        circuit (of the run, if one is given) answers the same question; `counts`: whether it is the newest and has no
        flag.

        Args:
            run: only the circuits of this run.
            columns: only these columns.
            equals: columns with the value, or list of values, that they must have, such as `class_index=3`,
                `attack=["natural", "typographic"]`, `counts=True`, `**{"class": "3"}`.

        Raises:
            InputError: there is no such run or column.
        """
        with self.catalog.reading() as connection:
            return listing.circuits(connection, run, equals, columns)

    def part_of_circuits(self, run: str | None = None, part: Part = FIRST, **equals: Any) -> Table:
        """Return some rows of the table of circuits, sorted by the database; the fact `total` is the number of all.

        Args:
            run: only the circuits of this run.
            part: which rows.
            equals: as for `circuits`.

        Raises:
            InputError: there is no such run or column.
        """
        with self.catalog.reading() as connection:
            return listing.part_of_circuits(connection, run, equals, part)

    def count_circuits(self, columns: Sequence[str], run: str | None = None) -> pd.DataFrame:
        """Count circuits (of the run, if one is given) by their values in the given columns of `circuits`.

        Columns: those given, and `circuits`.

        Raises:
            InputError: there is no such run or column.
        """
        with self.catalog.reading() as connection:
            return listing.count_circuits(connection, columns, run)

    def circuit_id(self, start: str) -> str:
        """Return the full id of the only circuit whose id begins with these digits.

        Raises:
            InputError: no circuit or several circuits match.
        """
        with self.catalog.reading() as connection:
            return listing.resolve(connection, "circuit", start)

    def item_id(self, start: str) -> str:
        """Return the full id of the only item whose id begins with these digits. Errors as for `circuit_id`."""
        with self.catalog.reading() as connection:
            return listing.resolve(connection, listing.ITEM, start)

    def responses(self, run: str | None = None, **equals: Any) -> pd.DataFrame:
        """Return the responses of the models and of their circuits on each image, sorted by class and condition.

        Columns: `Response.properties` and `created_ms`; `intervention` is `none` (the model), `corrupted` (every edge)
        or `circuit`, whose id is in the column `circuit`. The columns `response_full`, `response_empty` and
        `response_circuit` of `circuits` refer to the responses.

        Args:
            run: only those that this run keeps, or that its circuits refer to.
            equals: as for `circuits`.

        Raises:
            InputError: there is no such run or column.
        """
        with self.catalog.reading() as connection:
            return listing.responses(connection, run, equals)

    def response(self, id: str) -> Response:
        """Return a response by its id, or by the first digits of it if they are unique. Errors as for `circuit`."""
        with self.catalog.reading() as connection:
            id = listing.resolve(connection, "response", id)
        return self.archive.response(id)[0]

    def examples(self, run: str | None = None, **equals: Any) -> pd.DataFrame:
        """Return what example images there are: a row per class, group and condition, sorted by them.

        Columns: `ExampleImages.properties` and `created_ms`.

        Args:
            run: only those of the classes and conditions of this run.
            equals: as for `circuits`.

        Raises:
            InputError: there is no such run or column.
        """
        with self.catalog.reading() as connection:
            return listing.examples(connection, run, equals)

    def example_images(self, id: str) -> ExampleImages:
        """Return example images by their id, or by the first digits of it if they are unique. Errors as for `circuit`.

        They are up to eight images of a class under a condition, clean and attacked, with the model's predictions.
        """
        with self.catalog.reading() as connection:
            id = listing.resolve(connection, "example", id)
        return self.archive.read(EXAMPLES, id)[0]

    def readouts(self, run: str | None = None, **equals: Any) -> pd.DataFrame:
        """Return what read-outs there are: a row per class, group, condition and kind, sorted by them.

        Columns: `ReadoutRecord.properties` and `created_ms`.

        Args:
            run: only those that this run requests.
            equals: as for `circuits`, such as `kind="logit-lens"`.

        Raises:
            InputError: there is no such run or column.
        """
        with self.catalog.reading() as connection:
            return listing.readouts(connection, run, equals)

    def readout_id(self, start: str) -> str:
        """Return the full id of the only read-out whose id begins with these digits. Errors as for `circuit_id`."""
        with self.catalog.reading() as connection:
            return listing.resolve(connection, READOUTS.name, start)

    def readout(self, id: str) -> ReadoutRecord:
        """Return a read-out by its id, or by the first digits of it if they are unique. Errors as for `circuit`."""
        return self.archive.read(READOUTS, self.readout_id(id))[0]

    def fits(self, run: str | None = None, **equals: Any) -> pd.DataFrame:
        """Return what was fitted to the runs of models: directions, detectors, pooled circuits.

        Columns: `Fit.properties` and `created_ms`.

        Args:
            run: only those that this run keeps.
            equals: as for `circuits`, such as `thing="directions"`.

        Raises:
            InputError: there is no such run or column.
        """
        with self.catalog.reading() as connection:
            return listing.fits(connection, run, equals)

    def fit(self, id: str) -> Fit:
        """Return a fit by its id, or by the first digits of it if they are unique. Errors as for `circuit`."""
        with self.catalog.reading() as connection:
            id = listing.resolve(connection, FITS.name, id)
        return self.archive.read(FITS, id)[0]

    def notes(
        self,
        *,
        about: Subject | None = None,
        state: str | None = None,
        tag: str | None = None,
        replaced: bool = False,
    ) -> pd.DataFrame:
        """Return the notes, oldest first.

        Columns: `id, text, author, about, tags, state, evidence, replaces, created_ms`. `about` and `evidence` are
        subjects as `Subject.text`, with commas between; `query.resolve_subject` returns a subject as a note has it.

        Args:
            about: only notes about this subject, or about a pair or an edge that it is a part of.
            state: only hypotheses in this state.
            tag: only notes with this tag.
            replaced: whether to list notes that a later version replaces.

        Raises:
            InputError: there is no such state.
        """
        with self.catalog.reading() as connection:
            return listing.notes(connection, about, state, tag, replaced)

    def note(self, id: str) -> Note:
        """Return a note by its id, or by the first digits of it if they are unique. Errors as for `circuit`."""
        with self.catalog.reading() as connection:
            id = listing.resolve(connection, NOTES.name, id)
        return self.archive.read(NOTES, id)[0]

    def writing_process(self) -> str | None:
        """Return a description of the process that writes to the store; None if there is none."""
        with self.catalog.reading() as connection:
            return catalog_lease.writing_process(connection)

    def circuit(self, id: str) -> CircuitRecord:
        """Return a circuit by its id, or by the first digits of it if they are unique.

        Scores and deviations of all edges come from its discovery; frequencies are NaN outside the circuit.

        Raises:
            InputError: no circuit or several circuits match.
            StoreDamaged: its file is missing or damaged.
        """
        id = self.circuit_id(id)
        try:
            record, _ = self.archive.circuit(id)
            if record.circuit.score is None or not self.archive.has("discovery", record.discovery_id):
                return record
            scores = self.archive.discovery(record.discovery_id, per_image=False)[0].scores
        except StoreDamaged:
            self.circuit_id(id)  # raises InputError if the writer has removed it meanwhile
            raise
        if scores is None:
            return record
        return replace(record, circuit=record.circuit.scored(scores))

    def discovery(self, id: str) -> Discovery:
        """Return a discovery by its id, or by the first digits of it if they are unique. Errors as for `circuit`."""
        id = self._discovery_id(id)
        try:
            return self.archive.discovery(id)[0]
        except StoreDamaged:
            self._discovery_id(id)  # likewise
            raise

    def images(self, id: str) -> Table:
        """Return the images of a discovery or circuit, given by its id or the first digits of it.

        Columns: `split` (`discovery`, `selection`, `report`), `hash` (SHA-256 of the content), `file`; `attacked_hash`
        (of the file, or of the attacked view's 8-bit pixels if there is none), `attacked_file`, `attacked_as` (the
        class that the model predicts), `linf` and `l2` (norms of the perturbation, in pixels of [0, 1]) of the attacked
        twin; `against` (class), `against_hash`, `against_file` of the image that it is contrasted with. A value is
        missing if there is no attack, or if the attacked or corrupted image comes from no other file. Rows are in the
        order of the scores per image. Errors as for `circuit`.
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
        """Return the member edges of circuits on one graph, in flat edge order, given full ids.

        Errors as for `circuit`.
        """
        return self.archive.members(circuit_ids)

    def scores(self, discovery_ids: Sequence[str]) -> Float[np.ndarray, "discovery edge"]:
        """Return the mean scores (float32) of discoveries on one graph, given full ids; reads no scores per image."""
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
        """Return the rows of a read-only Cypher query; every engine gives the same answer or raises an error.

        Args:
            cypher: the query.
            params: values by name: text, numbers, booleans, None, and lists of these; also values of NumPy, pandas,
                torch and Arrow, and Decimal, UUID, paths, enumerations and times with a zone (milliseconds).
            timeout_s: seconds until the query is stopped; the error follows within another second.
            max_rows: maximum number of rows; a longer answer is cut, with a note.
            max_mib: maximum size of the answer as the engine sends it.

        Raises:
            QueryRefused: the query could write or reach files or the network, or no timeout could stop it.
            InputError: a parameter has no value; a value has no parameter or is of no supported type; a limit is out of
                range.
            QueryFailed: the query does not parse, uses a name that is not in the schema, compares values of different
                kinds, or ran out of time or memory, or its answer is too large.
        """
        check_text(cypher)
        within = limits(timeout_s, max_rows, max_mib)
        query = Query.of(cypher, params)
        table = self.graph.run(query.text, query.values, **within)
        return table if query.columns is None else table.renamed(query.columns)

    def verify(self) -> Table:
        """Compare archive, catalog and graph; columns `part, kind, id, what, remedy`, with one row per difference.

        There are no rows if the store is sound.
        """
        return differences(self.archive, self.catalog, lambda: self.graph)

    @contextmanager
    def writer(self, wait_s: float = 0.0, *, empty_graph: bool = False) -> Iterator[Writer]:
        """Return the only writer of the store, for a `with` block, at whose end all queued circuits are in the graph.

        Args:
            wait_s: seconds to wait for another writer to finish.
            empty_graph: replace the graph, whatever its version, by an empty one, for `Writer.rebuild`.

        Raises:
            StoreBusy: another process writes; the message names it.
        """
        writer = None
        try:
            with deferred(), self._lock:
                self.close()
                if self._writer is not None:
                    raise StoreError("this store has a writer already; use that one")
                writer = self._writer = Writer(self.location, self.id, wait_s, empty_graph=empty_graph)
            yield writer
            writer.close()
        except BaseException:
            if writer is not None:
                with suppress(StoreError):  # the next writer adds what could not be projected
                    writer.close(wait_s=0.0)
            raise
        finally:
            if writer is not None:
                self._writer = None
