"""What every public function that runs a model does first."""

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
    """Check that the first argument, `model`, was loaded, and put aside what is set in torch, see `plain_torch`."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if args or "model" in kwargs:
            _check_loaded(args[0] if args else kwargs["model"])
        with plain_torch():
            return function(*args, **kwargs)

    return run


def _check_loaded(model: object) -> None:
    """Refuse what is no loaded model.

    Raises:
        InputError: not a model that `load_model` or `load_clip` has returned; says how to load it.
    """
    if isinstance(model, ViT):
        return
    got, how = f"{type(model).__name__}", "cs.load_model(…)"
    if isinstance(model, str):
        got, how = repr(model), f"cs.load_model({model!r})"
    elif isinstance(model, nn.Module):
        how = "cs.load_model(module)"
    raise InputError(f"model: expected a loaded model, got {got}; load it: model = {how}")
