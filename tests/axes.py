"""Checks the arrays in a function's signature while the tests run: their types and the sizes of their axes.

The import hook of jaxtyping decorates every function and dataclass. Its wrapper binds the arguments of each call and
checks them twice, which takes more time than most functions do, so `jaxtyped` below replaces its decorator: one checked
function, called in a context in which axes of the same name have one size. A function inside another one is decorated
again at each call of that one, which takes much longer still: without arrays it is not decorated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import is_dataclass
from functools import wraps
from inspect import isgeneratorfunction
from types import FunctionType
from typing import Any

import jaxtyping
from beartype import beartype

WITH_AXES = jaxtyping.jaxtyped
"""jaxtyping's own decorator."""
ONE_SIZE = WITH_AXES("context")
"""A context in which axes of the same name have one size."""
WORD = re.compile(r"[A-Za-z_]\w*")


def install(rooms: Iterable[str], checker: str) -> None:
    """Check the annotations of these rooms from their import on.

    Args:
        rooms: rooms of the package.
        checker: dotted name of a decorator of functions.
    """
    jaxtyping.jaxtyped = jaxtyped
    jaxtyping.install_import_hook([f"circuitstore.{room}" for room in rooms], checker)


def jaxtyped(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the decorator that the hook applies to a function or class, instead of jaxtyping's own."""

    def decorate(decorated: Any) -> Any:
        if isinstance(decorated, FunctionType):
            return _checked(decorated, typechecker)
        if is_dataclass(decorated) and isinstance(init := vars(decorated).get("__init__"), FunctionType):
            decorated.__init__ = decorate(init)
        return decorated

    return decorate


def _checked(function: FunctionType, typechecker: Callable[[Any], Any]) -> Any:
    """Return the checked function, which obeys jaxtyping's switch."""
    with_arrays = bool(arrays(function))
    if not with_arrays and "<locals>" in function.__qualname__:
        return function
    if with_arrays and isgeneratorfunction(function):  # it checks its arguments when the context has ended
        return WITH_AXES(function, typechecker=typechecker)
    checked = typechecker(function)
    if checked is function:
        return function

    @wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        return (function if jaxtyping.config.jaxtyping_disable else checked)(*args, **keywords)

    @wraps(function)
    def call_with_arrays(*args: Any, **keywords: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:
            return function(*args, **keywords)
        with ONE_SIZE:
            return checked(*args, **keywords)

    return call_with_arrays if with_arrays else call


def arrays(function: FunctionType) -> dict[str, Any]:
    """Return the annotations that name an array, by name; an alias of an array in the function's module is one too."""
    return {name: hint for name, hint in function.__annotations__.items() if _has_array(hint, function.__globals__)}


def _has_array(hint: Any, names: dict[str, Any]) -> bool:
    words = WORD.findall(hint) if isinstance(hint, str) else []
    return any("jaxtyping." in str(meaning) for meaning in (hint, *map(names.get, words)))


def all_checked(function: FunctionType) -> Any:
    """Return the function with all its annotations checked, as `jaxtyping.install_import_hook` wants a type checker.

    Except those that its module cannot resolve, such as fields that a dataclass has from one of another module.
    """
    return _with_annotations(function, function.__annotations__)


def arrays_checked(function: FunctionType) -> Any:
    """Return the function with only its arrays checked.

    Whatever else a room annotates stays unchecked: `Self` and names that are imported for type checkers only cannot be
    resolved here, and tests of messages pass values of wrong types on purpose.
    """
    return _with_annotations(function, arrays(function))


def _resolved(hint: Any, names: dict[str, Any]) -> Any:
    with suppress(NameError):
        return eval(hint, names) if isinstance(hint, str) else hint
    return hint


def _with_annotations(function: FunctionType, hints: dict[str, Any]) -> Any:
    resolved = {name: _resolved(hint, function.__globals__) for name, hint in hints.items()}
    annotations = {name: hint for name, hint in resolved.items() if not isinstance(hint, str)}
    if not annotations:
        return function
    bare = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    bare.__kwdefaults__, bare.__qualname__, bare.__module__ = (
        function.__kwdefaults__,
        function.__qualname__,
        function.__module__,
    )
    bare.__doc__, bare.__annotations__ = function.__doc__, annotations
    return beartype(bare)
