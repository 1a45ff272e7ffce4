"""Options of the form NAME=VALUE."""

from __future__ import annotations

import json
from collections.abc import Callable
from textwrap import shorten
from typing import Any

from ..errors import InputError
from ..notation import read_json


def parse_pairs(option: str, given: list[str], convert: Callable[[str, str], Any]) -> dict[str, Any]:
    """Parse the `name=value` pairs of an option; a name that occurs several times gets the list of its values.

    Args:
        option: the name of the option, for error messages.
        given: the pairs.
        convert: converts a value: `json_or_text`, or `text`.

    Raises:
        InputError: a pair has no `=`, or no name before it.
    """
    pairs: dict[str, list[Any]] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"{option}: expected NAME=VALUE, for instance class=three, got {shorten(pair, 60)!r}")
        pairs.setdefault(name, []).append(convert(value, f"{option} {name}"))
    return {name: values if len(values) > 1 else values[0] for name, values in pairs.items()}


def json_or_text(value: str, where: str) -> Any:
    """Convert a parameter of Cypher, which has types: a number, for instance, if it is valid JSON, otherwise text."""
    try:
        return read_json(value, where)
    except json.JSONDecodeError:
        return value


def text(value: str, where: str) -> Any:
    """Convert a value whose type is known to its receiver: to text, except null, a list and text in quotes."""
    return json_or_text(value, where) if value == "null" or value[:1] in ("[", '"') else value
