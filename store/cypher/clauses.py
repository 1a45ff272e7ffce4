"""Reads a query clause by clause, and raises an error if the engines would answer it differently.

The message gives the place and what to write instead: see `expressions`, and below, a relationship that may be matched
twice. Text that cannot be read here is left to the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any

from .checks import DIFFER, Value
from .cursor import NotRead
from .expressions import Expressions
from .kinds import ANY, ENTITY, NUMBER, PROPERTIES, Kind, comparable, kind_of, same
from .tokens import Tokens

CYCLIC = "SIMILAR"
"""The only type whose relationships form cycles."""


@dataclass(frozen=True)
class Link:
    """A relationship of a pattern, or a path of many.

    Attributes:
        at: its place.
        path: number of its path.
        types: its types; none for any.
        direction: `>`, `<` or `-`.
        steps: maximum number of relationships.
    """

    at: int
    path: int
    types: frozenset[str]
    direction: str
    steps: float = 1

    def may_be(self, other: Link, between: Sequence[Link]) -> bool:
        """Return whether both may match one relationship. Along a directed path they can in a cycle only."""
        along = self.path == other.path and {link.direction for link in between} in ({">"}, {"<"})
        if along:
            return may_be_cycle(between)
        return not self.types or not other.types or bool(self.types & other.types)


def may_be_cycle(links: Sequence[Link]) -> bool:
    """Return whether consecutive links of a directed path may match a relationship twice.

    Only circuits are in cycles, by relationships of two or more circuits, so a third step may be the first one again.
    """
    return sum(link.steps for link in links) > 2 and all(not link.types or CYCLIC in link.types for link in links)


@dataclass(frozen=True)
class Reading:
    """Static knowledge about a query.

    Attributes:
        columns: names of its columns, as in the text; None if unknown.
        sorted_numbers: offsets in the text at which sort expressions end whose numbers may not be whole.
        whole_sums: offsets at which sums of whole numbers begin.
    """

    columns: tuple[str, ...] | None = None
    sorted_numbers: tuple[int, ...] = ()
    whole_sums: tuple[int, ...] = ()


def read(tokens: Tokens, params: Mapping[str, Any]) -> Reading:
    """Read the text of a query.

    Raises:
        QueryFailed: the engines would answer differently; the message gives the place and what to write instead.
    """
    return _read(tokens, tuple(sorted((name, _known(value)) for name, value in params.items())))


def _known(value: Any) -> tuple[Kind, float | None]:
    """Return the kind of a parameter's value, with 0 for the number 0 and empty text, and 1 for other scalars."""
    return kind_of(value), float(bool(value)) if isinstance(value, int | float | str) else None


@lru_cache(maxsize=64)
def _read(tokens: Tokens, params: tuple[tuple[str, tuple[Kind, float | None]], ...]) -> Reading:
    clauses = Clauses(tokens, dict(params))
    try:
        return Reading(clauses.columns(), tuple(clauses.sorted_numbers), tuple(clauses.whole_sums))
    except NotRead:
        return Reading()


