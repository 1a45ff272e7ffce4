"""What the statements of the catalog share: rows in chunks, rows that are new, texts that every database holds."""

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
"""Rows a statement: databases limit the parameters of one."""


def chunks(values: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk


def bytewise(connection: Connection, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A column as a key to sort by: texts by their code points, whatever the language of the database."""
    if not isinstance(column.type, sa.String):
        return column
    return column.collate("BINARY" if connection.dialect.name == "sqlite" else "C")


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


def storable(text: str) -> str:
    """A text as every database can hold it: what is no character (half a surrogate pair, NUL) is written out."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def parsed(kind: type[P], text: str) -> P:
    """An item or extraction from its JSON in the catalog.

    Raises:
        StoreDamaged: it is none.
    """
    try:
        return kind.from_dict(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreDamaged(
            f"the catalog holds {text[:60]!r}… where a {kind.__name__} should be ({type(error).__name__}: {error}); "
            "run: circuitstore rebuild, which makes it again from the archive"
        ) from error
