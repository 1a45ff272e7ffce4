"""Runs and items in the catalog: requests of runs and states of items.

Every function runs in the transaction of its connection. Write transactions are serialized (`Catalog.writing`), so
there is no race between looking up a row and inserting it.
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
from .kinds import KINDS, RESPONSES, StoredKind, answering_kinds, examples_of_items, values_of_runs
from .lease import now_ms
from .runs import Run, RunRequest
from .sql import bytewise, chunks, insert_new, parsed, storable
from .tables import circuits, items, leases, responses, run_circuits, run_items, run_values, runs, store

LOST = "its answer came from elsewhere and is lost; store it again"
"""Error of an item whose answer was imported and is missing, and cannot be computed."""


def add_store(connection: Connection, id: str) -> None:
    """Insert the store's id and its lease, unless they exist."""
    if connection.execute(select(store.c.id)).first() is None:
        connection.execute(insert(store).values(id=id, created_ms=now_ms()))
    insert_new(connection, leases, [{"name": WRITER, "owner": None, "until_ms": 0}])


def add_run(connection: Connection, request: RunRequest) -> None:
    """Insert a run with its items and requested circuits; if it exists, replace its spec and add what is new."""
    times = {"created_ms": request.created_ms, "changed_ms": request.created_ms}
    if not insert_new(connection, runs, [{"name": request.run, "spec": request.spec, **times}]):
        latest = {"spec": request.spec, "changed_ms": request.created_ms}
        connection.execute(update(runs).where(runs.c.name == request.run).values(**latest))
    add_items(connection, request.items, request.created_ms)
    last = connection.execute(select(sa.func.max(run_items.c.position)).where(run_items.c.run == request.run)).scalar()
    start = 0 if last is None else last + 1
    positions = [
        {"run": request.run, "item": item.id, "position": start + i} for i, item in enumerate(_once(request.items))
    ]
    insert_new(connection, run_items, positions)
    _want_circuits(connection, request)
    kept = [{"run": request.run, "kind": kind, "value": id} for kind, id in dict.fromkeys(request.values)]
    insert_new(connection, run_values, kept)


def _once(wanted: Sequence[WorkItem]) -> list[WorkItem]:
    return list({w.id: w for w in wanted}.values())


def add_items(connection: Connection, wanted: Sequence[WorkItem], changed_ms: int) -> None:
    """Insert items that do not exist yet; those with imported answers are failed until the answers are stored."""
    insert_new(connection, items, [item_row(w, "wanted", changed_ms) for w in _once(wanted)])


def item_row(item: WorkItem, state: str, changed_ms: int) -> dict[str, Any]:
    """Return the catalog's row of an item without attempts."""
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
        "image_group": item.selection.group,
        "condition": item.condition.text,
        "method": recipe.method.text,
        "form": recipe.form,
        "corruption": recipe.corruption.text,
        "metric": recipe.metric.text,
        "item": json.dumps(item.to_dict(), ensure_ascii=False),
    }


def _want_circuits(connection: Connection, request: RunRequest) -> None:
    """Insert the requested circuits of a run, stored or not."""
    rows: dict[str, dict[str, Any]] = {}  # by id, because equal extractions may differ in it: n=1 and n=1.0
    for item, extraction in request.circuits:
        circuit, text = circuit_id(item, extraction), json.dumps(extraction.to_dict(), ensure_ascii=False)
        rows[circuit] = {"run": request.run, "circuit": circuit, "item": item, "extraction": text}
    insert_new(connection, run_circuits, list(rows.values()))


def listed_runs(connection: Connection) -> dict[str, Run]:
    """Return every run, by name."""
    items_of: dict[str, list[str]] = {}
    for run, item in connection.execute(select(run_items.c.run, run_items.c.item).order_by(run_items.c.position)):
        items_of.setdefault(run, []).append(item)
    circuits_of: dict[str, list[str]] = {}
    for run, circuit in connection.execute(select(run_circuits.c.run, run_circuits.c.circuit)):
        circuits_of.setdefault(run, []).append(circuit)
    values_of: dict[str, list[tuple[str, str]]] = {}
    for run, kind, id in connection.execute(select(run_values.c.run, run_values.c.kind, run_values.c.value)):
        values_of.setdefault(run, []).append((kind, id))
    return {
        row.name: Run(
            row.spec,
            row.created_ms,
            row.changed_ms,
            tuple(items_of.get(row.name, ())),
            frozenset(circuits_of.get(row.name, ())),
            frozenset(values_of.get(row.name, ())),
        )
        for row in connection.execute(select(runs))
    }


