"""Entries of the catalog: how runs, items, discoveries and circuits are written down and found again.

Every function works in the transaction of the connection it is given. Transactions that write come one after another
(`Catalog.writing`), so what is not there when a function looks is not there when it inserts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table, and_, delete, exists, insert, or_, select, update

from ..circuits import CircuitRecord, Discovery, Extraction, WorkItem, circuit_id
from ..errors import StoreBusy, check_known
from .lease import is_dead, now_ms, shown
from .tables import circuits, discoveries, items, leases, run_circuits, run_items, runs, store

CHUNK = 500
"""Rows a statement: databases limit the parameters of one."""

WRITER = "writer"

LOST = "its answer came from elsewhere and is lost; store it again"
"""Error of an item whose answer cannot be computed here and is not there."""


def enter_store(connection: Connection, id: str) -> None:
    """The store's identity and its lease, unless they are there."""
    if connection.execute(select(store.c.id)).first() is None:
        connection.execute(insert(store).values(id=id, created_ms=now_ms()))
    enter(connection, leases, [{"name": WRITER, "owner": None, "until_ms": 0}])


def bytewise(connection: Connection, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A column as a key to sort by: texts by their code points, whatever the language of the database."""
    if not isinstance(column.type, sa.String):
        return column
    return column.collate("BINARY" if connection.dialect.name == "sqlite" else "C")


def chunks(values: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk


def enter(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows whose primary key is not there; returns how many were."""
    key = list(table.primary_key.columns)[-1]
    fixed = list(table.primary_key.columns)[:-1]
    new: list[Mapping[str, Any]] = []
    for chunk in chunks(rows):
        known = select(key).where(key.in_([row[key.name] for row in chunk]), *(c == chunk[0][c.name] for c in fixed))
        present = set(connection.execute(known).scalars())
        new += [row for row in chunk if row[key.name] not in present]
    for chunk in chunks(new):
        connection.execute(insert(table), chunk)
    return len(new)


# --- the lease -------------------------------------------------------------------------------------


def holder(connection: Connection) -> tuple[str, int] | None:
    """Owner and end (epoch milliseconds) of the lease, lapsed or not; None when it is free.

    Who asks in a transaction that writes has it to himself: nobody else takes the lease until that ends.
    """
    row = connection.execute(select(leases.c.owner, leases.c.until_ms).where(leases.c.name == WRITER)).first()
    return None if row is None or row.owner is None else (row.owner, row.until_ms)


def check_claim(connection: Connection) -> None:
    """Return if the lease may be taken: it is free, has lapsed, or is a dead writer's.

    Raises:
        StoreBusy: another holds it; the message names it and the remedy.
    """
    held = holder(connection)
    if held is not None and held[1] > now_ms() and not is_dead(held[0]):
        raise StoreBusy(busy(held[0], held[1]))


def claim(connection: Connection, owner: str, until_ms: int) -> None:
    """Take the lease. Errors as for `check_claim`."""
    check_claim(connection)
    connection.execute(update(leases).where(leases.c.name == WRITER).values(owner=owner, until_ms=until_ms))


def renew(connection: Connection, owner: str, until_ms: int) -> None:
    """Let the lease hold for longer; nothing happens when it is not the owner's."""
    connection.execute(update(leases).where(_held_by(owner)).values(until_ms=until_ms))


def release(connection: Connection, owner: str) -> None:
    connection.execute(update(leases).where(_held_by(owner)).values(owner=None, until_ms=0))


def _held_by(owner: str) -> sa.ColumnElement[bool]:
    return and_(leases.c.name == WRITER, leases.c.owner == owner)


def busy(owner: str, until_ms: int) -> str:
    """Who writes, and what to do."""
    left = max(0, until_ms - now_ms()) / 1000
    return (
        f"the store is being written by {shown(owner)}; wait for it or stop it "
        f"(--wait SECONDS waits). If it is gone already, its lease "
        f"ends {left:.0f} s from now unless it renews it; then run the same command again"
    )


# --- runs and items --------------------------------------------------------------------------------


def enter_run(
    connection: Connection,
    name: str,
    spec: str,
    wanted: Sequence[WorkItem],
    extractions: Sequence[tuple[str, Extraction]],
) -> None:
    """A run with its items and wanted circuits; entered again, it takes the new spec and adds what is new."""
    now = now_ms()
    if not enter(connection, runs, [{"name": name, "spec": spec, "created_ms": now, "changed_ms": now}]):
        changed = and_(runs.c.name == name, runs.c.spec != spec)
        connection.execute(update(runs).where(changed).values(spec=spec, changed_ms=now))
    enter_items(connection, wanted)
    last = connection.execute(select(sa.func.max(run_items.c.position)).where(run_items.c.run == name)).scalar()
    start = 0 if last is None else last + 1
    enter(
        connection,
        run_items,
        [{"run": name, "item": w.id, "position": start + i} for i, w in enumerate(_once(wanted))],
    )
    want_circuits(connection, name, extractions)


def _once(wanted: Sequence[WorkItem]) -> list[WorkItem]:
    return list({w.id: w for w in wanted}.values())


def enter_items(connection: Connection, wanted: Sequence[WorkItem], state: str = "wanted") -> None:
    """Items that are not there yet, in a state; those whose answers come from elsewhere have failed until they come."""
    enter(connection, items, [_item_row(w, state) for w in _once(wanted)])


def _item_row(item: WorkItem, state: str) -> dict[str, Any]:
    recipe = item.recipe
    return {
        "id": item.id,
        "state": "failed" if item.is_given else state,
        "attempts": 0,
        "error": LOST if item.is_given else None,
        "changed_ms": now_ms(),
        "model": item.model.name,
        "dataset": item.target_class.dataset,
        "class": item.target_class.name,
        "class_index": item.target_class.class_index,
        "condition": item.condition.text,
        "method": recipe.method.text,
        "form": recipe.form,
        "corruption": recipe.corruption.text,
        "metric": recipe.metric.text,
        "item": json.dumps(item.to_dict(), ensure_ascii=False),
    }


def want_circuits(connection: Connection, run: str, extractions: Sequence[tuple[str, Extraction]]) -> None:
    """Circuits that belong to a run, each given by its item and extraction, stored already or not."""
    rows: dict[str, dict[str, Any]] = {}  # by id: equal extractions may differ in it, as n=1 and n=1.0 do
    for item, extraction in extractions:
        circuit, text = circuit_id(item, extraction), json.dumps(extraction.to_dict(), ensure_ascii=False)
        rows[circuit] = {"run": run, "circuit": circuit, "item": item, "extraction": text}
    enter(connection, run_circuits, list(rows.values()))


def run_names(connection: Connection) -> list[str]:
    return list(
        connection.execute(select(runs.c.name).order_by(runs.c.created_ms, bytewise(connection, runs.c.name))).scalars()
    )


def known_run(connection: Connection, run: str) -> None:
    """Raises `InputError`, with the nearest names, unless there is such a run."""
    check_known("run", run, run_names(connection))


def pending(connection: Connection, run: str) -> list[WorkItem]:
    """Items of a run, in its order, that have not failed and lack their discovery or a wanted circuit."""
    lacking = exists().where(
        run_circuits.c.run == run,
        run_circuits.c.item == items.c.id,
        ~exists().where(circuits.c.id == run_circuits.c.circuit),
    )
    asked = (
        select(items.c.item)
        .join(run_items, run_items.c.item == items.c.id)
        .where(run_items.c.run == run, items.c.state != "failed", or_(items.c.state != "done", lacking))
        .order_by(run_items.c.position)
    )
    return [WorkItem.from_dict(json.loads(text)) for text in connection.execute(asked).scalars()]


def missing_circuits(connection: Connection, run: str) -> list[tuple[str, Extraction]]:
    """(item id, extraction) of the wanted circuits of a run that are not stored."""
    asked = (
        select(run_circuits.c.item, run_circuits.c.extraction)
        .join(run_items, and_(run_items.c.run == run_circuits.c.run, run_items.c.item == run_circuits.c.item))
        .where(run_circuits.c.run == run, ~exists().where(circuits.c.id == run_circuits.c.circuit))
        .order_by(run_items.c.position, run_circuits.c.circuit)
    )
    return [(item, Extraction.from_dict(json.loads(text))) for item, text in connection.execute(asked)]


def stored_of(connection: Connection, run: str) -> tuple[list[str], list[str]]:
    """Ids of the discoveries and the circuits of a run that are listed."""
    answers = select(discoveries.c.id).join(run_items, run_items.c.item == discoveries.c.id)
    found = select(circuits.c.id).join(run_circuits, run_circuits.c.circuit == circuits.c.id)
    return (
        list(connection.execute(answers.where(run_items.c.run == run)).scalars()),
        list(connection.execute(found.where(run_circuits.c.run == run)).scalars()),
    )


def failures(connection: Connection, run: str) -> dict[str, str]:
    """Error of each failed item of a run, by item id."""
    asked = (
        select(items.c.id, items.c.error)
        .join(run_items, run_items.c.item == items.c.id)
        .where(run_items.c.run == run, items.c.state == "failed")
        .order_by(run_items.c.position)
    )
    return {id: error or "" for id, error in connection.execute(asked)}


def set_state(connection: Connection, id: str, state: str, *, error: str | None = None, attempt: bool = False) -> int:
    """An item's state; returns how many items have that id."""
    values: dict[str, Any] = {"state": state, "error": error and storable(error), "changed_ms": now_ms()}
    if attempt:
        values["attempts"] = items.c.attempts + 1
    return connection.execute(update(items).where(items.c.id == id).values(**values)).rowcount


def storable(text: str) -> str:
    """A text as every database can hold it: what is no character (half a surrogate pair, NUL) is written out."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def retry_failed(connection: Connection, run: str) -> int:
    """Failed items of a run are asked again; returns how many."""
    of_run = items.c.id.in_(select(run_items.c.item).where(run_items.c.run == run))
    return _ask_again(connection, and_(items.c.state == "failed", of_run))


def free_leased(connection: Connection) -> int:
    """Items that an earlier writer was at are asked again; returns how many."""
    return _ask_again(connection, items.c.state == "leased")


def free_unanswered(connection: Connection) -> int:
    """Items that are called done and have no discovery are asked again; returns how many."""
    return _ask_again(connection, and_(items.c.state == "done", ~exists().where(discoveries.c.id == items.c.id)))


def _ask_again(connection: Connection, which: sa.ColumnElement[bool]) -> int:
    """Have items asked again that are not answered; those whose answers come from elsewhere fail instead."""
    answered = exists().where(discoveries.c.id == items.c.id)
    rows = connection.execute(select(items.c.id, items.c.item, answered.label("answered")).where(which)).all()
    now = now_ms()
    for chunk in chunks(rows):
        values = [_asked_again(row.answered, WorkItem.from_dict(json.loads(row.item))) for row in chunk]
        changes = [{"key": row.id, **value} for row, value in zip(chunk, values, strict=True)]
        change = update(items).where(items.c.id == sa.bindparam("key"))
        connection.execute(change.values(state=sa.bindparam("to"), error=sa.bindparam("why"), changed_ms=now), changes)
    return len(rows)


def _asked_again(answered: bool, item: WorkItem) -> dict[str, str | None]:
    if answered:
        return {"to": "done", "why": None}
    return {"to": "failed", "why": LOST} if item.is_given else {"to": "wanted", "why": None}


def delete_run(connection: Connection, run: str) -> None:
    """A run and its references; what they refer to stays."""
    for table, column in ((run_circuits, run_circuits.c.run), (run_items, run_items.c.run), (runs, runs.c.name)):
        connection.execute(delete(table).where(column == run))


# --- discoveries and circuits ----------------------------------------------------------------------


def stored(connection: Connection, table: Table) -> dict[str, str]:
    """Checksum of each stored discovery or circuit, by id."""
    rows = connection.execute(select(table.c.id, table.c.sha256).order_by(table.c.id))
    return {row.id: row.sha256 for row in rows}


def checksum(connection: Connection, table: Table, id: str) -> str | None:
    """Checksum of a stored discovery or circuit; None where it is not stored."""
    return connection.execute(select(table.c.sha256).where(table.c.id == id)).scalar()


def enter_discovery(connection: Connection, discovery: Discovery, created_ms: int, run: str) -> None:
    """A discovery that is in the archive; its item is done and belongs to the run."""
    item = discovery.item
    enter_items(connection, [item])
    row = {"id": item.id, "sha256": discovery.sha256, "n_images": len(discovery.images), "created_ms": created_ms}
    if enter(connection, discoveries, [row]):
        set_state(connection, item.id, "done")
    _belongs(connection, run, item)


def enter_circuit(connection: Connection, record: CircuitRecord, created_ms: int, run: str) -> bool:
    """A circuit that is in the archive; it belongs to the run. Returns whether it was not listed."""
    enter_items(connection, [record.item])
    new = enter(connection, circuits, [circuit_row(record, created_ms)])
    _belongs(connection, run, record.item)
    want_circuits(connection, run, [(record.item.id, record.extraction)])
    return bool(new)


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


def run_of(connection: Connection, kind: str, id: str) -> str | None:
    """A run that refers to a circuit, or to the item of a discovery; None where none does."""
    if kind == "circuit":
        query = select(run_circuits.c.run).where(run_circuits.c.circuit == id)
    else:
        query = select(run_items.c.run).where(run_items.c.item == id)
    return connection.execute(query.order_by(bytewise(connection, query.selected_columns.run)).limit(1)).scalar()


def _belongs(connection: Connection, run: str, item: WorkItem) -> None:
    there = select(run_items.c.item).where(run_items.c.run == run, run_items.c.item == item.id)
    if connection.execute(there).first():
        return
    if not connection.execute(select(runs.c.name).where(runs.c.name == run)).first():
        enter_run(connection, run, "", [item], [])
        return
    last = connection.execute(select(sa.func.max(run_items.c.position)).where(run_items.c.run == run)).scalar()
    connection.execute(insert(run_items).values(run=run, item=item.id, position=0 if last is None else last + 1))


def forget(connection: Connection, table: Table, ids: Collection[str]) -> None:
    """Strike discoveries or circuits out, as if they had never been stored; their items are asked again."""
    for chunk in chunks(ids):
        connection.execute(delete(table).where(table.c.id.in_(chunk)))
        if table is discoveries:
            _ask_again(connection, and_(items.c.state == "done", items.c.id.in_(chunk)))


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


def unanswered(connection: Connection) -> list[str]:
    """Ids of the items that have no discovery."""
    lacking = select(items.c.id).where(~exists().where(discoveries.c.id == items.c.id))
    return list(connection.execute(lacking).scalars())


def strike_items(connection: Connection, ids: Collection[str]) -> None:
    """Delete items that nothing refers to."""
    for chunk in chunks(ids):
        connection.execute(delete(items).where(items.c.id.in_(chunk)))
