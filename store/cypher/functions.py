"""Kinds of the results of functions."""

from __future__ import annotations

from .kinds import ANY, NULL, NUMBER, TEXT, TRUTH, WHOLE, Kind
from .tokens import words

_TEXTS = words("TOLOWER LOWER TRIM LTRIM RTRIM LEFT RIGHT TOSTRING")


def kind_of_result(function: str, first: Kind) -> Kind:
    """Return the kind of a function's result, given the kind of its first argument."""
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
