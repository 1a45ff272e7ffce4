"""Tables of runs, items, circuits, responses, example images, read-outs, fits and notes, from the catalog."""

from __future__ import annotations

import json
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy import Connection, Select, exists, func, select

from ..circuits import HYPOTHESIS_STATES, Extraction, Subject, WorkItem
from ..errors import InputError, check_known, cut
from ..results import Table
from . import ledger, sql
from .cypher.values import plain
from .kinds import DISCOVERY, KINDS
from .tables import STATES, run_circuits, run_items
from .tables import circuits as circuits_table
from .tables import examples as examples_table
from .tables import fits as fits_table
from .tables import items as items_table
from .tables import notes as notes_table
from .tables import readouts as readouts_table
from .tables import responses as responses_table
from .tables import runs as runs_table

ITEM = "item"
"""Name of the items in `resolve`, in addition to the kinds of values."""


def _frame(connection: Connection, query: Select[*tuple[Any, ...]]) -> pd.DataFrame:
    """Return the rows of a query; missing numbers are NaN, missing counts `<NA>`."""
    result = connection.execute(query)
    frame = pd.DataFrame.from_records([tuple(row) for row in result], columns=list(result.keys()))
    for column in query.selected_columns:
        if isinstance(column.type, sa.Double):
            frame[column.name] = frame[column.name].astype("float64")
        elif column.name == "size_requested":
            frame[column.name] = frame[column.name].astype("Int64")
    return frame


def runs(connection: Connection) -> pd.DataFrame:
    """See `Store.runs`."""

    def items_in(state: str | None) -> sa.ScalarSelect[int]:
        query = (
            select(func.count()).select_from(run_items).join(items_table).where(run_items.c.run == runs_table.c.name)
        )
        return (query if state is None else query.where(items_table.c.state == state)).scalar_subquery()

    worked = select(func.max(items_table.c.changed_ms)).select_from(run_items).join(items_table)
    last = worked.where(run_items.c.run == runs_table.c.name).scalar_subquery()
    changed = sa.case((last > runs_table.c.changed_ms, last), else_=runs_table.c.changed_ms)
    wanted = select(func.count()).select_from(run_circuits).where(run_circuits.c.run == runs_table.c.name)
    there = wanted.where(exists().where(circuits_table.c.id == run_circuits.c.circuit))
    columns = [items_in(s).label(s) for s in ("done", "leased", "failed", "wanted")]
    query = select(
        runs_table.c.name.label("run"),
        items_in(None).label("items"),
        *columns,
        there.scalar_subquery().label("circuits"),
        wanted.scalar_subquery().label("circuits_wanted"),
        runs_table.c.created_ms,
        changed.label("changed_ms"),
        runs_table.c.spec,
    )
    return _frame(connection, query.order_by(runs_table.c.created_ms, sql.bytewise(connection, runs_table.c.name)))


def items(connection: Connection, run: str | None, state: str | None) -> pd.DataFrame:
    """See `Store.items`."""
    shown = [c for c in items_table.c if c.name not in ("item", "changed_ms")]
    query = select(*shown, items_table.c.changed_ms)
    if state is not None:
        check_known("state", state, STATES)
        query = query.where(items_table.c.state == state)
    if run is None:
        return _frame(connection, query.order_by(items_table.c["class_index"], items_table.c.id))
    ledger.known_run(connection, run)
    query = query.join(run_items, run_items.c.item == items_table.c.id).where(run_items.c.run == run)
    return _frame(connection, query.order_by(run_items.c.position))


_IMAGES = ("model", "dataset", "class_index", "image_group", "condition")
ORDER = (*_IMAGES, "method", "form", "corruption", "metric", "extraction", "id")


_later = circuits_table.alias("later")
_LATER = exists().where(
    _later.c.question == circuits_table.c.question,
    sa.or_(
        _later.c.created_ms > circuits_table.c.created_ms,
        sa.and_(_later.c.created_ms == circuits_table.c.created_ms, _later.c.id > circuits_table.c.id),
    ),
)
"""Condition that a later circuit answers the same question. Every collation sorts the hexadecimal ids alike."""


