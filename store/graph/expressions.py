"""Reads a query's expressions, for what the two engines would answer differently.

It refuses what one engine casts, rounds or looks up differently from the other: values of two kinds (`kinds`),
divisions of whole numbers, null in a list that is searched, numbered elements of a list.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import NoReturn

from .cursor import Cursor, NotRead
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
from .tokens import words

_OR, _XOR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _POWER, _SIGN, _ATOM = range(1, 11)
"""How strongly operators bind."""

_LEVELS = {
    "OR": _OR,
    "XOR": _XOR,
    "AND": _AND,
    **dict.fromkeys(["=", "<>", "<", "<=", ">", ">=", "IN", "STARTS", "ENDS", "CONTAINS", "IS"], _COMPARISON),
    **dict.fromkeys(["+", "-"], _SUM),
    **dict.fromkeys(["*", "/", "%"], _PRODUCT),
    "^": _POWER,
}
_RESERVED = words("WHERE WITH RETURN MATCH OPTIONAL UNWIND UNION ORDER SKIP LIMIT AS WHEN THEN ELSE END ASC DESC BY")
_QUANTIFIERS = words("ANY ALL NONE SINGLE")
_AGGREGATES = words("COUNT COLLECT SUM AVG MIN MAX")
_NEVER_NULL = words("COUNT COLLECT SUM")
_TEXTS = words("TOLOWER LOWER TRIM LTRIM RTRIM LEFT RIGHT TOSTRING")
DIFFER = "the engines differ in what they make of it"


@dataclass(frozen=True)
class Value:
    """What is known of an expression.

    Attributes:
        kind: of its values.
        level: of its outermost operator; what stands in brackets is an atom.
        sure: whether it is never null.
        constant: whether it is a literal or a parameter.
        number: 0 where it is a constant number that is 0, or a constant text that is empty; else another one.
    """

    kind: Kind
    level: int = _ATOM
    sure: bool = False
    constant: bool = False
    number: float | None = None


@dataclass(frozen=True)
class Result:
    """One of the values that an expression may have, or is given: where it stands, and how it is written."""

    at: int
    shown: str
    value: Value


class Expressions(Cursor):
    """Reads expressions.

    Attributes:
        params: the kind of each parameter's value; and, of a number, whether it is 0.
        scope: what is known of the variables at the present place.
        whole_sums: where in the text the sums of whole numbers begin.
    """

    def __init__(self, text: str, params: Mapping[str, tuple[Kind, float | None]]) -> None:
        super().__init__(text)
        self.params = params
        self.scope: dict[str, Value] = {}
        self.whole_sums: list[int] = []

    @abstractmethod
    def pattern(self) -> None:
        """Read a pattern that stands where an expression may."""

    @abstractmethod
    def subquery(self) -> None:
        """Read what is between the braces of EXISTS or COUNT."""

    @abstractmethod
    def where(self) -> None:
        """Read a WHERE, if there is one."""

    def condition(self) -> None:
        first = self.i
        self.of_kind(first, self.expression(), TRUTH, "a condition")

    def expression(self, level: int = _OR, *, unwound: bool = False) -> Value:
        """An expression whose operators bind at least so strongly."""
        first = self.i
        value = self.prefixed(unwound=unwound)
        while True:
            operator = self.token.upper or self.token.text
            binding = _LEVELS.get(operator, 0) if self.token.kind in ("symbol", "word") else 0
            if binding < level or not binding:
                return value
            at = self.i
            self.i += 1
            value = self.operation(first, at, operator, value)

    def prefixed(self, *, unwound: bool = False) -> Value:
        first = self.i
        if self.accept("NOT"):
            at = self.i
            self.of_kind(at, self.expression(_NOT), TRUTH, "NOT")
            return Value(TRUTH, _NOT)
        if sign := self.accept("-", "+"):
            if self.token.text in ("-", "+"):
                self.refuse(self.i, f"put {sign}… in brackets after a sign: {DIFFER}")
            operand = self.expression(_SIGN)
            self.of_number(first + 1, operand, sign)
            return replace(operand, level=_SIGN)
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

    def operation(self, first: int, at: int, operator: str, left: Value) -> Value:
        """The value of `left`, which begins at `first`, and what follows the operator at `at`."""
        binding = _LEVELS[operator]
        if operator in ("OR", "XOR", "AND"):
            self.of_kind(first, left, TRUTH, operator, at)
            second = self.i
            self.of_kind(second, self.expression(binding + 1), TRUTH, operator)
            return Value(TRUTH, binding)
        if binding == _COMPARISON:
            return self.comparison(first, at, operator, left)
        second = self.i
        right = self.expression(binding + 1)
        if operator == "+" and not (left.kind.is_number or right.kind.is_number):
            return self.joined(first, at, left, second, right)
        for where, end, operand in ((first, at, left), (second, None, right)):
            self.of_number(where, operand, operator, end)
        if operator in "/%" and left.kind == right.kind == WHOLE and not right.number:
            rest = f"1.0 * {self.shown(first, at)} {operator} {self.shown(second)}"
            self.refuse(at, f"whole numbers are divided, which fails where the second is 0; write {rest}")
        is_whole = operator != "^" and left.kind == right.kind == WHOLE
        return Value(WHOLE if is_whole else ANY if ANY in (left.kind, right.kind) else NUMBER, binding)

    def joined(self, first: int, at: int, left: Value, second: int, right: Value) -> Value:
        """Texts, or lists, that `+` joins."""
        kinds, sure = (left.kind, right.kind), left.sure and right.sure
        is_mixed = any(k.of is not None for k in kinds) and any(k.of is None and k != ANY for k in kinds)
        if kinds == (NULL, NULL) or TRUTH in kinds or ENTITY in kinds:
            self.refuse(first, f"+ takes numbers, texts or lists, and not {left.kind} + {right.kind}")
        if is_mixed or not comparable(*kinds):
            self.differ(first, self.shown(first, at), left.kind, self.shown(second), right.kind)
        for where, end, operand in ((first, at, left), (second, None, right)):
            if TEXT in kinds and not operand.sure:
                shown = self.shown(where, end)
                self.refuse(
                    where,
                    f"{shown} may be null, and a text + null is the text on LadybugDB, and null on Neo4j; write "
                    f"coalesce({shown}, '')",
                )
        return Value(left.kind if left.kind not in (ANY, NULL) else right.kind, _SUM, sure)

    def comparison(self, first: int, at: int, operator: str, left: Value) -> Value:
        if left.level == _COMPARISON:
            self.refuse(at, f"put {self.shown(first, at)} in brackets: {DIFFER}")
        if operator in ("IN", "STARTS", "ENDS", "CONTAINS", "IS") and left.level < _ATOM and left.level != _SIGN:
            self.refuse(first, f"put {self.shown(first, at)} in brackets before {operator}: {DIFFER}")
        match operator:
            case "IS":
                self.accept("NOT")
                self.expect("NULL")
            case "IN":
                self.member(first, at, left)
            case _:
                is_text = operator in ("STARTS", "ENDS", "CONTAINS")
                if is_text and operator != "CONTAINS":
                    self.expect("WITH")
                second = self.i
                right = self.expression(_SUM)
                if is_text:
                    self.of_kind(first, left, TEXT, operator, at)
                    self.of_kind(second, right, TEXT, operator)
                    if right.level < _ATOM:
                        self.refuse(second, f"put {self.shown(second)} in brackets: {DIFFER}")
                    if operator == "CONTAINS" and (not right.constant or right.number == 0):
                        shown = self.shown(second)
                        self.refuse(
                            second, f"CONTAINS takes a text, or a parameter, that is not empty, and not {shown}"
                        )
                elif not comparable(left.kind, right.kind):
                    self.differ(first, self.shown(first, at), left.kind, self.shown(second), right.kind)
                self.no_null(second, right.kind, operator)
                self.no_null(first, left.kind, operator)
        return Value(TRUTH, _COMPARISON)

    def member(self, first: int, at: int, left: Value) -> None:
        """`left IN list`."""
        second = self.i
        right = self.expression(_SUM)
        if right.kind in (ANY, NULL):
            return
        if right.kind.of is None:
            self.refuse(second, f"IN takes a list, and {self.shown(second)} is a {right.kind}")
        if not comparable(left.kind, right.kind.of):
            self.differ(first, self.shown(first, at), left.kind, self.shown(second), right.kind)
        self.no_null(second, right.kind, "IN")

    def no_null(self, at: int, kind: Kind, what: str) -> None:
        if kind.has_null:
            self.refuse(
                at,
                f"{what} takes a list of values without null, from the text or a parameter: LadybugDB takes null for a "
                "value that differs; leave it out, or compare one by one with =",
            )

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
        return replace(value, level=_ATOM)

    def is_pattern(self) -> bool:
        """Whether the bracket begins a pattern: `(a)-[…` or `(a)--`."""
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
                self.refuse(first, f"a list holds values of one kind, this one a {known[0]} and a {kind}")
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
        """A constant, a CASE, a subquery, a function or a variable."""
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
            self.refuse(first - 1, "CASE is null here, whatever the case; one of its values must be another")
        return Value(kind, sure=is_complete and all(r.value.sure for r in results))

    def case_value(self, first: int, subject: Value) -> None:
        """What follows WHEN in `CASE subject WHEN value`."""
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

    def one_kind(self, results: Sequence[Result]) -> Kind:
        """The kind of an expression that has one of these values."""
        kinds = {r.value.kind for r in results}
        known = [r for r in results if r.value.kind not in (NULL, ANY)]
        for r in known[1:]:
            if not interchangeable(known[0].value.kind, r.value.kind):
                self.differ(r.at, known[0].shown, known[0].value.kind, r.shown, r.value.kind)
        if ANY in kinds or not known:
            return ANY if ANY in kinds else NULL
        return known[0].value.kind

    def function(self, name: str) -> Value:
        """A function whose opening bracket has been read."""
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
        return Value(_kind_of_result(upper, given[0].value.kind if given else ANY), sure=is_sure)

    def quantifier(self) -> Value:
        """`any(x IN list WHERE condition)`, after the bracket."""
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

    def of_kind(self, at: int, value: Value, due: Kind, what: str, end: int | None = None) -> None:
        if value.kind not in (due, ANY, NULL):
            self.refuse(at, f"{what} takes a {due}, and {self.shown(at, end)} is a {value.kind}")

    def of_number(self, at: int, value: Value, what: str, end: int | None = None) -> None:
        if not value.kind.is_number and value.kind != ANY:
            self.refuse(at, f"{what} takes numbers, and {self.shown(at, end)} is a {value.kind}")

    def differ(self, at: int, a: str, kind_a: Kind, b: str, kind_b: Kind) -> NoReturn:
        hint = "write 1.0 for 1" if kind_a.is_number and kind_b.is_number else "use values of one kind"
        if {kind_a, kind_b} & {TEXT} and any(k.is_number for k in (kind_a, kind_b)):
            hint = "write a text in quotes ('3'; on the command line --param 'name=\"3\"'), a number without"
        self.refuse(at, f"{a} is a {kind_a}, and {b} a {kind_b}: {hint}")


def _kind_of_result(function: str, first: Kind) -> Kind:
    """The kind of a function's result, by the kind of its first argument."""
    match function:
        case "COUNT" | "LENGTH" | "SIZE":
            return WHOLE
        case "AVG":
            return NUMBER
        case "SUM" | "MIN" | "MAX" | "ABS":
            return first
        case "COLLECT":
            return Kind("list", ANY if first == NULL else first)
        case "EXISTS":
            return TRUTH
        case _ if function in _TEXTS:
            return TEXT
    return ANY
