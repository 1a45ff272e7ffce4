"""Runs and items in the catalog: what runs are asked for, and how far each item is.

Every function works in the transaction of the connection that it is given. Transactions that write come one after
another (`Catalog.writing`), so what is not there when a function looks is not there when it inserts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, and_, delete, exists, insert, or_, select, update

from ..circuits import Extraction, WorkItem, circuit_id
from ..errors import StoreDamaged, check_known
from .catalog_lease import WRITER
from .kinds import KINDS, RESPONSES
from .lease import now_ms
from .runs import Asked, Run
from .sql import bytewise, chunks, enter, parsed, storable
from .tables import circuits, discoveries, items, leases, responses, run_circuits, run_items, runs, store

LOST = "its answer came from elsewhere and is lost; store it again"
"""Error of an item whose answer cannot be computed here and is not there."""


def enter_store(connection: Connection, id: str) -> None:
    """The store's identity and its lease, unless they are there."""
    if connection.execute(select(store.c.id)).first() is None:
        connection.execute(insert(store).values(id=id, created_ms=now_ms()))
    enter(connection, leases, [{"name": WRITER, "owner": None, "until_ms": 0}])


def enter_run(connection: Connection, asked: Asked) -> None:
    """A run with its items and wanted circuits; entered again, it takes the new spec and adds what is new."""
    times = {"created_ms": asked.created_ms, "changed_ms": asked.created_ms}
    if not enter(connection, runs, [{"name": asked.run, "spec": asked.spec, **times}]):
        latest = {"spec": asked.spec, "changed_ms": asked.created_ms}
        connection.execute(update(runs).where(runs.c.name == asked.run).values(**latest))
    enter_items(connection, asked.items, asked.created_ms)
    last = connection.execute(select(sa.func.max(run_items.c.position)).where(run_items.c.run == asked.run)).scalar()
    start = 0 if last is None else last + 1
    positions = [
        {"run": asked.run, "item": item.id, "position": start + i} for i, item in enumerate(_once(asked.items))
    ]
    enter(connection, run_items, positions)
    _want_circuits(connection, asked)


def _once(wanted: Sequence[WorkItem]) -> list[WorkItem]:
    return list({w.id: w for w in wanted}.values())


def enter_items(connection: Connection, wanted: Sequence[WorkItem], changed_ms: int) -> None:
    """Items that are not there yet; those whose answers come from elsewhere have failed until they come."""
    enter(connection, items, [item_row(w, "wanted", changed_ms) for w in _once(wanted)])