def requests_of(connection: Connection, name: str) -> list[RunRequest]:
    """Reconstruct the requests of a run from the catalog: all items and circuits, at its creation and last change."""
    row = connection.execute(select(runs).where(runs.c.name == name)).one()
    joined = select(items.c.item).join(run_items, run_items.c.item == items.c.id).where(run_items.c.run == name)
    requested = [parsed(WorkItem, text) for text in connection.scalars(joined.order_by(run_items.c.position))]
    of_run = select(run_circuits.c.item, run_circuits.c.extraction).where(run_circuits.c.run == name)
    wanted = [
        (item, parsed(Extraction, text)) for item, text in connection.execute(of_run.order_by(run_circuits.c.circuit))
    ]
    of_values = select(run_values.c.kind, run_values.c.value).where(run_values.c.run == name)
    kept = tuple((kind, id) for kind, id in connection.execute(of_values.order_by(*of_values.selected_columns)))
    times = sorted({row.created_ms, row.changed_ms})
    return [RunRequest(name, row.spec, tuple(requested), tuple(wanted), ms, kept) for ms in times]


TRIED = ("state", "error", "attempts", "changed_ms")
"""Columns of an item's row about its attempts; all others follow from the item."""


def altered_items(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield the id and the error of each item whose row or requested circuits contradict it."""
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
                yield id, f"its requested circuit {circuit} has another extraction than {text}"
        except StoreDamaged as error:
            yield id, str(error).partition("; ")[0]


def run_names(connection: Connection) -> list[str]:
    return list(
        connection.execute(select(runs.c.name).order_by(runs.c.created_ms, bytewise(connection, runs.c.name))).scalars()
    )


def known_run(connection: Connection, run: str) -> None:
    """Raise InputError with the nearest names if there is no run of this name."""
    check_known("run", run, run_names(connection))


_IS_LISTED = exists().where(
    circuits.c.id == run_circuits.c.circuit,
    *(or_(column.is_(None), exists().where(responses.c.id == column)) for column in RESPONSES.values()),
)
"""Condition that a requested circuit is stored, with the responses that it refers to."""


def pending(connection: Connection, run: str) -> list[WorkItem]:
    """Return the items of a run, in order, that have not failed and lack their answer or a requested circuit."""
    lacking = exists().where(run_circuits.c.run == run, run_circuits.c.item == items.c.id, ~_IS_LISTED)
    wanted = (
        select(items.c.item)
        .join(run_items, run_items.c.item == items.c.id)
        .where(run_items.c.run == run, items.c.state != "failed", or_(items.c.state != "done", lacking))
        .order_by(run_items.c.position)
    )
    return [parsed(WorkItem, text) for text in connection.execute(wanted).scalars()]


def missing_circuits(connection: Connection, run: str) -> list[tuple[str, Extraction]]:
    """Return (item id, extraction) of the requested circuits of a run that are not stored."""
    query = (
        select(run_circuits.c.item, run_circuits.c.extraction)
        .join(run_items, and_(run_items.c.run == run_circuits.c.run, run_items.c.item == run_circuits.c.item))
        .where(run_circuits.c.run == run, ~exists().where(circuits.c.id == run_circuits.c.circuit))
        .order_by(run_items.c.position, run_circuits.c.circuit)
    )
    return [(item, parsed(Extraction, text)) for item, text in connection.execute(query)]


def answers_of(connection: Connection, run: str, kind: StoredKind[Any]) -> list[str]:
    """Return the ids of the listed values of a kind that answer items of a run."""
    ids = kind.table.c.id
    query = select(ids).join(run_items, run_items.c.item == ids).where(run_items.c.run == run)
    return list(connection.scalars(query))


def circuits_of(connection: Connection, run: str) -> list[str]:
    """Return the ids of the circuits of a run that are listed with their responses."""
    return list(connection.scalars(select(run_circuits.c.circuit).where(run_circuits.c.run == run, _IS_LISTED)))


def responses_of(connection: Connection, run: str) -> list[str]:
    """Return the ids of the listed responses that a run keeps, or that its circuits refer to."""
    mine = select(circuits).where(circuits.c.id.in_(select(run_circuits.c.circuit).where(run_circuits.c.run == run)))
    referring = (mine.with_only_columns(column) for column in RESPONSES.values())
    referred = sa.union(*referring, values_of_runs("response", run)).subquery()
    return list(connection.scalars(select(responses.c.id).where(responses.c.id.in_(select(referred)))))


def fits_of(connection: Connection, run: str) -> list[str]:
    """Return the ids of the listed fits that a run keeps."""
    table = KINDS["fit"].table
    return list(connection.scalars(select(table.c.id).where(table.c.id.in_(values_of_runs("fit", run)))))


def examples_of(connection: Connection, run: str) -> list[str]:
    """Return the ids of the listed example images of the classes and conditions of a run."""
    mine = select(run_items.c.item).where(run_items.c.run == run)
    return list(connection.scalars(examples_of_items.where(items.c.id.in_(mine)).distinct()))


def failures(connection: Connection, run: str) -> dict[str, str]:
    """Return the error of each failed item of a run, by item id."""
    wanted = (
        select(items.c.id, items.c.error)
        .join(run_items, run_items.c.item == items.c.id)
        .where(run_items.c.run == run, items.c.state == "failed")
        .order_by(run_items.c.position)
    )
    return {id: error or "" for id, error in connection.execute(wanted)}


def set_state(connection: Connection, id: str, state: str, *, error: str | None = None, attempt: bool = False) -> int:
    """Set the state of an item; return the number of items with that id."""
    values: dict[str, Any] = {"state": state, "error": error and storable(error), "changed_ms": now_ms()}
    if attempt:
        values["attempts"] = items.c.attempts + 1
    return connection.execute(update(items).where(items.c.id == id).values(**values)).rowcount


def retry_failed(connection: Connection, run: str) -> int:
    """Reset the failed items of a run; return their number."""
    of_run = items.c.id.in_(select(run_items.c.item).where(run_items.c.run == run))
    return reset_items(connection, and_(items.c.state == "failed", of_run))


def free_leased(connection: Connection) -> int:
    """Reset the items that an earlier writer did not finish; return their number."""
    return reset_items(connection, items.c.state == "leased")


def reset_items(connection: Connection, which: sa.ColumnElement[bool]) -> int:
    """Set items to `done` if they are answered, to `failed` if their answers are imported, and else to `wanted`."""
    rows = connection.execute(select(items.c.id, items.c.item, is_answered().label("answered")).where(which)).all()
    now = now_ms()
    for chunk in chunks(rows):
        values = [_reset(row.answered, WorkItem.from_dict(json.loads(row.item))) for row in chunk]
        changes = [{"key": row.id, **value} for row, value in zip(chunk, values, strict=True)]
        change = update(items).where(items.c.id == sa.bindparam("key"))
        connection.execute(change.values(state=sa.bindparam("to"), error=sa.bindparam("why"), changed_ms=now), changes)
    return len(rows)


def _reset(answered: bool, item: WorkItem) -> dict[str, str | None]:
    if answered:
        return {"to": "done", "why": None}
    return {"to": "failed", "why": LOST} if item.is_given else {"to": "wanted", "why": None}


def delete_run(connection: Connection, run: str) -> None:
    """Delete a run and its references, but not the values that they refer to."""
    for table in (run_values, run_circuits, run_items):
        connection.execute(delete(table).where(table.c.run == run))
    connection.execute(delete(runs).where(runs.c.name == run))


def requested_ids(connection: Connection, run: str) -> set[str]:
    """Return the ids of the items and circuits that a run requests, and of the values that it keeps."""
    return {
        *connection.scalars(select(run_values.c.value).where(run_values.c.run == run)),
        *connection.scalars(select(run_items.c.item).where(run_items.c.run == run)),
        *connection.scalars(select(run_circuits.c.circuit).where(run_circuits.c.run == run)),
    }


def spec_of(connection: Connection, run: str) -> str:
    """Return the spec of a run; empty if there is no such run."""
    return connection.scalar(select(runs.c.spec).where(runs.c.name == run)) or ""


def clear(connection: Connection) -> None:
    """Delete all rows except the store's id and the lease."""
    for table in (run_values, run_circuits, run_items, runs, *(kind.table for kind in KINDS.values()), items):
        connection.execute(delete(table))


def set_states(connection: Connection, states: Iterable[Mapping[str, Any]]) -> None:
    """Set the columns `TRIED` of items, each given with its `id`."""
    values = {name: sa.bindparam(f"new_{name}") for name in ("state", "error", "attempts", "changed_ms")}
    statement = update(items).where(items.c.id == sa.bindparam("new_id")).values(values)
    for chunk in chunks(states):
        connection.execute(statement, [{f"new_{name}": value for name, value in row.items()} for row in chunk])


def is_answered() -> sa.ColumnElement[bool]:
    """Return the condition that the answer to an item is listed."""
    return or_(*(exists().where(kind.table.c.id == items.c.id) for kind in answering_kinds()))


def unanswered(connection: Connection) -> list[str]:
    """Return the ids of the items that have no answer."""
    return list(connection.scalars(select(items.c.id).where(~is_answered())))


def falsely_done(connection: Connection) -> list[str]:
    """Return the ids of the items that are `done` and have no answer."""
    return list(connection.scalars(select(items.c.id).where(items.c.state == "done", ~is_answered())))


def delete_items(connection: Connection, ids: Collection[str]) -> None:
    """Delete items that nothing refers to."""
    for chunk in chunks(ids):
        connection.execute(delete(items).where(items.c.id.in_(chunk)))
