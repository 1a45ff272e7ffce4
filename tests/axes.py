"""Checks the arrays in a function's signature while the tests run: their types and the sizes of their axes."""

from __future__ import annotations

import re
from types import FunctionType
from typing import Any

from beartype import beartype

ARRAY = re.compile(r"\b(?:Bool|Float|Int|Shaped|UInt8|Views)\b")


def checked(function: Any) -> Any:
    """The function with only its arrays checked, as `jaxtyping.install_import_hook` wants a type checker.

    Whatever else a room annotates stays unchecked: `Self` and names that are imported for type checkers only cannot be
    resolved here, and tests of messages pass values of wrong types on purpose.
    """
    if not isinstance(function, FunctionType):
        return function
    arrays = {name: hint for name, hint in function.__annotations__.items() if ARRAY.search(str(hint))}
    if not arrays:
        return function
    bare = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    bare.__kwdefaults__, bare.__qualname__, bare.__module__ = (
        function.__kwdefaults__,
        function.__qualname__,
        function.__module__,
    )
    bare.__doc__, bare.__annotations__ = function.__doc__, arrays
    return beartype(bare)
