"""Two circuits against each other: the union of their edges, gains by layer, and what the images alone change."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Response
from pydantic import BaseModel

from ...circuits import CircuitRecord
from ...plain import plain
from ...query import CircuitPair, compare_pair, pair_floors
from ...results import Table
from ..columns import Picture, picture_of_pair
from ..opened import Shared
from ..rows import As, Form, Rows, answer

routes = APIRouter()

_SHOWN = (
    "class", "condition", "model", "dataset", "image_group", "form", "method", "metric", "corruption", "direction",
    "extraction", "n_edges", "faithfulness", "faithfulness_random", "retention", "flag",
)  # fmt: skip


class Side(BaseModel):
    """One of the two circuits: its id, its question, and properties by name."""

    id: str
    title: str
    properties: dict[str, Any]


class LayerGain(BaseModel):
    """The edges that are read in a layer, or by the logits.

    Attributes:
        layer: the layer of the receiver; None for the logits.
        both: number of edges that both circuits have.
        a: number of edges that only the first one has. Likewise `b`.
    """

    layer: int | None
    both: int
    a: int
    b: int


class DiffPage(BaseModel):
    """What the page of two circuits shows.

    Attributes:
        change: whether edges that only b has are called gained, and those that only a has lost.
        differing: the properties in which the two differ.
        picture: the union of the two.
        layers: the edges by the layer of their receiver.
        chance: expected jaccard of random sets of these numbers of edges; None across forms. Likewise `p_chance`.
    """

    a: Side
    b: Side
    change: bool
    differing: list[str]
    notes: list[str]
    picture: Picture
    layers: list[LayerGain]
    jaccard: float
    chance: float | None
    p_chance: float | None


class DiffFloors(BaseModel):
    """How much the two differ when only the images differ; None if unknown.

    Attributes:
        a: mean jaccard of the circuits of two halves of the images of a. Likewise `b`.
        changed_a: edges that appear gained, and equally many lost, between such halves. Likewise `changed_b`.
        swapped: edges that change if a and b are swapped at random for each image, `swapped_high` in 95 % of the swaps.
        p_swapped: probability that so many edges change by swapping.
        notes: what the noise floor leaves out.
    """

    a: float | None
    b: float | None
    changed_a: float | None
    changed_b: float | None
    swapped: float | None
    swapped_high: float | None
    p_swapped: float | None
    notes: list[str]


@routes.get("/diff")
def diff(opened: Shared, a: str, b: str) -> DiffPage:
    """Return two circuits edge by edge; an error names the fields if they are not comparable."""
    pair = compare_pair(opened.store, a, b)
    first, second = map(_side, pair.records)
    return DiffPage(
        a=first,
        b=second,
        change=pair.change,
        differing=list(pair.differing),
        notes=list(pair.notes),
        picture=picture_of_pair(pair),
        layers=_layers(pair),
        jaccard=pair.jaccard,
        chance=pair.chance,
        p_chance=pair.p_chance,
    )


@routes.get("/diff/floors")
def floors(opened: Shared, a: str, b: str) -> DiffFloors:
    """Return how much two circuits differ when only the images differ; takes seconds for large graphs."""
    found = pair_floors(opened.store, compare_pair(opened.store, a, b))
    swapped = found.swapped
    return DiffFloors(
        a=found.a and found.a.value,
        b=found.b and found.b.value,
        changed_a=found.a and found.a.n_changed,
        changed_b=found.b and found.b.n_changed,
        swapped=swapped and swapped.mean,
        swapped_high=swapped and swapped.high,
        p_swapped=swapped and swapped.p,
        notes=list(found.notes),
    )


@routes.get("/diff/edges", response_model=Rows)
def edges(opened: Shared, a: str, b: str, form: As = Form.rows) -> Rows | Response:
    """Return a row for each edge that one of the two circuits has."""
    pair = compare_pair(opened.store, a, b)
    name = "diff-" + "-".join(record.id[:12] for record in pair.records)
    return answer(Table(pair.to_pandas(), pair.notes), form, name)


def _side(record: CircuitRecord) -> Side:
    properties = record.properties()
    return Side(id=record.id, title=record.item.text, properties={name: plain(properties[name]) for name in _SHOWN})


def _layers(pair: CircuitPair) -> list[LayerGain]:
    universe = pair.circuits[0].universe
    layers = np.array([-1 if c.layer is None else c.layer for c in universe.components])
    at = layers[universe.edges.receiver[pair.index]]
    sides = np.array(pair.sides, dtype=object)
    order = [*range(layers.max() + 1), -1]
    counts = {side: [int(((at == layer) & (sides == side)).sum()) for layer in order] for side in ("both", "a", "b")}
    return [
        LayerGain(layer=None if layer < 0 else layer, both=both, a=a, b=b)
        for layer, both, a, b in zip(order, counts["both"], counts["a"], counts["b"], strict=True)
    ]
