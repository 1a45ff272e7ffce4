"""Does a query name only what there is? One answer for both engines, from the tokens of its text.

LadybugDB refuses a label, type or property that it does not know; Neo4j finds nothing, and names what somebody
else may have written. A parameter without a value is empty for one and an error for the other. Here both are told
the same, with the place and the names that are near.

What cannot be told from the text is left to the engine: properties of what is no node or relationship of a pattern.
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
"""After which a bracket begins a pattern, or an expression in brackets; after other words it is a function's."""


def check_parameters(tokens: Tokens, given: Collection[str]) -> None:
    """Return if the values given are those that a query asks for.

    Raises:
        InputError: one is missing, or is asked for nowhere.
    """
    check_given("the query", tokens.params, tokens.params, given)


def check_given(where: str, allowed: Collection[str], required: Collection[str], given: Collection[str]) -> None:
    """Return if the names of the values given are right.

    Raises:
        InputError: one is not among the `allowed`, or one of the `required` is not there.
    """
    for name in given:
        if name not in allowed:
            raise unknown("parameter", name, sorted(set(allowed)), where)
    if missing := sorted(set(required) - set(given)):
        raise InputError(
            f"{where}: no value for {', '.join(missing)}; give it with --param {missing[0]}=…, "
            f"in Python with params={{{missing[0]!r}: …}}"
        )


@lru_cache(maxsize=64)  # of texts that passed
def check_names(tokens: Tokens) -> None:
    """Return if the labels, types and properties in a query's patterns, and of their variables, are the schema's.

    Raises:
        QueryFailed: one is not; the message says where, and what is near.
    """
    for part in tokens.split("UNION"):  # variables of one side mean nothing to the other
        _Part(part).check()


class _Part:
    """The part of a query in which a variable means one thing.

    `bound`: what the patterns say of a variable: its labels or types, none where it has none. `opaque`: variables
    that are something else as well, or that cannot be told.
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
        """`(n:Label {…})` or `[r:TYPE*1..3 {…}]`, if it is one, from its bracket."""
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
                self._held(schema, labels, key, "")
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
        """Where the names after a colon are, as in `:A|B`, and where they end."""
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
        """Where the keys of a map are."""
        depth = 0
        for i in range(start, len(self.tokens)):
            text = self.at(i)
            depth += (text in ("{", "(", "[")) - (text in ("}", ")", "]"))
            if depth == 0:
                return
            if depth == 1 and self.at(i + 1) == ":" and self.at(i - 1) in ("{", ","):
                yield i

    def _alias(self, i: int) -> None:
        """`WITH c AS d`: the same by another name; any other value may be anything."""
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
            self._held(*self.bound[variable], at, variable)

    def _held(self, schema: Mapping[str, tuple[str, ...]], labels: set[str], at: int, variable: str) -> None:
        """Make sure that one of the labels has the property; one of all where there are none."""
        names = {name for label in labels or schema for name in schema[label]}
        offered = {name for label in labels or set(schema) - set(OURS) for name in schema[label]}
        if (name := _bare(self.at(at))) not in names:
            self._refuse(at, f"property of {variable}" if variable else "property", name, offered)

    def _refuse(self, at: int, what: str, name: str, valid: Collection[str]) -> NoReturn:
        told = unknown(what, name, valid, where=self.tokens.place(self.tokens[at]))
        raise QueryFailed(f"{told}; circuitstore docs graph tells the schema")


def _bare(name: str) -> str:
    return name.strip("`")
