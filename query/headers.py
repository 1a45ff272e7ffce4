"""Functions that answer named queries: their type, and the columns that their docstrings list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..results import Table

if TYPE_CHECKING:
    from ..store import Store

Answer = Callable[["Store", Mapping[str, Any]], Table]
"""Computes the rows of a named query, given the store and the values of all parameters."""


def columns_of(answer: Answer) -> list[str]:
    """Return the names of the columns that the docstring of a function lists."""
    lines = (answer.__doc__ or "").partition("Columns:\n")[2].splitlines()
    return [line.split(":")[0].strip() for line in lines if line.strip()]
