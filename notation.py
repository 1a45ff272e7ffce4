"""TOML and JSON that people write: what their readers cannot take ends in a message, never in a traceback."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from itertools import count
from typing import Any

from .errors import InputError

MAX_DEPTH = 50
"""Lists and tables within each other."""


def read_toml(text: str, where: str) -> dict[str, Any]:
    """The values of a TOML text.

    Args:
        where: what the text is, for messages.

    Raises:
        InputError: it is no TOML, nested too deeply, or has a whole number of more than 64 bits.
    """
    try:
        return _sound(tomllib.loads, text, where)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: no valid TOML: {error}") from error


def read_json(text: str, where: str) -> Any:
    """The value of a JSON text.

    Raises:
        json.JSONDecodeError: it is no JSON.
        InputError: it is nested too deeply, or has a whole number of more than 64 bits.
    """
    return _sound(json.loads, text, where)


def _sound(read: Callable[[str], Any], text: str, where: str) -> Any:
    try:
        value = read(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError):
        raise
    except RecursionError:
        raise InputError(
            f"{where}: more than {MAX_DEPTH} lists or tables within each other; write it flatter"
        ) from None
    except ValueError:  # Python reads numbers of 4,300 digits at most
        raise InputError(f"{where}: {_LARGE}") from None
    _check(value, where)
    return value


_DEEP = f"more than {MAX_DEPTH} lists or tables within each other; write it flatter"
_LARGE = "a whole number of more than 64 bits; the largest is 9223372036854775807"


def _check(value: Any, where: str) -> None:
    """Without recursion, which would end as reading it did."""
    level = [value]
    for depth in count():
        if any(isinstance(v, int) and not -(2**63) <= v < 2**63 for v in level):
            raise InputError(f"{where}: {_LARGE}")
        tables = [v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)]
        if not tables:
            return
        if depth == MAX_DEPTH:
            raise InputError(f"{where}: {_DEEP}")
        level = [v for inner in tables for v in inner]
