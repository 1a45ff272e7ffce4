"""Discoveries and circuits in the catalog: what is stored, under which checksum, and what no run refers to.

Every function works in the transaction of the connection that it is given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, insert, or_, select, update

from ..circuits import CircuitRecord, Discovery
from .ledger import ask_again, enter_items
from .sql import chunks, enter
from .tables import circuits, discoveries, items, run_circuits, run_items


def stored(connection: Connection, table: Table) -> dict[str, str]:
    """Checksum of each stored discovery or circuit, by id."""
    rows = connection.execute(select(table.c.id, table.c.sha256).order_by(table.c.id))
    return {row.id: row.sha256 for row in rows}


def checksum(connection: Connection, table: Table, id: str) -> str | None:
    """Checksum of a stored discovery or circuit; None where it is not stored."""
    return connection.execute(select(table.c.sha256).where(table.c.id == id)).scalar()


def enter_discovery(connection: Connection, discovery: Discovery, created_ms: int) -> None:
    """A discovery that is in the archive; its item is done."""
    item = discovery.item
    enter_items(connection, [item], created_ms)
    if enter(connection, discoveries, [discovery_row(discovery, created_ms)]):
        connection.execute(
            update(items).where(items.c.id == item.id).values(state="done", error=None, changed_ms=created_ms)
        )


def discovery_row(discovery: Discovery, created_ms: int) -> dict[str, Any]:
    """The catalog's row of a discovery."""
    images = len(discovery.images)
    return {"id": discovery.id, "sha256": discovery.sha256, "n_images": images, "created_ms": created_ms}


def enter_circuit(connection: Connection, record: CircuitRecord, created_ms: int) -> bool:
    """A circuit that is in the archive; returns whether it was not listed."""
    enter_items(connection, [record.item], created_ms)
    return bool(enter(connection, circuits, [circuit_row(record, created_ms)]))


def circuit_row(record: CircuitRecord, created_ms: int) -> dict[str, Any]:
    """The catalog's row of a circuit."""
    more = {"question": record.question, "discovery_id": record.discovery_id, "created_ms": created_ms}
    return record.properties() | more


def circuit_sizes(connection: Connection) -> dict[str, int]:
    """Edges of every stored circuit, by id."""
    return {row.id: row.n_edges for row in connection.execute(select(circuits.c.id, circuits.c.n_edges))}


def circuit_rows(connection: Connection) -> dict[str, dict[str, Any]]:
    """The row of every stored circuit, by id."""
    rows = connection.execute(select(circuits).order_by(circuits.c.id)).mappings()
    return {row["id"]: dict(row) for row in rows}


def enter_answers(
    connection: Connection, found: Iterable[Mapping[str, Any]], extracted: Iterable[Mapping[str, Any]]
) -> None:
    """Rows of discoveries and of circuits; their items are there."""
    for table, rows in ((discoveries, found), (circuits, extracted)):
        for chunk in chunks(rows):
            connection.execute(insert(table), chunk)


def forget(connection: Connection, table: Table, ids: Collection[str]) -> None:
    """Strike discoveries or circuits out, as if they had never been stored; their items are asked again."""
    for chunk in chunks(ids):
        connection.execute(delete(table).where(table.c.id.in_(chunk)))
        if table is discoveries:
            ask_again(connection, and_(items.c.state == "done", items.c.id.in_(chunk)))


def unreferenced(connection: Connection) -> tuple[list[str], list[str], list[str]]:
    """Ids of circuits, discoveries and items that no run refers to.

    A discovery, and an item, is kept as long as a kept circuit comes from it.
    """
    of_run = select(run_circuits.c.circuit)
    loose = list(connection.execute(select(circuits.c.id).where(circuits.c.id.not_in(of_run))).scalars())
    kept = select(circuits.c.discovery_id).where(circuits.c.id.in_(of_run))
    used = or_(items.c.id.in_(select(run_items.c.item)), items.c.id.in_(kept))
    unused = list(connection.execute(select(items.c.id).where(~used)).scalars())
    answered = list(
        connection.execute(select(discoveries.c.id).join(items, items.c.id == discoveries.c.id).where(~used)).scalars()
    )
    return loose, answered, unused
