"""Operations, with checks that the engines agree on the result for the kinds of the operands."""

from __future__ import annotations

from abc import abstractmethod

from .checks import ATOM, DIFFER, Checks, Value
from .kinds import ANY, ENTITY, NULL, NUMBER, TEXT, TRUTH, WHOLE, comparable

OR, XOR, AND, NOT, COMPARISON, SUM, PRODUCT, POWER, SIGN = range(1, 10)
"""Binding strengths of operators."""

LEVELS = {
    "OR": OR,
    "XOR": XOR,
    "AND": AND,
    **dict.fromkeys(["=", "<>", "<", "<=", ">", ">=", "IN", "STARTS", "ENDS", "CONTAINS", "IS"], COMPARISON),
    **dict.fromkeys(["+", "-"], SUM),
    **dict.fromkeys(["*", "/", "%"], PRODUCT),
    "^": POWER,
}


class Operators(Checks):
    """Reads operators and their second operands."""

    @abstractmethod
    def expression(self, level: int = OR) -> Value:
        """Read an expression whose operators bind at least as strongly as `level`."""

    def operation(self, first: int, at: int, operator: str, left: Value) -> Value:
        """Read the second operand of the operator at `at`, whose first operand `left` begins at `first`."""
        binding = LEVELS[operator]
        if operator in ("OR", "XOR", "AND"):
            self.of_kind(first, left, TRUTH, operator, at)
            second = self.i
            self.of_kind(second, self.expression(binding + 1), TRUTH, operator)
            return Value(TRUTH, binding)
        if binding == COMPARISON:
            return self.comparison(first, at, operator, left)
        second = self.i
        right = self.expression(binding + 1)
        if operator == "+" and not (left.kind.is_number or right.kind.is_number):
            return self.joined(first, at, left, second, right)
        for where, end, operand in ((first, at, left), (second, None, right)):
            self.of_number(where, operand, operator, end)
        if operator in "/%" and left.kind == right.kind == WHOLE and not right.number:
            rest = f"1.0 * {self.shown(first, at)} {operator} {self.shown(second)}"
            self.refuse(at, f"division of whole numbers fails if the second is 0; write {rest}")
        is_whole = operator != "^" and left.kind == right.kind == WHOLE
        return Value(WHOLE if is_whole else ANY if ANY in (left.kind, right.kind) else NUMBER, binding)

    def joined(self, first: int, at: int, left: Value, second: int, right: Value) -> Value:
        """Return the value of texts or lists joined by `+`."""
        kinds, sure = (left.kind, right.kind), left.sure and right.sure
        is_mixed = any(k.of is not None for k in kinds) and any(k.of is None and k != ANY for k in kinds)
        if kinds == (NULL, NULL) or TRUTH in kinds or ENTITY in kinds:
            self.refuse(first, f"+ takes numbers, texts or lists, not {left.kind} + {right.kind}")
        if is_mixed or not comparable(*kinds):
            self.differ(first, self.shown(first, at), left.kind, self.shown(second), right.kind)
        for where, end, operand in ((first, at, left), (second, None, right)):
            if TEXT in kinds and not operand.sure:
                shown = self.shown(where, end)
                self.refuse(
                    where,
                    f"{shown} may be null, and text + null is the text on LadybugDB, but null on Neo4j; write "
                    f"coalesce({shown}, '')",
                )
        return Value(left.kind if left.kind not in (ANY, NULL) else right.kind, SUM, sure)

    def comparison(self, first: int, at: int, operator: str, left: Value) -> Value:
        if left.level == COMPARISON:
            self.refuse(at, f"put {self.shown(first, at)} in brackets: {DIFFER}")
        if operator in ("IN", "STARTS", "ENDS", "CONTAINS", "IS") and left.level < ATOM and left.level != SIGN:
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
                right = self.expression(SUM)
                if is_text:
                    self.of_kind(first, left, TEXT, operator, at)
                    self.of_kind(second, right, TEXT, operator)
                    if right.level < ATOM:
                        self.refuse(second, f"put {self.shown(second)} in brackets: {DIFFER}")
                    if operator == "CONTAINS" and (not right.constant or right.number == 0):
                        shown = self.shown(second)
                        self.refuse(second, f"CONTAINS takes a text or parameter that is not empty, not {shown}")
                elif not comparable(left.kind, right.kind):
                    self.differ(first, self.shown(first, at), left.kind, self.shown(second), right.kind)
                self.no_null(second, right.kind, operator)
                self.no_null(first, left.kind, operator)
        return Value(TRUTH, COMPARISON)

    def member(self, first: int, at: int, left: Value) -> None:
        """Check `left IN list`."""
        second = self.i
        right = self.expression(SUM)
        if right.kind in (ANY, NULL):
            return
        if right.kind.of is None:
            self.refuse(second, f"IN takes a list, and {self.shown(second)} is a {right.kind}")
        if not comparable(left.kind, right.kind.of):
            self.differ(first, self.shown(first, at), left.kind, self.shown(second), right.kind)
        self.no_null(second, right.kind, "IN")
