"""The list of circuits: filtered, sorted and cut into pages by the database."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from ...circuits import short_names
from ...store import Part, Store
from ..filters import FIELDS, Filtered
from ..opened import Shared
from ..rows import As, Form, Rows, answer

routes = APIRouter(prefix="/circuits", tags=["circuits"])

MAX_PAGE = 1_000
"""Maximum number of circuits in one answer for a page."""
KINDS = ("condition", "method", "metric", "corruption", "extraction")
"""The properties whose values are texts of kinds with parameters."""
MAX_CHOICES = 2_000
"""Maximum number of values of a property that a form offers."""


class Choices(BaseModel):
    """What circuits can be filtered by.

    Attributes:
        runs: the names of the runs.
        values: the values of each property with more than one value, with numbers of circuits, the most frequent first.
        short: the shortest distinct names of conditions and other kinds.
        single: the value of each property with only one.
        not_shown: how many further values each property has.
    """

    runs: list[str]
    values: dict[str, dict[str, int]]
    short: dict[str, dict[str, str]]
    single: dict[str, str]
    not_shown: dict[str, int]


@routes.get("", response_model=Rows)
def circuits(
    opened: Shared,
    filters: Filtered,
    run: str | None = None,
    sort: str = "created_ms",
    descending: bool = True,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    form: As = Form.rows,
) -> Rows | Response:
    """Return circuits with their properties and figures; to download, all of them, otherwise a page."""
    whole = form is not Form.rows
    part = Part(sort, descending, 0 if whole else offset, 2**31 if whole else limit)
    table = opened.store.part_of_circuits(run, part, **filters.equals)
    return answer(table, form, "circuits", total=table.facts["total"])


@routes.get("/choices")
def choices(opened: Shared) -> Choices:
    """Return what circuits can be filtered by."""
    found = {name: _counts(opened.store, name) for name in FIELDS}
    several = {name: counts for name, counts in found.items() if len(counts) > 1}
    return Choices(
        runs=list(opened.store.runs()["run"]),
        short={name: dict(short_names(several[name])) for name in KINDS if name in several},
        single={name: value for name, counts in found.items() if len(counts) == 1 for value in counts if value},
        values={name: dict(list(counts.items())[:MAX_CHOICES]) for name, counts in several.items()},
        not_shown={name: len(counts) - MAX_CHOICES for name, counts in several.items() if len(counts) > MAX_CHOICES},
    )


def _counts(store: Store, name: str) -> dict[str, int]:
    """Return the number of circuits by the value of a property, the most frequent first, then by value."""
    counted = store.count_circuits([name])
    pairs = zip(counted[name].tolist(), counted["circuits"].tolist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))
