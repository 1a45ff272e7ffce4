"""What a store can hold: discoveries, circuits, responses. Archive, catalog, writer and upkeep loop over these kinds.

A new kind is a value in `KINDS`, with its table in `tables` and a migration that makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import or_, select

from ..circuits import ROLES, CircuitRecord, Discovery, Extraction, Response, WorkItem
from . import encoding, tables

Stored = Discovery | CircuitRecord | Response
V = TypeVar("V", bound=Stored)
Asked = tuple[WorkItem, Extraction | None]


@dataclass(frozen=True)
class StoredKind(Generic[V]):
    """One kind of value that a store holds, each under its id and with its checksum.

    Attributes:
        name: what it is called.
        folder: of its files in the archive.
        value: class of its values.
        encode: makes the table of a file from a value and the time at which it was stored (epoch milliseconds).
        decode: makes the value from header and table.
        table: of the catalog; its key is `id`, and it has `sha256` and `created_ms`.
        row: makes the row of `table` from a value and that time.
        kept: ids that a run refers to, directly or through other values; garbage collection removes all others.
        asked: the question that a value answers, entered with it; None where the catalog has no questions of its kind.
        canonical: the value as the archive gives it back.
        flaw: what makes a value unfit to be stored; None where nothing does.
        answers: whether its id is that of an item, which is done as soon as the value is stored.
        projected: whether the graph shows it.
    """

    name: str
    folder: str
    value: type[V]
    encode: Callable[[V, int], pa.Table]
    decode: Callable[[encoding.Header, pa.Table], V]
    table: sa.Table
    row: Callable[[V, int], dict[str, Any]]
    kept: sa.Select[Any]
    asked: Callable[[V], Asked | None]
    canonical: Callable[[V], V] = lambda value: value
    flaw: Callable[[V], str | None] = lambda value: None
    answers: bool = False
    projected: bool = False


def _discovery_row(discovery: Discovery, created_ms: int) -> dict[str, Any]:
    images = len(discovery.images)
    return {"id": discovery.id, "sha256": discovery.sha256, "n_images": images, "created_ms": created_ms}


def _circuit_row(record: CircuitRecord, created_ms: int) -> dict[str, Any]:
    """The catalog's row of a circuit."""
    responses = {f"response_{role}": record.responses.get(role) for role in ROLES}
    more = {"question": record.question, "discovery_id": record.discovery_id, "created_ms": created_ms}
    return record.properties() | responses | more


def _response_row(response: Response, created_ms: int) -> dict[str, Any]:
    return response.properties() | {"created_ms": created_ms}


_circuits, _items = tables.circuits.c, tables.items.c
_of_runs = select(tables.run_circuits.c.circuit)
_kept_circuits = select(tables.circuits).where(_circuits.id.in_(_of_runs))
kept_items = select(_items.id).where(
    or_(
        _items.id.in_(select(tables.run_items.c.item)),
        _items.id.in_(_kept_circuits.with_only_columns(_circuits.discovery_id)),
    )
)
"""Ids of the items that a run, or a circuit that is kept, refers to."""

RESPONSES = tuple(_circuits[f"response_{role}"] for role in ROLES)
"""Columns of a circuit that refer to responses."""

_kept_responses = sa.union_all(
    *(_kept_circuits.with_only_columns(column).where(column.is_not(None)) for column in RESPONSES),
    select(tables.responses.c.id).where(
        tables.responses.c.circuit.in_(_of_runs)
    ),  # its circuit may be in the archive only
).subquery()

DISCOVERY = StoredKind(
    "discovery",
    "discoveries",
    Discovery,
    encoding.discovery_to_table,
    encoding.discovery_from_table,
    tables.discoveries,
    _discovery_row,
    kept=kept_items,
    asked=lambda discovery: (discovery.item, None),
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
    asked=lambda record: (record.item, record.extraction),
    flaw=lambda record: record.circuit.astray,  # no graph could show it
    projected=True,
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
    asked=lambda response: None,
)

KINDS: dict[str, StoredKind[Any]] = {kind.name: kind for kind in (DISCOVERY, RESPONSE, CIRCUIT)}
"""All kinds by name. What others refer to comes first."""


def kind_of(value: V) -> StoredKind[V]:
    """The kind of a value."""
    return next(kind for kind in KINDS.values() if isinstance(value, kind.value))