def circuits(
    connection: Connection, run: str | None, equals: Mapping[str, Any], columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """See `Store.circuits`."""
    of_run = None if run is None else _of_run(connection, run)
    newest = ~(_LATER if of_run is None else _LATER.where(_later.c.id.in_(of_run)))
    counts = sa.and_(newest, circuits_table.c.flag == "")
    there = {**circuits_table.c, "newest": newest, "counts": counts}
    shown = [there[name].label(name) for name in _known("circuits", there, there if columns is None else columns)]
    query = select(circuits_table).with_only_columns(*shown)
    query = query.order_by(*(sql.bytewise(connection, circuits_table.c[name]) for name in ORDER))
    if of_run is not None:
        query = query.where(circuits_table.c.id.in_(of_run))
    return _frame(connection, query.where(*_equal("circuits", there, equals)))


@dataclass(frozen=True)
class Part:
    """Some rows of a long table.

    Attributes:
        sort: the column by which the rows are sorted; rows without a value come last.
        descending: whether large values come first.
        offset: number of rows before the first one.
        limit: maximum number of rows.

    Raises:
        InputError: a negative number.
    """

    sort: str = "created_ms"
    descending: bool = True
    offset: int = 0
    limit: int = 100

    def __post_init__(self) -> None:
        if self.offset < 0 or self.limit < 0:
            raise InputError(f"expected offset and limit of at least 0, got {self.offset} and {self.limit}")


FIRST = Part()
"""The newest rows."""


def part_of_circuits(connection: Connection, run: str | None, equals: Mapping[str, Any], part: Part) -> Table:
    """See `Store.part_of_circuits`."""
    of_run = None if run is None else _of_run(connection, run)
    newest = ~(_LATER if of_run is None else _LATER.where(_later.c.id.in_(of_run)))
    there = {**circuits_table.c, "newest": newest, "counts": sa.and_(newest, circuits_table.c.flag == "")}
    chosen = select(circuits_table.c.id).where(*_equal("circuits", there, equals))
    if of_run is not None:
        chosen = chosen.where(circuits_table.c.id.in_(of_run))
    total = connection.scalar(select(func.count()).select_from(chosen.subquery()))
    (name,) = _known("circuits", circuits_table.c.keys(), [part.sort])
    key = sql.bytewise(connection, circuits_table.c[name])
    order = (circuits_table.c[name].is_(None), key.desc() if part.descending else key, circuits_table.c.id)
    ids = list(connection.scalars(chosen.order_by(*order).limit(part.limit).offset(part.offset)))
    # only now the columns that are computed for each row
    shown = [column.label(name) for name, column in there.items()]
    found = _frame(connection, select(*shown).where(circuits_table.c.id.in_(ids)))
    return Table(found.set_index("id", drop=False).loc[ids].reset_index(drop=True), facts={"total": total})


def responses(connection: Connection, run: str | None, equals: Mapping[str, Any]) -> pd.DataFrame:
    """See `Store.responses`."""
    query = select(responses_table).where(*_equal("responses", dict(responses_table.c.items()), equals))
    if run is not None:
        ledger.known_run(connection, run)
        query = query.where(responses_table.c.id.in_(ledger.responses_of(connection, run)))
    order = (*_IMAGES, "metric", "corruption", "intervention", "id")
    return _frame(connection, query.order_by(*(sql.bytewise(connection, responses_table.c[name]) for name in order)))


def examples(connection: Connection, run: str | None, equals: Mapping[str, Any]) -> pd.DataFrame:
    """See `Store.examples`."""
    query = select(examples_table).where(*_equal("examples", dict(examples_table.c.items()), equals))
    if run is not None:
        ledger.known_run(connection, run)
        query = query.where(examples_table.c.id.in_(ledger.examples_of(connection, run)))
    order = (*_IMAGES, "id")
    return _frame(connection, query.order_by(*(sql.bytewise(connection, examples_table.c[name]) for name in order)))


def readouts(connection: Connection, run: str | None, equals: Mapping[str, Any]) -> pd.DataFrame:
    """See `Store.readouts`."""
    query = select(readouts_table).where(*_equal("readouts", dict(readouts_table.c.items()), equals))
    if run is not None:
        ledger.known_run(connection, run)
        query = query.where(readouts_table.c.id.in_(ledger.answers_of(connection, run, KINDS["readout"])))
    order = (*_IMAGES, "readout", "corruption", "metric", "id")
    return _frame(connection, query.order_by(*(sql.bytewise(connection, readouts_table.c[name]) for name in order)))


def fits(connection: Connection, run: str | None, equals: Mapping[str, Any]) -> pd.DataFrame:
    """See `Store.fits`."""
    query = select(fits_table).where(*_equal("fits", dict(fits_table.c.items()), equals))
    if run is not None:
        ledger.known_run(connection, run)
        query = query.where(fits_table.c.id.in_(ledger.fits_of(connection, run)))
    order = ("model", "dataset", "thing", "fit", "id")
    return _frame(connection, query.order_by(*(sql.bytewise(connection, fits_table.c[name]) for name in order)))


def notes(
    connection: Connection, about: Subject | None, state: str | None, tag: str | None, replaced: bool
) -> pd.DataFrame:
    """See `Store.notes`."""
    table, later = notes_table, notes_table.alias("later")
    query = select(*(c for c in table.c if c.name != "sha256")).order_by(table.c.created_ms, table.c.id)
    if not replaced:
        query = query.where(~exists().where(later.c.replaces == table.c.id))
    if state is not None:
        check_known("state of a hypothesis", state, HYPOTHESIS_STATES)
        query = query.where(table.c.state == state)
    rows = []
    for row in connection.execute(query).mappings():
        subjects = {name: json.loads(row[name]) for name in ("about", "evidence")}
        if about is not None and not any(Subject.of(text).concerns(about) for text in subjects["about"]):
            continue
        if tag is None or tag in row["tags"].split(", "):
            rows.append({**row, **{name: ", ".join(texts) for name, texts in subjects.items()}})
    return pd.DataFrame(rows, columns=[column.name for column in query.selected_columns])


def _of_run(connection: Connection, run: str) -> Select[Any]:
    """Return a query for the ids of the circuits that a run requests."""
    ledger.known_run(connection, run)
    return select(run_circuits.c.circuit).where(run_circuits.c.run == run)


def _known(table: str, there: Collection[str], names: Iterable[str]) -> list[str]:
    """Return the names, after checking that they are columns."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InputError(f"expected names of columns, such as ['class'], got {cut(repr(names))}")
    for name in (known := list(names)):
        check_known(f"column of {table}", name, there)
    return known


def _equal(table: str, there: Mapping[str, Any], equals: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    """Return the conditions that columns, or expressions of columns, have these values."""
    _known(table, there, equals)
    return [
        _is_one_of(column, value) if isinstance(column := there[name], sa.Column) else column if value else ~column
        for name, value in equals.items()
    ]


def count_circuits(connection: Connection, columns: Sequence[str], run: str | None = None) -> pd.DataFrame:
    """See `Store.count_circuits`."""
    shown = [circuits_table.c[name] for name in _known("circuits", circuits_table.c.keys(), columns)]
    query = select(*shown, func.count().label("circuits")).group_by(*shown)
    return _frame(connection, query if run is None else query.where(circuits_table.c.id.in_(_of_run(connection, run))))


def _is_one_of(column: sa.Column[Any], value: object) -> sa.ColumnElement[bool]:
    """Return the condition that a column has a value, or one of a collection of values; None is a missing value."""
    several = _several(column.name, value)
    there = column.in_([plain for v in several if (plain := _plain(column.type, v)) is not None])
    return sa.or_(there, column.is_(None)) if any(v is None for v in several) else there


def _several(name: str, value: object) -> Sequence[Any]:
    """Return the values of a collection of any supported type, or a single value in a list."""
    if isinstance(value, list | tuple | Set | np.ndarray | pd.Series | pd.Index):
        return [plain(name, v) for v in value]
    found = plain(name, value)
    return found if isinstance(found, list) else [found]


def _plain(type_: sa.types.TypeEngine[Any], value: Any) -> str | int | float | None:
    """Convert a value, a number or its text, to the type of a column; return None if that is impossible.

    Databases differ in their treatment of values of another type: some match them, some do not, some raise an error.
    """
    kind = type_.python_type
    with suppress(TypeError, ValueError, OverflowError):
        if kind is str:
            text = value if isinstance(value, str) else str(operator.index(value))
            return text if text == sql.storable(text) else None
        number = kind(value) if isinstance(value, str) or kind is float else operator.index(value)
        bits = 63 if isinstance(type_, sa.BigInteger) else 31
        return number if kind is float or -(2**bits) <= number < 2**bits else None
    return None


def work_items(connection: Connection, ids: Iterable[str]) -> dict[str, WorkItem]:
    """Return the work items with these ids, by id."""
    found = {}
    for chunk in sql.chunks(ids):
        rows = connection.execute(select(items_table.c.id, items_table.c.item).where(items_table.c.id.in_(chunk)))
        found |= {id: sql.parsed(WorkItem, text) for id, text in rows}
    return found


def resolve_discovery(connection: Connection, id: str) -> str:
    """Return the full id of a discovery, given its id or that of one of its circuits, or the first digits.

    Raises:
        InputError: none or several match.
    """
    try:
        circuit = resolve(connection, "circuit", id)
    except InputError:
        return resolve(connection, "discovery", id)
    query = select(circuits_table.c.discovery_id).where(circuits_table.c.id == circuit)
    return str(connection.scalar(query))


def extractions(connection: Connection, ids: Iterable[str]) -> dict[str, Extraction]:
    """Return the extractions of the circuits with these ids that a run requests, by id."""
    found = {}
    for chunk in sql.chunks(ids):
        query = select(run_circuits.c.circuit, run_circuits.c.extraction).where(run_circuits.c.circuit.in_(chunk))
        found |= {id: sql.parsed(Extraction, text) for id, text in connection.execute(query)}
    return found


def resolve(connection: Connection, kind: str, id: str) -> str:
    """Return the full id of the only value of a kind, or of the only item, whose id begins with `id`.

    Raises:
        InputError: none or several match, or `id` is not text.
    """
    if not isinstance(id, str):
        raise InputError(f"expected the id of a {kind}, or its beginning, as text, got {type(id).__name__}")
    table = items_table if kind == ITEM else KINDS[kind].table
    if connection.scalar(select(table.c.id).where(table.c.id == sql.storable(id))) == id:
        return id
    begins = func.substr(table.c.id, 1, len(id)) == id  # databases differ in whether LIKE is case-sensitive
    query = select(table.c.id).where(begins).order_by(table.c.id).limit(5)
    found = list(connection.execute(query).scalars()) if id == sql.storable(id) else []
    if len(found) == 1 and id:
        return found[0]
    if not found:
        raise InputError(
            f"no {kind} has an id that begins with {cut(id)!r}; the ids are in the table of "
            f"{'items' if kind in (DISCOVERY.name, ITEM) else KINDS[kind].folder}"
        )
    raise InputError(f"several ids begin with {cut(id)!r}: {', '.join(f[:16] for f in found)} …; give more digits")