def item_row(item: WorkItem, state: str, changed_ms: int) -> dict[str, Any]:
    """The catalog's row of an item that nobody has tried yet."""
    recipe = item.recipe
    return {
        "id": item.id,
        "state": "failed" if item.is_given else state,
        "attempts": 0,
        "error": LOST if item.is_given else None,
        "changed_ms": changed_ms,
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


def _want_circuits(connection: Connection, asked: Asked) -> None:
    """Circuits that belong to a run, stored already or not."""
    rows: dict[str, dict[str, Any]] = {}  # by id: equal extractions may differ in it, as n=1 and n=1.0 do
    for item, extraction in asked.circuits:
        circuit, text = circuit_id(item, extraction), json.dumps(extraction.to_dict(), ensure_ascii=False)
        rows[circuit] = {"run": asked.run, "circuit": circuit, "item": item, "extraction": text}
    enter(connection, run_circuits, list(rows.values()))


def listed_runs(connection: Connection) -> dict[str, Run]:
    """Every run, by name."""
    items_of: dict[str, list[str]] = {}
    for run, item in connection.execute(select(run_items.c.run, run_items.c.item).order_by(run_items.c.position)):
        items_of.setdefault(run, []).append(item)
    circuits_of: dict[str, list[str]] = {}
    for run, circuit in connection.execute(select(run_circuits.c.run, run_circuits.c.circuit)):
        circuits_of.setdefault(run, []).append(circuit)
    return {
        row.name: Run(
            row.spec,
            row.created_ms,
            row.changed_ms,
            tuple(items_of.get(row.name, ())),
            frozenset(circuits_of.get(row.name, ())),
        )
        for row in connection.execute(select(runs))
    }


def all_asked(connection: Connection, name: str) -> list[Asked]:
    """What a run was asked for, as far as the catalog knows: all of it when it was made, and when it last changed."""
    row = connection.execute(select(runs).where(runs.c.name == name)).one()
    joined = select(items.c.item).join(run_items, run_items.c.item == items.c.id).where(run_items.c.run == name)
    asked = [parsed(WorkItem, text) for text in connection.scalars(joined.order_by(run_items.c.position))]
    of_run = select(run_circuits.c.item, run_circuits.c.extraction).where(run_circuits.c.run == name)
    wanted = [
        (item, parsed(Extraction, text)) for item, text in connection.execute(of_run.order_by(run_circuits.c.circuit))
    ]
    times = sorted({row.created_ms, row.changed_ms})
    return [Asked(name, row.spec, tuple(asked), tuple(wanted), ms) for ms in times]


TRIED = ("state", "error", "attempts", "changed_ms")
"""What the row of an item says of how it was tried; all else follows from the item."""


def altered_items(connection: Connection) -> Iterator[tuple[str, str]]:
    """Id of each item whose row is not what its item says, or whose wanted circuits are not, and what is wrong."""
    for row in connection.execute(select(items)).mappings():
        try:
            expected = item_row(parsed(WorkItem, row["item"]), row["state"], row["changed_ms"])
        except StoreDamaged as error:
            yield row["id"], str(error).partition("; ")[0]
            continue
        wrong = [name for name in expected if name not in (*TRIED, "item") and row[name] != expected[name]]
        if wrong:
            yield row["id"], f"{', '.join(wrong)}: the row and its item differ"
    for id, circuit, text in connection.execute(
        select(run_circuits.c.item, run_circuits.c.circuit, run_circuits.c.extraction)
    ):
        try:
            if circuit_id(id, parsed(Extraction, text)) != circuit:
                yield id, f"its wanted circuit {circuit} is of another extraction than {text}"
        except StoreDamaged as error:
            yield id, str(error).partition("; ")[0]


def run_names(connection: Connection) -> list[str]:
    return list(
        connection.execute(select(runs.c.name).order_by(runs.c.created_ms, bytewise(connection, runs.c.name))).scalars()
    )


def known_run(connection: Connection, run: str) -> None:
    """Refuse a name that is no run's, by an `InputError` with the nearest names."""
    check_known("run", run, run_names(connection))


_IS_LISTED = exists().where(
    circuits.c.id == run_circuits.c.circuit,
    *(or_(column.is_(None), exists().where(responses.c.id == column)) for column in RESPONSES),
)
"""That a wanted circuit is stored, with the responses that it refers to."""


def pending(connection: Connection, run: str) -> list[WorkItem]:
    """Items of a run, in its order, that have not failed and lack their discovery or a wanted circuit."""
    lacking = exists().where(run_circuits.c.run == run, run_circuits.c.item == items.c.id, ~_IS_LISTED)
    asked = (
        select(items.c.item)
        .join(run_items, run_items.c.item == items.c.id)
        .where(run_items.c.run == run, items.c.state != "failed", or_(items.c.state != "done", lacking))
        .order_by(run_items.c.position)
    )
    return [parsed(WorkItem, text) for text in connection.execute(asked).scalars()]


def missing_circuits(connection: Connection, run: str) -> list[tuple[str, Extraction]]:
    """(item id, extraction) of the wanted circuits of a run that are not stored."""
    asked = (
        select(run_circuits.c.item, run_circuits.c.extraction)
        .join(run_items, and_(run_items.c.run == run_circuits.c.run, run_items.c.item == run_circuits.c.item))
        .where(run_circuits.c.run == run, ~exists().where(circuits.c.id == run_circuits.c.circuit))
        .order_by(run_items.c.position, run_circuits.c.circuit)
    )
    return [(item, parsed(Extraction, text)) for item, text in connection.execute(asked)]


def stored_of(connection: Connection, run: str) -> tuple[list[str], list[str]]:
    """Ids of the discoveries and the circuits of a run that are listed, circuits with their responses."""
    answers = select(discoveries.c.id).join(run_items, run_items.c.item == discoveries.c.id)
    found = select(run_circuits.c.circuit).where(run_circuits.c.run == run, _IS_LISTED)
    return (
        list(connection.execute(answers.where(run_items.c.run == run)).scalars()),
        list(connection.execute(found).scalars()),
    )


def responses_of(connection: Connection, run: str) -> list[str]:
    """Ids of the responses that the circuits of a run refer to and that are listed."""
    mine = select(circuits).where(circuits.c.id.in_(select(run_circuits.c.circuit).where(run_circuits.c.run == run)))
    referred = sa.union(*(mine.with_only_columns(column) for column in RESPONSES)).subquery()
    return list(connection.scalars(select(responses.c.id).where(responses.c.id.in_(select(referred)))))


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


def retry_failed(connection: Connection, run: str) -> int:
    """Failed items of a run are asked again; returns how many."""
    of_run = items.c.id.in_(select(run_items.c.item).where(run_items.c.run == run))
    return ask_again(connection, and_(items.c.state == "failed", of_run))


def free_leased(connection: Connection) -> int:
    """Items that an earlier writer was at are asked again; returns how many."""
    return ask_again(connection, items.c.state == "leased")


def ask_again(connection: Connection, which: sa.ColumnElement[bool]) -> int:
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


def asked_of(connection: Connection, run: str) -> set[str]:
    """Ids of the items and circuits that a run was asked for."""
    return {
        *connection.scalars(select(run_items.c.item).where(run_items.c.run == run)),
        *connection.scalars(select(run_circuits.c.circuit).where(run_circuits.c.run == run)),
    }


def spec_of(connection: Connection, run: str) -> str:
    """The spec of a run; empty where there is no such run."""
    return connection.scalar(select(runs.c.spec).where(runs.c.name == run)) or ""


def clear(connection: Connection) -> None:
    """Strike out everything but the store's identity and the lease."""
    for table in (run_circuits, run_items, runs, *(kind.table for kind in KINDS.values()), items):
        connection.execute(delete(table))


def set_states(connection: Connection, states: Iterable[Mapping[str, Any]]) -> None:
    """State, error, attempts and time of the last change of items, each given with its `id`."""
    values = {name: sa.bindparam(f"new_{name}") for name in ("state", "error", "attempts", "changed_ms")}
    statement = update(items).where(items.c.id == sa.bindparam("new_id")).values(values)
    for chunk in chunks(states):
        connection.execute(statement, [{f"new_{name}": value for name, value in row.items()} for row in chunk])


def unanswered(connection: Connection) -> list[str]:
    """Ids of the items that have no discovery."""
    lacking = select(items.c.id).where(~exists().where(discoveries.c.id == items.c.id))
    return list(connection.execute(lacking).scalars())


def strike_items(connection: Connection, ids: Collection[str]) -> None:
    """Delete items that nothing refers to."""
    for chunk in chunks(ids):
        connection.execute(delete(items).where(items.c.id.in_(chunk)))
