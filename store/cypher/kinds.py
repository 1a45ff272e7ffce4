"""The kinds of values in a query (text, whole number, number, truth value, list), and which can be combined.

LadybugDB gives every expression a type and silently casts values of other types: 3 to '3', 2.5 to 2. Neo4j compares the
values: 3 is not '3', and a comparison of different types is null. So combining different kinds is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from .schema import CIRCUIT, FEEDS, NODE, NOTE, SHARED, SIMILAR
from .tokens import words


@dataclass(frozen=True)
class Kind:
    """The kind of the values of an expression.

    Attributes:
        name: name in messages.
        of: kind of a list's elements.
        has_null: whether a list may contain null.
    """

    name: str
    of: Kind | None = None
    has_null: bool = False

    def __str__(self) -> str:
        return self.name if self.of is None or self.of in (ANY, NULL) else f"list of {self.of}s"

    @property
    def is_number(self) -> bool:
        return self in (WHOLE, NUMBER)


ANY = Kind("value")
"""Unknown from the text."""

NULL = Kind("null")
TEXT, WHOLE, NUMBER, TRUTH = Kind("text"), Kind("whole number"), Kind("number"), Kind("truth value")
ENTITY = Kind("node, relationship or path")

_OURS = {"schema": WHOLE, "lease_owner": TEXT, "lease_until_ms": WHOLE, "version": WHOLE, "checksum": TEXT}
_OF_ARROW = {pa.string(): TEXT, pa.int64(): WHOLE, pa.float64(): NUMBER, pa.bool_(): TRUTH}

PROPERTIES: Mapping[str, Kind] = _OURS | {
    field.name: _OF_ARROW.get(field.type, ANY)
    for schema in (*SHARED.values(), CIRCUIT, NODE, FEEDS, SIMILAR, NOTE)
    for field in schema
}
"""Kinds of properties, by name only: no two labels have properties of the same name and different kinds."""


ALWAYS_THERE = words(
    "attack checksum class condition corruption dataset direction dtype edge extraction form id key kind measure "
    "method metric model name port sha256"
)
"""Text properties that are never null."""


def list_of(elements: Sequence[Kind], *, has_null: bool = False) -> Kind:
    """Return the kind of a list."""
    known = [kind for kind in elements if kind not in (NULL, ANY)]
    of = NUMBER if NUMBER in known and all(k.is_number for k in known) else known[0] if known else ANY
    return Kind("list", of, has_null or NULL in elements)


def kind_of(value: Any) -> Kind:
    """Return the kind of a parameter's value."""
    match value:
        case None:
            return NULL
        case bool():
            return TRUTH
        case int():
            return WHOLE
        case float():
            return NUMBER
        case str():
            return TEXT
        case list():
            return list_of([kind_of(v) for v in value])
    return ANY


def comparable(a: Kind, b: Kind) -> bool:
    """Return whether both engines compare values of two kinds alike."""
    if ANY in (a, b) or NULL in (a, b):
        return True
    if a.of is not None and b.of is not None:
        return comparable(a.of, b.of)
    return a == b or (a.is_number and b.is_number)


def interchangeable(a: Kind, b: Kind) -> bool:
    """Return whether one expression may have values of both kinds: LadybugDB would round numbers to whole ones."""
    return comparable(a, b) and (a == b or not (a.is_number and b.is_number))


def same(a: Kind, b: Kind) -> bool:
    """Return whether one column may have values of both kinds: LadybugDB rejects null with another kind."""
    return interchangeable(a, b) and (a == NULL) == (b == NULL)
