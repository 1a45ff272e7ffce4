"""Parse TOML and JSON that people write, with clear errors for everything that cannot be read."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from itertools import count
from typing import Any

from .errors import InputError

MAX_DEPTH = 50
"""Maximum depth of nested lists and tables."""


def read_toml(text: str, where: str) -> dict[str, Any]:
    """Parse a TOML text.

    Args:
        text: the text.
        where: name of the text in messages.

    Raises:
        InputError: the text is not valid TOML, is nested too deeply, or has a whole number of more than 64 bits.
    """
    try:
        return _parse(tomllib.loads, text, where)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not valid TOML: {error}") from error


def read_json(text: str, where: str) -> Any:
    """Parse a JSON text.

    Raises:
        json.JSONDecodeError: the text is not valid JSON.
        InputError: the text is nested too deeply, or has a whole number of more than 64 bits.
    """
    return _parse(json.loads, text, where)


def _parse(loads: Callable[[str], Any], text: str, where: str) -> Any:
    try:
        value = loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError):
        raise
    except RecursionError:
        raise InputError(f"{where}: {_DEEP}") from None
    except ValueError:  # Python parses numbers of up to 4,300 digits
        raise InputError(f"{where}: {_LARGE}") from None
    _check(value, where)
    return value


_DEEP = f"more than {MAX_DEPTH} nested lists or tables; use fewer levels"
_LARGE = "a whole number of more than 64 bits; the maximum is 9223372036854775807"


def _check(value: Any, where: str) -> None:
    """Check depth and size of numbers, without recursion."""
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
