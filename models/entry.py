"""The checks at the start of every public function that runs a model."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from torch import nn

from ..errors import InputError
from .ambient import plain_torch
from .vit import ViT

P = ParamSpec("P")
R = TypeVar("R")


def runs_model(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function to check that its first argument, `model`, is loaded, and to run it in `plain_torch`.

    Examples:
        >>> @runs_model
        ... def accuracy(model, pairs):
        ...     return (model.logits(pairs.clean).argmax(dim=1) == pairs.labels).float().mean().item()
        >>> accuracy(model, pairs)
        0.875
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if args or "model" in kwargs:
            _check_loaded(args[0] if args else kwargs["model"])
        with plain_torch():
            return function(*args, **kwargs)

    return run


def _check_loaded(model: object) -> None:
    """Check that an argument is a loaded model.

    Raises:
        InputError: neither `load_model` nor `load_clip` returned it; the message says how to load it.
    """
    if isinstance(model, ViT):
        return
    got, how = f"{type(model).__name__}", "cs.load_model(…)"
    if isinstance(model, str):
        got, how = repr(model), f"cs.load_model({model!r})"
    elif isinstance(model, nn.Module):
        how = "cs.load_model(module)"
    raise InputError(f"model: expected a loaded model, got {got}; load it: model = {how}")
