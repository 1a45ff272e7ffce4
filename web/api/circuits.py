"""The list of circuits."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from ..opened import Shared
from ..rows import As, Form, Rows, answer

routes = APIRouter()

MAX_PAGE = 1_000
"""Maximum number of circuits in one answer for a page."""


@routes.get("/circuits", response_model=Rows)
def circuits(
    opened: Shared,
    run: str | None = None,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    form: As = Form.rows,
) -> Rows | Response:
    """Return circuits, newest first."""
    found = opened.store.circuits(run)
    shown = found if form is not Form.rows else found.iloc[offset : offset + limit]
    return answer(shown, form, "circuits", total=len(found))
