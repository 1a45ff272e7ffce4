"""Rows as a response: JSON with types and counts for pages; CSV, JSON and Parquet to download."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import pandas as pd
from fastapi import Query, Response
from pydantic import BaseModel

from ..errors import InputError
from ..plain import as_csv, as_json, plain
from ..results import Table, parquet


class Form(StrEnum):
    """The formats of rows: `rows` for pages, the others to download."""

    rows = "rows"
    csv = "csv"
    json = "json"
    parquet = "parquet"


TYPES = {
    Form.csv: "text/csv; charset=utf-8",
    Form.json: "application/json",
    Form.parquet: "application/vnd.apache.parquet",
}
As = Annotated[Form, Query(alias="as", description="`rows` for pages; `csv`, `json`, `parquet` to download")]


class Rows(BaseModel):
    """Rows of a table.

    Attributes:
        columns: the names of the columns.
        rows: the values of each row, in the order of the columns.
        total: number of rows, also of those that are not shown.
        notes: messages about the rows.
        facts: values about the rows as a whole.
    """

    columns: list[str]
    rows: list[list[Any]]
    total: int
    notes: list[str] = []
    facts: dict[str, Any] = {}


def answer(table: Table | pd.DataFrame, form: Form, name: str, *, total: int | None = None) -> Rows | Response:
    """Return rows in a format; to download, the file is called `NAME.SUFFIX`.

    Raises:
        InputError: Parquet cannot store the rows.
    """
    table = table if isinstance(table, Table) else Table(table)
    if form is not Form.rows:
        return Response(_packed(table, form), media_type=TYPES[form], headers=attachment(f"{name}.{form}"))
    rows = [[plain(value) for value in row] for row in table.frame.itertuples(index=False, name=None)]
    columns = [str(column) for column in table.frame.columns]
    facts = {name: plain(value) for name, value in table.facts.items()}
    return Rows(
        columns=columns, rows=rows, total=len(rows) if total is None else total, notes=list(table.notes), facts=facts
    )


def attachment(name: str) -> dict[str, str]:
    """Return the header that names a downloaded file; names have only letters, digits, `-`, `_` and `.`."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name)
    return {"content-disposition": f'attachment; filename="{safe}"'}


def _packed(table: Table, form: Form) -> bytes:
    match form:
        case Form.csv:
            return as_csv(table.frame).encode("utf-8", "backslashreplace")
        case Form.json:
            return as_json(table.frame).encode("utf-8", "backslashreplace")
        case Form.parquet:
            return parquet(table.frame)
    raise InputError(f"as: expected {', '.join(TYPES)}, got {form}")
