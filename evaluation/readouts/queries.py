"""Which rows of a matrix over tokens a read-out returns: those that the classifier pools, or all."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Literal

import torch
from torch import Tensor

from ...circuits import Axis
from ...circuits.kinds import ABSENT, Param
from ...errors import InputError
from ...models import ViT, pool_weights
from .batched import token_axis

Queries = Literal["each"] | None
EACH_QUERY = Param.accepting(
    ABSENT, '"each", or left out for the rows that the classifier pools', lambda value: value == "each"
)


def requested_rows(model: ViT, queries: Queries) -> Callable[[Tensor], Tensor]:
    """Return the function that keeps the requested rows of `[…, query, token]`.

    Without `queries` it returns the row of the class token or, with average pooling, the mean over the rows of the
    patches: `[…, token]`.

    Raises:
        InputError: the classifier pools tokens without fixed weights, as map pooling does.
    """
    if queries == "each":
        return lambda matrix: matrix
    weights = token_weights(model, "queries='each' returns the rows of all tokens")
    return lambda matrix: torch.einsum("q,...qt->...t", weights.to(matrix), matrix)


def token_weights(model: ViT, instead: str) -> Tensor:
    """Return the weight `[token]` of each token in what the classifier pools.

    Raises:
        InputError: there are no fixed weights; the message ends with what to do instead.
    """
    try:
        return pool_weights(model).mean(dim=0)
    except InputError as error:
        raise InputError(f"{error}; {instead}") from error


def n_row_numbers(model: ViT, queries: Queries) -> int:
    """Return how many numbers the requested rows of one matrix have."""
    return prod(map(len, row_axes(model, queries)))


def row_axes(model: ViT, queries: Queries) -> tuple[Axis, ...]:
    """Return the axes of the requested rows."""
    return (token_axis(model),) if queries is None else (token_axis(model, "query"), token_axis(model))
