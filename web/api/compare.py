"""The API of the comparison page: what can be compared, and similarities and noise floors as arrays."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from ...circuits import dendrogram_order
from ...query.compare import floor_notes
from ...query.groups import FIELDS
from ...query.measures import MEASURES
from ...results import Table
from ..arrays import ARRAYS, packed
from ..comparison import Wanted, compare_group, facts_of, find_groups, half, pairs_table, with_noise_floors
from ..opened import Shared
from ..rows import As, Form, Rows, answer

routes = APIRouter(prefix="/compare")


class GroupChoice(BaseModel):
    """A group of circuits that differ in one field only.

    Attributes:
        size: number of values of the field.
        values: values of the other fields in which the groups differ.
    """

    size: int
    values: dict[str, str]


class Choices(BaseModel):
    """What can be compared.

    Attributes:
        fields: fields to compare by.
        measures: what each measure measures.
        groups: the groups for the given field, the largest first.
    """

    fields: list[str]
    measures: dict[str, str]
    groups: list[GroupChoice]


def wanted(
    request: Request, by: str = "class", measure: str = "jaccard", run: str | None = None, flagged: bool = False
) -> Wanted:
    """Return what a request compares; query parameters that are fields select circuits."""
    equals = {name: value for name, value in request.query_params.items() if name in FIELDS}
    return Wanted(by, measure, run, flagged, equals)


Asked = Annotated[Wanted, Depends(wanted)]


@routes.get("/groups")
def groups(opened: Shared, by: str = "class", run: str | None = None, flagged: bool = False) -> Choices:
    """Return what can be compared by a field."""
    found = find_groups(opened.store, by, run, flagged=flagged)
    varying = found.varying
    listed = [
        GroupChoice(size=size, values={field: common[field] for field in varying if field in common})
        for common, size in zip(found.common, found.sizes, strict=True)
    ]
    measures = {key: measure.about for key, measure in MEASURES.items()}
    return Choices(fields=list(FIELDS), measures=measures, groups=listed)


@routes.get("/similarities", response_class=Response, responses={200: {"content": {ARRAYS: {}}}})
def similarities(opened: Shared, asked: Asked) -> Response:
    """Return the similarities and chance levels of all pairs of a group, and its order in a dendrogram.

    Arrays: `values` and `chance` of each pair (row by row, with the diagonal, float16), `order` (int32). Facts: see
    `comparison.facts_of`. The noise floors, which take up to ten seconds, are at `floors`.
    """
    compared, notes = compare_group(opened.store, asked)
    similarity = compared.similarity
    arrays = {name: half(getattr(similarity, name)).astype(np.float16) for name in ("values", "chance")}
    order = np.array(dendrogram_order(similarity.values), np.int32)
    return Response(packed({**arrays, "order": order}, facts_of(compared, notes)), media_type=ARRAYS)


@routes.get("/floors", response_class=Response, responses={200: {"content": {ARRAYS: {}}}})
def floors(opened: Shared, asked: Asked) -> Response:
    """Return the noise floors of the same pairs, on the diagonal of each circuit; NaN where they are unknown."""
    compared = with_noise_floors(opened.store, compare_group(opened.store, asked)[0])
    facts = {"noise_floor": compared.similarity.noise_floor, "floor_notes": list(floor_notes([compared]))}
    return Response(packed({"floors": half(compared.similarity.floors).astype(np.float16)}, facts), media_type=ARRAYS)


@routes.get("/pairs", response_model=Rows)
def pairs(
    opened: Shared, asked: Asked, limit: Annotated[int, Query(ge=1, le=1_000)] = 100, form: As = Form.rows
) -> Rows | Response:
    """Return the pairs of a group with their circuits, the most similar first; all pairs to download."""
    compared, notes = compare_group(opened.store, asked)
    table = pairs_table(with_noise_floors(opened.store, compared))
    shown = table if form is not Form.rows else table.head(limit)
    return answer(Table(shown, notes), form, f"{asked.measure}-by-{asked.by}", total=len(table))
