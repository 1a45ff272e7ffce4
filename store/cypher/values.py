"""Values of a query's parameters, and its limits."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypedDict
from uuid import UUID

import numpy as np
import pandas as pd

from ...errors import InputError, cut
from .kinds import comparable, kind_of

MAX_TIMEOUT_S = 1e6
MAX_ROWS = 10**9
MAX_MIB = 1 << 16

_AS_PYTHON = ("tolist", "to_pylist", "as_py")
"""Methods of NumPy, pandas, torch and Arrow that return plain Python values."""

_EXPECTED = "expected text, a number, true, false, null, or a list of these"


def check_text(text: object) -> None:
    """Check that a query is text.

    Raises:
        InputError: it is not.
    """
    if not isinstance(text, str):
        raise InputError(f"expected a query as text, got {type(text).__name__}")


def plain_params(params: object) -> dict[str, Any]:
    """Convert the values of a query's parameters to types that both engines accept; see `plain`."""
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise InputError(f"params: expected values by name, such as {{'class': 'seven'}}, got {type(params).__name__}")
    return {_key("params", name): plain(f"parameter {name}", value) for name, value in params.items()}


class Limits(TypedDict):
    """Limits of a query: arguments of `GraphBackend.run`."""

    timeout_s: float
    max_rows: int
    max_mib: int


def limits(timeout_s: float, max_rows: int, max_mib: int) -> Limits:
    """Return the limits of a query, after checking that every engine can keep them.

    Raises:
        InputError: a limit is out of range.
    """
    if not _is_between(timeout_s, 0.001, MAX_TIMEOUT_S):
        expected = f"expected 0.001 to {MAX_TIMEOUT_S:,.0f} seconds"
        raise InputError(f"timeout_s (--timeout): {expected}, got {cut(repr(timeout_s))}")
    for name, value, maximum in (("max_rows", max_rows, MAX_ROWS), ("max_mib", max_mib, MAX_MIB)):
        if not _is_between(value, 1, maximum) or not isinstance(value, int | np.integer):
            expected = f"(--{name.replace('_', '-')}): expected a whole number from 1 to {maximum:,}"
            raise InputError(f"{name} {expected}, got {cut(repr(value))}")
    return {"timeout_s": float(timeout_s), "max_rows": int(max_rows), "max_mib": int(max_mib)}


def _is_between(value: Any, minimum: float, maximum: float) -> bool:
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return is_number and bool(minimum <= value <= maximum)


def plain(where: str, value: Any) -> Any:
    """Convert a parameter's value to a type that both engines accept: None, bool, int, float, str, or list or dict.

    Scalars and arrays of NumPy, pandas, torch and Arrow become Python values, as do Decimal, UUID, paths and values of
    enumerations. A missing value of pandas becomes null; a time with a zone becomes milliseconds since 1970, like
    `created_ms`.

    Raises:
        InputError: the type is not supported; the message names it and what to give instead.
    """
    match value:
        case None | bool():
            return value
        case Enum():
            return plain(where, value.value)
        case str():
            return _text(where, str(value))
        case int():
            return _whole(where, int(value))
        case float() | np.floating():
            return _number(where, float(value))
        case Decimal():
            is_whole = value.is_finite() and value.adjusted() < 30 and value == value.to_integral_value()
            number = math.nan if value.is_nan() else value  # a signaling NaN cannot be converted to float
            return _whole(where, int(value)) if is_whole else _number(where, float(number))
        case UUID():
            return str(value)
        case os.PathLike():
            return plain(where, os.fspath(value))
        case np.bool_():
            return bool(value)
        case np.integer() if not isinstance(value, np.timedelta64):
            return _whole(where, int(value))
        case _ if value is pd.NA or value is pd.NaT:
            return None
        case datetime() | np.datetime64():
            return _milliseconds(where, pd.Timestamp(value))
        case Mapping():
            return {_key(where, key): _single(f"{where}, {key}", v, Mapping) for key, v in value.items()}
        case list() | tuple() | range():
            return _list(where, value)
        case Set():
            return _list(where, sorted(value, key=repr))
    return _converted(where, value)


def _converted(where: str, value: Any) -> Any:
    """Convert a library's array, column or scalar."""
    for name in _AS_PYTHON:
        convert = getattr(value, name, None)
        if callable(convert) and not isinstance(value, type | bytes | memoryview):
            found = convert()
            if type(found) is not type(value):
                return plain(where, found)
    raise _refused(where, value)


def _text(where: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{where}: expected text, got an unpaired surrogate: {cut(repr(value))}") from None
    return value


def _whole(where: str, value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise InputError(f"{where}: expected a whole number of 64 bits, from -2^63 to 2^63 - 1, got a larger one")
    return value


def _number(where: str, value: float) -> float:
    if not math.isfinite(value):
        raise InputError(f"{where}: expected a finite number, got {value}; a missing value is None (null)")
    return value


def _milliseconds(where: str, value: Any) -> int:
    if value.tzinfo is None:
        raise InputError(f"{where}: expected a time with a zone; add tzinfo, or give milliseconds since 1970")
    return value.value // 10**6


def _key(where: str, key: object) -> str:
    if not isinstance(key, str):
        raise InputError(f"{where}: expected names as keys, got {cut(repr(key))}")
    return _text(where, key)


def _list(where: str, values: Sequence[Any]) -> list[Any]:
    found = [_single(where, value) for value in values]
    kinds = list(dict.fromkeys(kind_of(value) for value in found if value is not None))
    for kind in kinds[1:]:
        if not comparable(kinds[0], kind):
            raise InputError(f"{where}: expected values of one kind in a list, got a {kinds[0]} and a {kind}")
    return found


def _single(where: str, value: Any, *not_these: type) -> Any:
    """Convert an element of a list or a dict."""
    nested = (list, tuple, range, Set, *not_these)
    found = value if isinstance(value, nested) else plain(where, value)
    if isinstance(found, nested):
        raise InputError(f"{where}: expected single values, got a {type(found).__name__} within another")
    return found


def _refused(where: str, value: Any) -> InputError:
    match value:
        case pd.DataFrame():
            hint = "give one of its columns, such as frame['id']"
        case bytes() | bytearray() | memoryview():
            hint = "decode bytes into text"
        case date() | time() | timedelta():
            hint = "give milliseconds since 1970"
        case complex():
            hint = "give its parts"
        case _:
            hint = "convert a generator with list(…)" if hasattr(value, "__next__") else ""
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return InputError(f"{where}: {_EXPECTED}, got {name}" + (f"; {hint}" if hint else ""))
