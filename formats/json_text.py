"""JSON in files of other tools: parsed with clear errors, and written without NaN."""

from __future__ import annotations

import json
from typing import Any

from ..errors import InputError
from ..notation import read_json


def parsed(data: bytes) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        InputError: it is not UTF-8 or not JSON, or is nested too deeply.

    Examples:
        >>> parsed(b'{"edges": []}')
        {'edges': []}
    """
    try:
        return read_json(data.decode("utf-8-sig"), "JSON")
    except UnicodeDecodeError as error:
        raise InputError(f"expected JSON in UTF-8, got other bytes at {error.start}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"not valid JSON: {error}") from error


def as_json(value: Any) -> bytes:
    """Return a value as JSON in UTF-8, with a newline at the end.

    Examples:
        >>> as_json({"score": 0.5}).strip()
        b'{"score": 0.5}'
    """
    return (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "backslashreplace")


def table_at(value: Any, name: str) -> dict[str, Any]:
    """Return the table at a key of a table.

    Raises:
        InputError: there is no such key, or its value is not a table.

    Examples:
        >>> table_at({"cfg": {"n_heads": 2}}, "cfg")
        {'n_heads': 2}
    """
    if not isinstance(value, dict):
        raise InputError(f"expected a table with the key {name!r}, got {type(value).__name__}")
    if name not in value:
        raise InputError(f"the key {name!r} is missing")
    if not isinstance(value[name], dict):
        raise InputError(f"{name}: expected a table, got {type(value[name]).__name__}")
    return value[name]