class Clauses(Expressions):
    """Reads a whole query.

    `bound`: value of the variables of the current pattern. `sorted_numbers`: as in `Reading`.
    """

    def __init__(self, tokens: Tokens, params: Mapping[str, tuple[Kind, float | None]]) -> None:
        super().__init__(tokens, params)
        self.bound = Value(ENTITY)
        self.sorted_numbers: list[int] = []

    def columns(self) -> tuple[str, ...] | None:
        """Read the whole query; return the names of its columns."""
        first = found = self.part()
        while self.accept("UNION"):
            at = self.i
            self.accept("ALL", "DISTINCT")
            self.scope = {}
            found = self.part()
            for (name, a), (_, b) in zip(first or (), found or (), strict=False):
                if not same(a.kind, b.kind):
                    self.refuse(at - 1, f"column {name} is {a.kind} before UNION and {b.kind} after it; use one kind")
        self.accept(";")
        if self.i < len(self.tokens):
            raise NotRead
        return None if first is None else tuple(name for name, _ in first)

    def part(self) -> list[tuple[str, Value]] | None:
        """Read a query or a side of a UNION; return names and values of its columns."""
        while True:
            match self.expect("MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN"):
                case "MATCH":
                    self.match()
                case "OPTIONAL":
                    self.expect("MATCH")
                    self.match(optional=True)
                case "UNWIND":
                    self.unwind()
                case "WITH":
                    self.projection()
                    self.where()
                case _:
                    return self.projection()

    def unwind(self) -> None:
        whole = self.expression(unwound=True)
        self.expect("AS")
        self.scope[self.name()] = Value(
            whole.kind.of or ANY, sure=whole.kind.of is not None and not whole.kind.has_null
        )

    def where(self) -> None:
        if self.accept("WHERE"):
            self.condition()

    def projection(self) -> list[tuple[str, Value]] | None:
        """Read the part after WITH or RETURN, up to LIMIT; return the columns (None with `*`), the new scope."""
        self.accept("DISTINCT")
        columns: list[tuple[str, Value]] = []
        everything = bool(self.accept("*"))
        while not everything or self.accept(","):
            first = self.i
            value = self.expression()
            end = self.i
            name = self.name() if self.accept("AS") else " ".join(self.source(first, end).strip("`").split())
            columns.append((name, value))
            if not everything and not self.accept(","):
                break
        before, after = self.scope, dict(columns)
        self.scope = {**before, **after}
        self.ordering()
        self.scope = self.scope if everything else after
        return None if everything else columns

    def ordering(self) -> None:
        if self.accept("ORDER"):
            self.expect("BY")
            while True:
                first = self.i
                value = self.expression()
                if value.kind.of is not None or value.kind == ENTITY:
                    self.refuse(first, f"{self.shown(first)} is a {value.kind}, which has no order; sort by a value")
                if value.kind == NUMBER:
                    self.sorted_numbers.append(self.tokens[self.i - 1].start + len(self.tokens[self.i - 1].text))
                self.accept("ASC", "DESC", "ASCENDING", "DESCENDING")
                if not self.accept(","):
                    break
        while self.accept("SKIP", "LIMIT"):
            self.expression()

    def match(self, *, optional: bool = False) -> None:
        links: list[Link] = []
        self.bound = Value(ENTITY, sure=not optional)
        path = 0
        while True:
            self.path(path, links)
            path += 1
            if not self.accept(","):
                break
        for j, one in enumerate(links):
            for i in range(j):
                if one.may_be(links[i], links[i : j + 1]):
                    self.refuse(
                        one.at,
                        "two relationships of this MATCH may be the same one on LadybugDB, but not on Neo4j; put the "
                        "second into a separate MATCH, where both allow it, and compare them if they must differ",
                    )
        self.where()

    def path(self, number: int, links: list[Link]) -> None:
        """Read a pattern of one path, `(a)-[:T]->(b)`, with or without a name."""
        if self.at(self.i + 1) == "=":
            self.scope[self.name()] = self.bound
            self.expect("=")
        self.node()
        while self.token.text in ("-", "<"):
            links.append(self.link(number))
            self.node()

    def node(self) -> None:
        self.expect("(")
        self.variable(")")
        self.labels()
        self.properties()
        self.where()
        self.expect(")")

    def link(self, path: int) -> Link:
        at = self.i
        left = self.accept("<")
        self.expect("-")
        types: frozenset[str] = frozenset()
        many, steps = False, 1.0
        if self.accept("["):
            variable = self.variable("]")
            types = self.labels()
            if self.accept("*"):
                many, steps = True, self.longest()
            if many and variable:
                self.scope[variable] = Value(ANY)
            self.properties()
            self.where()
            self.expect("]")
        self.expect("-")
        right = self.accept(">")
        direction = (left or right) if bool(left) != bool(right) else "-"
        if many and direction == "-":
            self.refuse(at, "a path of many relationships needs a direction, -[…*1..3]->: without one " + DIFFER)
        link = Link(at, path, types, direction, steps)
        if may_be_cycle([link]):
            self.refuse(
                at,
                f"a path of more than two {CYCLIC} may pass one of them twice on LadybugDB, but not on Neo4j; name its "
                "types if they are others, else write *1..2, or several MATCH",
            )
        return link

    def longest(self) -> float:
        """Read the range of a path of many relationships, as in `*1..3`; return the maximum."""
        longest = inf
        while self.token.kind in ("number", "range"):
            longest = float(self.token.text) if self.token.kind == "number" else inf
            self.i += 1
        return longest

    def variable(self, end: str) -> str:
        if self.token.kind not in ("word", "quoted") or self.token.upper == "WHERE":
            return ""
        following = self.at(self.i + 1)
        if following not in (":", end, "{", "*") and following.upper() != "WHERE":
            raise NotRead
        name = self.name()
        self.scope.setdefault(name, self.bound)
        return name

    def properties(self) -> None:
        """Read `{name: value, …}` of a node or relationship."""
        if not self.accept("{"):
            return
        while not self.accept("}"):
            at, key = self.i, self.name()
            self.expect(":")
            first = self.i
            value = self.expression()
            due = PROPERTIES.get(key, ANY)
            if not comparable(due, value.kind):
                self.differ(at, key, due, self.shown(first), value.kind)
            self.accept(",")

    def subquery(self) -> None:
        outer, self.scope = self.scope, dict(self.scope)
        self.expect("MATCH")
        self.match()
        self.expect("}")
        self.scope = outer

    def pattern(self) -> None:
        self.path(0, [])
