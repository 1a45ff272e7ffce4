"""Queries: named ones as forms, and Cypher through the checks of the store."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from ...notation import read_json
from ...query import is_name, named_queries, run
from ...query.parameters import Only
from ..opened import Shared
from ..rows import As, Form, Rows, answer

routes = APIRouter(prefix="/query", tags=["query"])

MAX_S, MAX_ROWS = 30.0, 10_000
PREFIX = "p."
"""Before the name of a parameter of a query in the parameters of a request."""


class Parameter(BaseModel):
    """A parameter of a named query.

    Attributes:
        required: whether it must be given.
        default: the default as text; empty if it is required, or the only value in the store.
    """

    name: str
    type: str
    required: bool
    default: str
    about: str


class Named(BaseModel):
    """A named query.

    Attributes:
        columns: what each column of the answer means.
        cypher: its text; empty if the answer is computed from the archive.
    """

    name: str
    about: str
    parameters: list[Parameter]
    columns: dict[str, str]
    cypher: str


@routes.get("/named")
def named() -> list[Named]:
    """Return the named queries."""
    return [
        Named(
            name=query.name,
            about=query.about,
            parameters=[
                Parameter(
                    name=p.name, type=p.type, required=p.default is None, default=_as_text(p.default), about=p.about
                )
                for p in query.parameters
            ],
            columns=dict(query.columns),
            cypher=query.text,
        )
        for query in named_queries().values()
    ]


def _as_text(default: Any) -> str:
    if default is None or isinstance(default, Only):
        return ""
    return default if isinstance(default, str) else json.dumps(default)


@routes.get("", response_model=Rows)
async def query(
    request: Request,
    opened: Shared,
    text: Annotated[str, Query(description="Cypher, or the name of a named query", max_length=20_000)],
    of_run: Annotated[str | None, Query(alias="run", description="only circuits of this run")] = None,
    flagged: Annotated[bool, Query(description="whether flagged circuits count")] = False,
    timeout_s: Annotated[float, Query(gt=0, le=MAX_S)] = MAX_S,
    max_rows: Annotated[int, Query(ge=1, le=MAX_ROWS)] = MAX_ROWS,
    form: As = Form.rows,
) -> Rows | Response:
    """Return the rows of a query. Values of its parameters are given as `p.NAME=VALUE`, in Cypher as JSON or text.

    At most two queries run at a time; others wait. A query is stopped when the reader closes the connection.
    """
    params = _values(request, text)

    def ask() -> Rows | Response:
        options = {"run": of_run, "flagged": flagged, "timeout_s": timeout_s, "max_rows": max_rows}
        return answer(run(opened.store, text, params, **options), form, text if is_name(text) else "query")

    return await opened.turns.run(request, ask)


def _values(request: Request, text: str) -> dict[str, Any]:
    given = [
        (name.removeprefix(PREFIX), value)
        for name, value in request.query_params.multi_items()
        if name.startswith(PREFIX)
    ]
    return {name: value if is_name(text) else _json_or_text(name, value) for name, value in given if value != ""}


def _json_or_text(name: str, value: str) -> Any:
    try:
        return read_json(value, f"parameter {name}")
    except json.JSONDecodeError:
        return value
