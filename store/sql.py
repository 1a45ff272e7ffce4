"""Helpers for statements on the catalog: rows in chunks, new rows, and text that every database can store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Table, insert, select

from ..circuits import Extraction, WorkItem
from ..errors import StoreDamaged

P = TypeVar("P", WorkItem, Extraction)

CHUNK = 500
"""Rows per statement: databases limit the number of parameters."""


def chunks(values: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk


def bytewise(connection: Connection, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return a column as a sort key that orders text by code points, whatever the collation of the database."""
    if not isinstance(column.type, sa.String):
        return column
    return column.collate("BINARY" if connection.dialect.name == "sqlite" else "C")


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows whose primary key does not exist; return their number."""
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


def storable(text: str) -> str:
    """Return text that every database can store: NUL and unpaired surrogates are escaped."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def parsed(kind: type[P], text: str) -> P:
    """Parse an item or extraction from its JSON in the catalog.

    Raises:
        StoreDamaged: the JSON is not valid.
    """
    try:
        return kind.from_dict(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreDamaged(
            f"the catalog has {text[:60]!r}… instead of a {kind.__name__} ({type(error).__name__}: {error}); "
            "run circuitstore rebuild, which writes it again from the archive"
        ) from error
