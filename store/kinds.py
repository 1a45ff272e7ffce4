"""Kinds of stored values: discoveries, circuits, responses, example images, read-outs, fits, notes.

All parts of a store loop over these kinds. A new kind is a value in `KINDS`, with its table in `tables` and a migration
that creates the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import and_, or_, select

from ..circuits import (
    ROLES,
    CircuitRecord,
    Discovery,
    ExampleImages,
    Extraction,
    Fit,
    Note,
    ReadoutRecord,
    Response,
    Role,
    WorkItem,
)
from . import encoding, example_encoding, fit_encoding, note_encoding, readout_encoding, tables
from .encoding import Stored

V = TypeVar("V", bound=Stored)
Question = tuple[WorkItem, Extraction | None]


@dataclass(frozen=True)
class StoredKind(Generic[V]):
    """One kind of value that a store holds, each under its id and with its checksum.

    Attributes:
        name: name of the kind.
        folder: folder of its files in the archive.
        value: class of its values.
        encode: returns the table of a file, given a value and the time of storage (epoch milliseconds).
        decode: returns the value, given header and table.
        table: table of the catalog, with key `id` and columns `sha256` and `created_ms`.
        row: returns the row of `table`, given a value and its time of storage.
        kept: ids that a run refers to, directly or through other values; garbage collection removes all others.
        question: returns the question that a value answers; None if the catalog has no questions of this kind.
        canonical: returns the value as the archive reads it back.
        flaw: returns why a value cannot be stored; None if it can.
        answers: whether its id is that of an item, which is done as soon as the value is stored.
        projected: whether the graph contains it.
        refers_to: returns the other values that a value refers to: ids by the name of their kind.
    """

    name: str
    folder: str
    value: type[V]
    encode: Callable[[V, int], pa.Table]
    decode: Callable[[encoding.Header, pa.Table], V]
    table: sa.Table
    row: Callable[[V, int], dict[str, Any]]
    kept: sa.Select[Any]
    question: Callable[[V], Question | None]
    canonical: Callable[[V], V] = lambda value: value
    flaw: Callable[[V], str | None] = lambda value: None
    answers: bool = False
    projected: bool = False
    refers_to: Callable[[V], Mapping[str, Collection[str]]] = lambda value: {}


def _discovery_row(discovery: Discovery, created_ms: int) -> dict[str, Any]:
    images = len(discovery.images)
    return {"id": discovery.id, "sha256": discovery.sha256, "n_images": images, "created_ms": created_ms}


def _circuit_row(record: CircuitRecord, created_ms: int) -> dict[str, Any]:
    """Return the catalog's row of a circuit."""
    responses = {column.name: record.responses.get(role) for role, column in RESPONSES.items()}
    more = {"question": record.question, "discovery_id": record.discovery_id, "created_ms": created_ms}
    return record.properties() | responses | more


def _response_row(response: Response, created_ms: int) -> dict[str, Any]:
    return response.properties() | {"created_ms": created_ms}


def _examples_row(images: ExampleImages, created_ms: int) -> dict[str, Any]:
    return images.properties() | {"created_ms": created_ms}


def _fit_row(fit: Fit, created_ms: int) -> dict[str, Any]:
    return fit.properties() | {"created_ms": created_ms}


def _note_row(note: Note, created_ms: int) -> dict[str, Any]:
    """Return the catalog's row of a note: its properties, with subjects and evidence as JSON."""
    evidence = () if note.hypothesis is None else note.hypothesis.evidence
    lists = {"about": note.about, "evidence": evidence}
    columns = {name: json.dumps([s.text for s in some], ensure_ascii=False) for name, some in lists.items()}
    return note.properties() | columns | {"sha256": note.sha256, "created_ms": created_ms}


def _readout_row(record: ReadoutRecord, created_ms: int) -> dict[str, Any]:
    return record.properties() | {"created_ms": created_ms}


_circuits, _items = tables.circuits.c, tables.items.c
_of_runs = select(tables.run_circuits.c.circuit)
_kept_circuits = select(tables.circuits).where(_circuits.id.in_(_of_runs))
kept_items = select(_items.id).where(
    or_(
        _items.id.in_(select(tables.run_items.c.item)),
        _items.id.in_(_kept_circuits.with_only_columns(_circuits.discovery_id)),
    )
)
"""Ids of the items that a run or a kept circuit refers to."""

