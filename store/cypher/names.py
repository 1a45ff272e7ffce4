"""A check, the same for both engines, of the labels, types, properties and parameters in a query.

LadybugDB raises an error for an unknown label, type or property; Neo4j finds nothing. A parameter without a value is
null for one and an error for the other. Here both cases raise an error with the place and the nearest names.

Properties of values other than nodes and relationships of a pattern are unknown from the text and left to the engine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import NoReturn

from ...errors import InputError, QueryFailed, unknown
from .schema import NODES, OURS, RELATIONSHIPS
from .tokens import Tokens

_KEYWORDS = frozenset(
    ["MATCH", "OPTIONAL", "WHERE", "WITH", "UNWIND", "RETURN", "UNION", "ALL", "AND", "OR", "XOR", "NOT", "IN"]
) | {"EXISTS", "COUNT", "WHEN", "THEN", "ELSE", "CASE", "AS", "BY"}
"""Keywords after which a bracket begins a pattern or an expression; after other words it belongs to a function."""


def check_parameters(tokens: Tokens, given: Collection[str]) -> None:
    """Check that the given values are those of the query's parameters.

    Raises:
        InputError: a value is missing, or has no parameter.
    """
    check_given("the query", tokens.params, tokens.params, given)


def check_given(where: str, allowed: Collection[str], required: Collection[str], given: Collection[str]) -> None:
    """Check the names of the given values.

    Raises:
        InputError: one is not among the `allowed`, or one of the `required` is missing.
    """
    for name in given:
        if name not in allowed:
            raise unknown("parameter", name, sorted(set(allowed)), where)
    if missing := sorted(set(required) - set(given)):
        raise InputError(
            f"{where}: no value for {', '.join(missing)}; give it with --param {missing[0]}=…, "
            f"in Python with params={{{missing[0]!r}: …}}"
        )


@lru_cache(maxsize=64)
def check_names(tokens: Tokens) -> None:
    """Check that the labels, types and properties of a query's patterns and their variables are in the schema.

    Raises:
        QueryFailed: one is not; the message gives the place and the nearest names.
    """
    for part in tokens.split("UNION"):  # each side has its own variables
        _Part(part).check()


class _Part:
    """A part of a query with its own variables.

    `bound`: labels or types of the variables of patterns. `opaque`: variables that have, or may have, other values.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.bound: dict[str, tuple[Mapping[str, tuple[str, ...]], set[str]]] = {}
        self.opaque: set[str] = set()

    def at(self, i: int) -> str:
        return self.tokens.at(i).text

    def check(self) -> None:
        for i, token in enumerate(self.tokens):
            if token.text == "(" and self._may_begin_a_node(i):
                self._pattern(i, ")", NODES)
            elif token.text == "[" and self.at(i - 1) == "-":
                self._pattern(i, "]", RELATIONSHIPS)
            elif token.upper == "AS":
                self._alias(i)
        for i, token in enumerate(self.tokens):
            if token.text == "." and self.at(i - 2) != "." and self._is_word(i - 1):
                self._property(self.at(i - 1), i + 1)

    def _may_begin_a_node(self, i: int) -> bool:
        before = self.tokens.at(i - 1)
        return before.kind != "word" or before.upper in _KEYWORDS

    def _pattern(self, start: int, end: str, schema: Mapping[str, tuple[str, ...]]) -> None:
        """Read `(n:Label {…})` or `[r:TYPE*1..3 {…}]` from its bracket, if it is a pattern."""
        i, variable = start + 1, None
        if self._is_word(i) and self.at(i + 1) in (":", end, "{", "*"):
            variable, i = self.at(i), i + 1
        names, i = self._names(i)
        many = self.at(i) == "*"
        while many and i < len(self.tokens) and (self.at(i) == "*" or self.tokens[i].kind in ("number", "range")):
            i += 1
        if not many and self.at(i) not in (end, "{") and self.at(i).upper() != "WHERE":
            return
        self._known(names, schema)
        labels = {_bare(self.at(at)) for at in names}
        if self.at(i) == "{":
            for key in self._keys(i):
                self._check_property(schema, labels, key, "")
        if variable is not None and many:
            self.opaque.add(variable)
        elif variable is not None:
            self.bound.setdefault(variable, (schema, set()))[1].update(labels)

    def _known(self, names: list[int], schema: Mapping[str, tuple[str, ...]]) -> None:
        what = "label" if schema is NODES else "type of relationship"
        for at in names:
            if (name := _bare(self.at(at))) not in schema:
                self._refuse(at, what, name, [n for n in schema if n not in OURS])

    def _is_word(self, i: int) -> bool:
        return self.tokens.at(i).kind in ("word", "quoted")

    def _names(self, i: int) -> tuple[list[int], int]:
        """Return the positions of the names after a colon, as in `:A|B`, and the position after them."""
        found: list[int] = []
        if self.at(i) != ":":
            return found, i
        while self.at(i) in (":", "|", "&") and i + 1 < len(self.tokens):
            i += 1 if self.at(i + 1) != ":" else 2
            if not self._is_word(i):
                return [], i  # `!` and `%` mean many
            found.append(i)
            i += 1
        return found, i

    def _keys(self, start: int) -> Iterator[int]:
        """Yield the positions of the keys of a map."""
        depth = 0
        for i in range(start, len(self.tokens)):
            text = self.at(i)
            depth += (text in ("{", "(", "[")) - (text in ("}", ")", "]"))
            if depth == 0:
                return
            if depth == 1 and self.at(i + 1) == ":" and self.at(i - 1) in ("{", ","):
                yield i

    def _alias(self, i: int) -> None:
        """Read `WITH c AS d`, which renames a variable; other values are opaque."""
        new, old = self.at(i + 1), self.at(i - 1)
        plain = self.at(i - 2) == "," or self.at(i - 2).upper() in ("WITH", "DISTINCT", "RETURN")
        if new == old:
            return
        if plain and old in self.bound and new not in self.bound:
            schema, labels = self.bound[old]
            self.bound[new] = schema, set(labels)
        else:
            self.opaque.add(new)

    def _property(self, variable: str, at: int) -> None:
        if variable in self.bound and variable not in self.opaque:
            self._check_property(*self.bound[variable], at, variable)

    def _check_property(self, schema: Mapping[str, tuple[str, ...]], labels: set[str], at: int, variable: str) -> None:
        """Check that one of the labels has the property, or any label if there are none."""
        names = {name for label in labels or schema for name in schema[label]}
        offered = {name for label in labels or set(schema) - set(OURS) for name in schema[label]}
        if (name := _bare(self.at(at))) not in names:
            self._refuse(at, f"property of {variable}" if variable else "property", name, offered)

    def _refuse(self, at: int, what: str, name: str, valid: Collection[str]) -> NoReturn:
        error = unknown(what, name, valid, where=self.tokens.place(self.tokens[at]))
        raise QueryFailed(f"{error}; circuitstore docs graph describes the schema")


def _bare(name: str) -> str:
    return name.strip("`")
