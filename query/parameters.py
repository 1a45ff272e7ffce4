"""Parameters of named queries: types, defaults and checks of values.

The types are `string`, `integer`, `number`, `strings` (a list), `circuit` and `readout` (an id or its beginning; the
default `""` stands for none). A parameter with the name of a property of circuits selects circuits by it; see
`choice.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, cut
from ..notation import read_json

TYPES = ("string", "integer", "number", "strings", "circuit", "readout")


@dataclass(frozen=True)
class Only:
    """The default of a parameter that takes the only value in the store.

    With `other_than`, the query compares circuits that have that value with circuits that have another one: the
    default is then the only other value, and only studies with both values are considered.
    """

    other_than: str | None = None

    def __str__(self) -> str:
        return "the only one in the store" + (f" other than {self.other_than}" if self.other_than else "")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a named query; `default` is None if it must be given."""

    name: str
    type: str
    default: Any
    about: str

    @property
    def usage(self) -> str:
        """`name` if it must be given, otherwise in brackets with its default: `[limit=20]`, `[model]` for `only`."""
        if self.default is None:
            return self.name
        return f"[{self.name}]" if isinstance(self.default, Only) else f"[{self.name}={self.default}]"


def checked(where: str, type: str, value: Any) -> Any:
    """Return a value in the type that the query expects.

    Converts text from the command line, such as `20`, `0.5` and `seven,nine`.

    Raises:
        InputError: the value has another type.
    """
    try:
        match type:
            case "integer" if not isinstance(value, bool | float):
                return int(value)
            case "number" if not isinstance(value, bool) and math.isfinite(float(value)):
                return float(value)
            case "strings":
                return _strings(where, value)
            case "string" | "circuit" | "readout" if isinstance(value, str | int) and not isinstance(value, bool):
                return str(value)
    except InputError:
        raise
    except (ValueError, TypeError):
        pass
    raise InputError(f"{where}: expected {_EXPECTED[type]}, got {cut(repr(value))}")


_EXPECTED = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "strings": 'strings: a list, or text such as seven,nine or ["seven", "nine"]',
    "circuit": "the id of a circuit, or its beginning",
    "readout": "the id of a read-out, or its beginning",
}


def _strings(where: str, value: Any) -> list[str]:
    if isinstance(value, str):
        value = read_json(value, where) if value.startswith("[") else [v.strip() for v in value.split(",")]
    found = list(value) if isinstance(value, list | tuple) else [value]
    if not found or not all(isinstance(v, str | int) and not isinstance(v, bool) for v in found):
        raise ValueError(value)
    return [str(v) for v in found]