RESPONSES: dict[Role, sa.Column[Any]] = {role: _circuits[f"response_{role}"] for role in ROLES}
"""Columns of a circuit that refer to responses, by role."""


def values_of_runs(kind: str, run: str | None = None) -> sa.Select[Any]:
    """Return the query for the ids of the values of a kind that runs, or one run, keep by id."""
    table = tables.run_values.c
    query = select(table.value).where(table.kind == kind)
    return query if run is None else query.where(table.run == run)


_kept_responses = sa.union_all(
    *(_kept_circuits.with_only_columns(column).where(column.is_not(None)) for column in RESPONSES.values()),
    # by circuit: the circuit may be only in the archive
    select(tables.responses.c.id).where(tables.responses.c.circuit.in_(_of_runs)),
    values_of_runs("response"),
).subquery()

_IMAGES = ("model", "dataset", "class", "class_index", "image_group", "condition")

examples_of_items = select(tables.examples.c.id).join(
    tables.items,
    and_(*(tables.examples.c[n] == _items[n] for n in _IMAGES)),
)
"""Ids of the example images of the same class and condition as an item."""

DISCOVERY = StoredKind(
    "discovery",
    "discoveries",
    Discovery,
    encoding.discovery_to_table,
    encoding.discovery_from_table,
    tables.discoveries,
    _discovery_row,
    kept=kept_items,
    question=lambda discovery: (discovery.item, None),
    canonical=encoding.rounded,
    answers=True,
)
CIRCUIT = StoredKind(
    "circuit",
    "circuits",
    CircuitRecord,
    encoding.circuit_to_table,
    encoding.circuit_from_table,
    tables.circuits,
    _circuit_row,
    kept=_of_runs,
    question=lambda record: (record.item, record.extraction),
    flaw=lambda record: record.circuit.astray,  # no graph could represent it
    projected=True,
    refers_to=lambda record: {"response": record.responses.values()},
)
RESPONSE = StoredKind(
    "response",
    "responses",
    Response,
    encoding.response_to_table,
    encoding.response_from_table,
    tables.responses,
    _response_row,
    kept=select(_kept_responses),
    question=lambda response: None,
)

EXAMPLES = StoredKind(
    "example",
    "examples",
    ExampleImages,
    example_encoding.examples_to_table,
    example_encoding.examples_from_table,
    tables.examples,
    _examples_row,
    kept=examples_of_items.where(_items.id.in_(kept_items)),
    question=lambda images: None,
)

READOUTS = StoredKind(
    "readout",
    "readouts",
    ReadoutRecord,
    readout_encoding.readout_to_table,
    readout_encoding.readout_from_table,
    tables.readouts,
    _readout_row,
    kept=kept_items,
    question=lambda record: (record.item, None),
    answers=True,
)

FITS = StoredKind(
    "fit",
    "fits",
    Fit,
    fit_encoding.fit_to_table,
    fit_encoding.fit_from_table,
    tables.fits,
    _fit_row,
    kept=values_of_runs("fit"),
    question=lambda fit: None,
)

NOTES = StoredKind(
    "note",
    "notes",
    Note,
    note_encoding.note_to_table,
    note_encoding.note_from_table,
    tables.notes,
    _note_row,
    kept=select(tables.notes.c.id),  # belong to no run: written by people, and never collected
    question=lambda note: None,
)

KINDS: dict[str, StoredKind[Any]] = {
    kind.name: kind for kind in (DISCOVERY, RESPONSE, CIRCUIT, EXAMPLES, READOUTS, FITS, NOTES)
}
"""All kinds by name. A kind comes before those that refer to it."""


def answering_kinds() -> list[StoredKind[Any]]:
    """Return the kinds whose values answer items."""
    return [kind for kind in KINDS.values() if kind.answers]


def kind_of(value: V) -> StoredKind[V]:
    """Return the kind of a value."""
    return next(kind for kind in KINDS.values() if isinstance(value, kind.value))
