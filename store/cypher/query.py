"""The entry point for queries of users: all checks in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from .clauses import read
from .guard import check_read_only
from .names import check_names, check_parameters
from .tokens import tokenize
from .values import plain_params


@dataclass(frozen=True)
class Query:
    """A read-only query that every engine answers alike.

    Attributes:
        text: Cypher text.
        values: values of its parameters, by name.
        columns: names of its columns, as in the text; None if unknown.
    """

    text: str
    values: Mapping[str, Any]
    columns: tuple[str, ...] | None

    @classmethod
    def of(cls, text: str, params: Mapping[str, Any] | None = None) -> Self:
        """Check a text and the values of its parameters.

        Raises:
            QueryRefused: the query could write or reach files or the network, or no timeout could stop it.
            InputError: a parameter has no value; a value has no parameter or is of no supported type.
            QueryFailed: it uses a name that is not in the schema, or the engines would answer differently.
        """
        tokens = tokenize(text)
        check_read_only(tokens)
        values = plain_params(params)
        check_parameters(tokens, values)
        check_names(tokens)
        return cls(text, values, read(tokens, values).columns)
