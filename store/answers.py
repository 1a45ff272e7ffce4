"""Stored values in the catalog: what is stored, under which checksum, and what no run refers to.

Every function works in the transaction of the connection that it is given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, and_, delete, insert, select, update

from .kinds import KINDS, Stored, StoredKind, kept_items, kind_of
from .ledger import ask_again, enter_items
from .sql import chunks, enter
from .tables import items


def stored(connection: Connection, kind: StoredKind[Any]) -> dict[str, str]:
    """Checksum of each stored value of a kind, by id."""
    table = kind.table
    found = connection.execute(select(table.c.id, table.c.sha256).order_by(table.c.id))
    return {row.id: row.sha256 for row in found}


def checksum(connection: Connection, kind: StoredKind[Any], id: str) -> str | None:
    """Checksum of a stored value; None where it is not stored."""
    return connection.execute(select(kind.table.c.sha256).where(kind.table.c.id == id)).scalar()


def rows(connection: Connection, kind: StoredKind[Any]) -> dict[str, dict[str, Any]]:
    """The row of every stored value of a kind, by id."""
    found = connection.execute(select(kind.table).order_by(kind.table.c.id)).mappings()
    return {row["id"]: dict(row) for row in found}


def circuit_sizes(connection: Connection) -> dict[str, int]:
    """Edges of every stored circuit, by id."""
    table = KINDS["circuit"].table
    return {row.id: row.n_edges for row in connection.execute(select(table.c.id, table.c.n_edges))}


def enter_value(connection: Connection, value: Stored, created_ms: int) -> bool:
    """List a value that is in the archive, with the question that it answers; returns whether it was not listed."""
    kind = kind_of(value)
    asked = kind.asked(value)
    if asked is not None:
        enter_items(connection, [asked[0]], created_ms)
    if not enter(connection, kind.table, [kind.row(value, created_ms)]):
        return False
    if kind.answers:
        done = {"state": "done", "error": None, "changed_ms": created_ms}
        connection.execute(update(items).where(items.c.id == value.id).values(**done))
    return True


def enter_rows(connection: Connection, kind: StoredKind[Any], values: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows of a kind; their items are there."""
    for chunk in chunks(values):
        connection.execute(insert(kind.table), chunk)


def forget(connection: Connection, kind: StoredKind[Any], ids: Collection[str]) -> None:
    """Delete values from the list, as if they had never been stored; their items are asked again."""
    for chunk in chunks(ids):
        connection.execute(delete(kind.table).where(kind.table.c.id.in_(chunk)))
        if kind.answers:
            ask_again(connection, and_(items.c.state == "done", items.c.id.in_(chunk)))


def unreferenced(connection: Connection) -> dict[str, list[str]]:
    """Ids of the values that no run refers to, by name of their kind."""
    return {
        name: list(connection.scalars(select(kind.table.c.id).where(kind.table.c.id.not_in(kind.kept))))
        for name, kind in KINDS.items()
    }


def unreferenced_items(connection: Connection) -> list[str]:
    """Ids of the items that neither a run nor a kept circuit refers to."""
    return list(connection.scalars(select(items.c.id).where(items.c.id.not_in(kept_items))))
