"""Kinds of source, and the arguments for opening one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..circuits.kinds import ABSENT, REQUIRED, Kind, Param
from ..errors import InputError
from ..models import ViT
from .source import ImageSource

Progress = Callable[[Sequence[Any]], Iterable[Any]]
"""Returns the elements of a sequence, and displays how many of them have been taken."""


class Opening(NamedTuple):
    """The arguments for opening a source.

    Attributes:
        model: the model that sees the images.
        options: the values of the kind's parameters, by name.
        name: name of the data set; None: the source's own.
        attacked: folders of attacked images, by the name of their condition.
        progress: displays the progress of reading files.
    """

    model: ViT
    options: Mapping[str, Any]
    name: str | None
    attacked: Mapping[str, Path]
    progress: Progress = iter


@dataclass(frozen=True, kw_only=True)
class SourceKind(Kind):
    """A kind of source; its parameters are the other keys of the source's table.

    Attributes:
        open: returns the images as a model sees them, or raises InputError if they cannot be used.
        paths: names of the parameters that are paths; relative ones in a spec are relative to its folder.
    """

    open: Callable[[Opening], ImageSource]
    paths: tuple[str, ...] = ()


def require_no_attacked(opening: Opening) -> None:
    """Raise InputError if there are folders of attacked images, which only a folder of class folders has."""
    if opening.attacked:
        raise InputError(
            f"condition {next(iter(opening.attacked))!r}: attacked images are found by class folder and file name, "
            "which only a source { folder = … } without nested folders has; put the images into class folders"
        )


def path_param(allowed: str) -> Param:
    """Return the required parameter for a path."""

    def read(value: Any) -> Any:
        if not isinstance(value, str | Path) or not str(value):
            raise ValueError(value)
        return Path(value)

    return Param(REQUIRED, allowed, read)


def name_param(allowed: str, default: Any = REQUIRED) -> Param:
    """Return the parameter for a text that is not empty."""
    return Param.accepting(default, allowed, lambda value: isinstance(value, str) and bool(value))


def classes_param() -> Param:
    """Return the parameter for the table of classes, which every source with names of classes has."""

    def read(value: Any) -> Any:
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(value)
        return value

    return Param(None, "a table of name = class index; by default the names are matched to the model's labels", read)


def optional(param: Param) -> Param:
    """Return the parameter without a default, which may be left out."""
    return Param(ABSENT, param.allowed, param.read)
