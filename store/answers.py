"""Stored values in the catalog: ids, checksums, rows, and values without references.

Every function runs in the transaction of its connection.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, and_, delete, insert, select, update

from .kinds import KINDS, Stored, StoredKind, kept_items, kind_of
from .ledger import add_items, reset_items
from .sql import chunks, insert_new
from .tables import items


def stored(connection: Connection, kind: StoredKind[Any]) -> dict[str, str]:
    """Return the checksum of each stored value of a kind, by id."""
    table = kind.table
    found = connection.execute(select(table.c.id, table.c.sha256).order_by(table.c.id))
    return {row.id: row.sha256 for row in found}


def checksum(connection: Connection, kind: StoredKind[Any], id: str) -> str | None:
    """Return the checksum of a stored value; None if it is not stored."""
    return connection.execute(select(kind.table.c.sha256).where(kind.table.c.id == id)).scalar()


def rows(connection: Connection, kind: StoredKind[Any]) -> dict[str, dict[str, Any]]:
    """Return the row of every stored value of a kind, by id."""
    found = connection.execute(select(kind.table).order_by(kind.table.c.id)).mappings()
    return {row["id"]: dict(row) for row in found}


def circuit_sizes(connection: Connection) -> dict[str, int]:
    """Return the number of edges of every stored circuit, by id."""
    table = KINDS["circuit"].table
    return {row.id: row.n_edges for row in connection.execute(select(table.c.id, table.c.n_edges))}


def add_value(connection: Connection, value: Stored, created_ms: int) -> bool:
    """List a value of the archive, with the question that it answers; return whether it is new."""
    kind = kind_of(value)
    question = kind.question(value)
    if question is not None:
        add_items(connection, [question[0]], created_ms)
    if not insert_new(connection, kind.table, [kind.row(value, created_ms)]):
        return False
    if kind.answers:
        done = {"state": "done", "error": None, "changed_ms": created_ms}
        connection.execute(update(items).where(items.c.id == value.id).values(**done))
    return True


def insert_rows(connection: Connection, kind: StoredKind[Any], values: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows of a kind; their items must be listed."""
    for chunk in chunks(values):
        connection.execute(insert(kind.table), chunk)


def forget(connection: Connection, kind: StoredKind[Any], ids: Collection[str]) -> None:
    """Delete rows of values and reset their items, as if they had never been stored."""
    for chunk in chunks(ids):
        connection.execute(delete(kind.table).where(kind.table.c.id.in_(chunk)))
        if kind.answers:
            reset_items(connection, and_(items.c.state == "done", items.c.id.in_(chunk)))


def unreferenced(connection: Connection) -> dict[str, list[str]]:
    """Return the ids of the values that no run refers to, by name of their kind."""
    return {
        name: list(connection.scalars(select(kind.table.c.id).where(kind.table.c.id.not_in(kind.kept))))
        for name, kind in KINDS.items()
    }


def unreferenced_items(connection: Connection) -> list[str]:
    """Return the ids of the items that neither a run nor a kept circuit refers to."""
    return list(connection.scalars(select(items.c.id).where(items.c.id.not_in(kept_items))))
