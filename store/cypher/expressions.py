"""Reads a query's expressions, and raises an error for those that the two engines evaluate differently.

These are values of two kinds (`kinds`), divisions of whole numbers, null in a list that is searched, and access to list
elements by number, which one engine casts, rounds or looks up differently from the other.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from textwrap import shorten

from .checks import ATOM, DIFFER, Result, Value
from .cursor import NotRead
from .functions import kind_of_result
from .kinds import (
    ALWAYS_THERE,
    ANY,
    ENTITY,
    NULL,
    NUMBER,
    PROPERTIES,
    TEXT,
    TRUTH,
    WHOLE,
    Kind,
    comparable,
    interchangeable,
    list_of,
)
from .operators import LEVELS, NOT, OR, SIGN, Operators
from .tokens import Tokens, words

_RESERVED = words("WHERE WITH RETURN MATCH OPTIONAL UNWIND UNION ORDER SKIP LIMIT AS WHEN THEN ELSE END ASC DESC BY")
_QUANTIFIERS = words("ANY ALL NONE SINGLE")
_AGGREGATES = words("COUNT COLLECT SUM AVG MIN MAX")
_NEVER_NULL = words("COUNT COLLECT SUM")


class Expressions(Operators):
    """Reads expressions.

    Attributes:
        params: kind of each parameter's value, and 0 for 0 and empty text.
        scope: values of the variables at the current position.
        whole_sums: offsets in the text at which sums of whole numbers begin.
    """

    def __init__(self, tokens: Tokens, params: Mapping[str, tuple[Kind, float | None]]) -> None:
        super().__init__(tokens)
        self.params = params
        self.scope: dict[str, Value] = {}
        self.whole_sums: list[int] = []

    @abstractmethod
    def pattern(self) -> None:
        """Read a pattern in the place of an expression."""

    @abstractmethod
    def subquery(self) -> None:
        """Read the part between the braces of EXISTS or COUNT."""

    @abstractmethod
    def where(self) -> None:
        """Read a WHERE, if there is one."""

    def condition(self) -> None:
        first = self.i
        self.of_kind(first, self.expression(), TRUTH, "a condition")

    def expression(self, level: int = OR, *, unwound: bool = False) -> Value:
        """Read an expression whose operators bind at least as strongly as `level`."""
        first = self.i
        value = self.prefixed(unwound=unwound)
        while True:
            operator = self.token.upper or self.token.text
            binding = LEVELS.get(operator, 0) if self.token.kind in ("symbol", "word") else 0
            if binding < level or not binding:
                return value
            at = self.i
            self.i += 1
            value = self.operation(first, at, operator, value)

    def prefixed(self, *, unwound: bool = False) -> Value:
        first = self.i
        if self.accept("NOT"):
            at = self.i
            self.of_kind(at, self.expression(NOT), TRUTH, "NOT")
            return Value(TRUTH, NOT)
        if sign := self.accept("-", "+"):
            if self.token.text in ("-", "+"):
                self.refuse(self.i, f"put {sign}… in brackets after a sign: {DIFFER}")
            operand = self.expression(SIGN)
            self.of_number(first + 1, operand, sign)
            return replace(operand, level=SIGN)
        value = self.atom(unwound=unwound)
        while True:
            if self.accept("."):
                value = self.property_of(value)
            elif self.token.text == "[":
                numbered = (
                    "LadybugDB counts the elements of a list from 1, Neo4j from 0; use UNWIND instead of [number]"
                )
                self.refuse(self.i, numbered)
            elif self.token.text == ":" and value.kind in (ENTITY, ANY):
                self.labels()
                value = Value(TRUTH)
            else:
                return value

    def property_of(self, owner: Value) -> Value:
        name = self.name()
        if owner.kind != ENTITY:
            return Value(ANY)
        return Value(PROPERTIES.get(name, ANY), sure=owner.sure and name in ALWAYS_THERE)

    def atom(self, *, unwound: bool = False) -> Value:
        token = self.token
        match token.kind:
            case "string":
                self.i += 1
                return Value(TEXT, sure=True, constant=True, number=len(token.text) - 2)
            case "number":
                return self.number()
            case "param":
                self.i += 1
                kind, number = self.params.get(token.text[1:].strip("`"), (ANY, None))
                return Value(kind, sure=kind not in (ANY, NULL), constant=True, number=number)
            case "symbol" if token.text == "(":
                return self.bracket()
            case "symbol" if token.text == "[":
                return self.list(unwound=unwound)
            case "symbol" if token.text == "{":
                return self.map()
            case "word" | "quoted":
                return self.named()
        raise NotRead

    def number(self) -> Value:
        text = self.token.text
        kind = WHOLE if text.isdigit() else NUMBER
        if (kind == WHOLE and int(text) > 2**63 - (self.at(self.i - 1) != "-")) or float(text) == float("inf"):
            self.refuse(self.i, f"{shorten(text, 30)} is too large for a number")
        self.i += 1
        return Value(kind, sure=True, constant=True, number=float(text))

    def bracket(self) -> Value:
        if self.is_pattern():
            self.pattern()
            return Value(TRUTH)
        self.expect("(")
        value = self.expression()
        self.expect(")")
        return replace(value, level=ATOM)

    def is_pattern(self) -> bool:
        """Return whether the bracket begins a pattern: `(a)-[…` or `(a)--`."""
        depth = 0
        for i in range(self.i, len(self.tokens)):
            depth += (self.at(i) in ("(", "[", "{")) - (self.at(i) in (")", "]", "}"))
            if depth == 0:
                after = [self.at(i + 1), self.at(i + 2)]
                then = self.at(i + 3)
                return (
                    after == ["-", "["]
                    or (after == ["-", "-"] and then in ("(", ">"))
                    or (after == ["<", "-"] and then in ("[", "-"))
                )
        return False

    def list(self, *, unwound: bool = False) -> Value:
        self.expect("[")
        values: list[Value] = []
        first = self.i
        while not self.accept("]"):
            values.append(self.expression())
            self.expect_separator("]")
        kinds = [v.kind for v in values]
        known = [kind for kind in kinds if kind not in (NULL, ANY)]
        for kind in known[1:]:
            if not comparable(known[0], kind):
                self.refuse(first, f"a list has values of one kind, this one has a {known[0]} and a {kind}")
        has_null = not unwound and not all(v.constant for v in values)
        return Value(list_of(kinds, has_null=has_null))

    def expect_separator(self, end: str) -> None:
        if not self.accept(",") and self.token.text != end:
            raise NotRead

    def map(self) -> Value:
        self.expect("{")
        while not self.accept("}"):
            self.name()
            self.expect(":")
            self.expression()
            self.expect_separator("}")
        return Value(ANY)

    def named(self) -> Value:
        """Read a constant, a CASE, a subquery, a function or a variable."""
        word, after = self.token.upper, self.at(self.i + 1)
        if word in ("NULL", "TRUE", "FALSE"):
            self.i += 1
            return Value(NULL if word == "NULL" else TRUTH, sure=word != "NULL", constant=True)
        if word == "CASE":
            return self.case()
        if word in ("EXISTS", "COUNT") and after == "{":
            self.i += 2
            self.subquery()
            return Value(TRUTH if word == "EXISTS" else WHOLE, sure=True)
        if word in _RESERVED and after != "(":
            raise NotRead
        name = self.name()
        if self.accept("("):
            return self.function(name)
        return self.scope.get(name, Value(ANY))

    def case(self) -> Value:
        self.expect("CASE")
        first, subject = self.i, None
        if self.token.upper != "WHEN":
            subject = self.expression()
        results: list[Result] = []
        while self.accept("WHEN"):
            if subject is None:
                self.condition()
            else:
                self.case_value(first, subject)
            self.expect("THEN")
            results.append(self.result())
        is_complete = bool(self.accept("ELSE"))
        if is_complete:
            results.append(self.result())
        self.expect("END")
        kind = self.one_kind(results)
        if kind == NULL:
            self.refuse(first - 1, "CASE is always null here; at least one of its values must not be null")
        return Value(kind, sure=is_complete and all(r.value.sure for r in results))

    def case_value(self, first: int, subject: Value) -> None:
        """Read the value after WHEN in `CASE subject WHEN value`."""
        at = self.i
        value = self.expression()
        if not interchangeable(subject.kind, value.kind):
            self.differ(first, "CASE", subject.kind, self.shown(at), value.kind)
        if not value.constant or value.kind == NULL:
            shown = self.shown(at)
            self.refuse(
                at, f"{shown} may be null, which is equal to everything on LadybugDB; write CASE WHEN … = {shown}"
            )

    def result(self) -> Result:
        at = self.i
        value = self.expression()
        return Result(at, self.shown(at), value)

    def function(self, name: str) -> Value:
        """Read the rest of a function whose opening bracket has been read."""
        upper, at = name.upper(), self.i - 2
        if upper in _QUANTIFIERS and self.at(self.i + 1).upper() == "IN":
            return self.quantifier()
        self.accept("DISTINCT")
        given: list[Result] = []
        if not self.accept("*"):
            while self.token.text != ")":
                given.append(self.result())
                self.expect_separator(")")
        self.expect(")")
        for one in given:
            if upper in _AGGREGATES and one.value.kind == NULL:
                self.refuse(one.at, f"{name}( takes values, and {one.shown} is always null")
            if upper in ("SUM", "AVG", "ABS"):
                self.of_number(one.at, one.value, f"{name}(")
            if upper in ("MIN", "MAX") and one.value.kind.of is not None:
                self.refuse(one.at, f"{name}( takes single values, and {one.shown} is a {one.value.kind}")
            if upper == "SUM" and one.value.kind == WHOLE:
                self.whole_sums.append(self.tokens[at].start)
        if upper == "COALESCE":
            return Value(self.one_kind(given), sure=any(r.value.sure for r in given))
        is_sure = upper in _NEVER_NULL or (upper not in _AGGREGATES and all(r.value.sure for r in given))
        return Value(kind_of_result(upper, given[0].value.kind if given else ANY), sure=is_sure)

    def quantifier(self) -> Value:
        """Read `any(x IN list WHERE condition)`, after the bracket."""
        name = self.name()
        self.expect("IN")
        first = self.i
        whole = self.expression()
        self.no_null(first, whole.kind, "this")
        outer, self.scope = self.scope, {**self.scope, name: Value(whole.kind.of or ANY)}
        self.where()
        self.expect(")")
        self.scope = outer
        return Value(TRUTH)
