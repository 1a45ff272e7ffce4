"""Static knowledge about expressions, and checks of kinds that raise an error if the engines would differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from .cursor import Cursor
from .kinds import ANY, NULL, TEXT, Kind, interchangeable

DIFFER = "the engines treat it differently"

ATOM = 10
"""Binding strength of an expression that is not an operation."""


@dataclass(frozen=True)
class Value:
    """Static knowledge about an expression.

    Attributes:
        kind: kind of its values.
        level: binding strength of its outermost operator; an expression in brackets is an atom.
        sure: whether it is never null.
        constant: whether it is a literal or a parameter.
        number: 0 for the constant number 0 and for a constant empty text; otherwise not 0.
    """

    kind: Kind
    level: int = ATOM
    sure: bool = False
    constant: bool = False
    number: float | None = None


@dataclass(frozen=True)
class Result:
    """A possible value or an argument of an expression, with its place and its text."""

    at: int
    shown: str
    value: Value


class Checks(Cursor):
    """A cursor with checks of the expressions that it has read."""

    def of_kind(self, at: int, value: Value, due: Kind, what: str, end: int | None = None) -> None:
        """Raise QueryFailed if the expression at `at` has another kind than `what` takes."""
        if value.kind not in (due, ANY, NULL):
            self.refuse(at, f"{what} takes a {due}, and {self.shown(at, end)} is a {value.kind}")

    def of_number(self, at: int, value: Value, what: str, end: int | None = None) -> None:
        """Raise QueryFailed if the expression at `at` is not a number."""
        if not value.kind.is_number and value.kind != ANY:
            self.refuse(at, f"{what} takes numbers, and {self.shown(at, end)} is a {value.kind}")

    def differ(self, at: int, a: str, kind_a: Kind, b: str, kind_b: Kind) -> NoReturn:
        """Raise QueryFailed for two expressions of different kinds."""
        hint = "write 1.0 for 1" if kind_a.is_number and kind_b.is_number else "use values of one kind"
        if {kind_a, kind_b} & {TEXT} and any(k.is_number for k in (kind_a, kind_b)):
            hint = "write a text in quotes ('3'; on the command line --param 'name=\"3\"'), a number without"
        self.refuse(at, f"{a} is a {kind_a}, and {b} a {kind_b}: {hint}")

    def no_null(self, at: int, kind: Kind, what: str) -> None:
        """Raise QueryFailed for a list that may contain null."""
        if kind.has_null:
            self.refuse(
                at,
                f"{what} takes a list of values without null, from the text or a parameter: LadybugDB treats null as a "
                "different value; leave it out, or compare one by one with =",
            )

    def one_kind(self, results: Sequence[Result]) -> Kind:
        """Return the kind of an expression that has one of these values."""
        kinds = {r.value.kind for r in results}
        known = [r for r in results if r.value.kind not in (NULL, ANY)]
        for r in known[1:]:
            if not interchangeable(known[0].value.kind, r.value.kind):
                self.differ(r.at, known[0].shown, known[0].value.kind, r.shown, r.value.kind)
        if ANY in kinds or not known:
            return ANY if ANY in kinds else NULL
        return known[0].value.kind
