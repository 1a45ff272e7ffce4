"""Registry of image sources: `digits`, `folder`, and those of other packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..circuits import Variant
from ..circuits.kinds import Kind, Registry
from ..errors import InputError
from ..models import ViT
from .digits import DigitsSource
from .folder import FolderSource
from .source import ImageSource


class Opening(NamedTuple):
    """The arguments for opening a source.

    Attributes:
        model: the model that sees the images.
        options: the other keys of the source's table.
        name: name of the data set; None: the source's own.
        attacked: folders of attacked images, by the name of their condition.
    """

    model: ViT
    options: Mapping[str, Any]
    name: str | None
    attacked: Mapping[str, Path]


@dataclass(frozen=True, kw_only=True)
class SourceKind(Kind):
    """A kind of source.

    Attributes:
        open: returns the images as a model sees them, or raises InputError if they cannot be used.
    """

    open: Callable[[Opening], ImageSource]


def _digits(opening: Opening) -> ImageSource:
    _check_options("digits", opening, ())
    if opening.attacked:
        raise InputError("digits are not files, so a folder cannot hold attacked files of the same names")
    return DigitsSource(opening.model, opening.name or "digits")


def _folder(opening: Opening) -> ImageSource:
    _check_options("folder", opening, ("folder", "classes"))
    if "folder" not in opening.options:
        raise InputError("source of images: folder is missing; set it to the path of a folder of class folders")
    folder, classes = Path(opening.options["folder"]), opening.options.get("classes")
    return FolderSource(folder, classes, opening.model, opening.name, opening.attacked or None)


def _check_options(kind: str, opening: Opening, known: tuple[str, ...]) -> None:
    extra = sorted(set(opening.options) - set(known))
    if extra:
        expected = " and, optionally, ".join(known) or "no further keys"
        raise InputError(f"source of images {kind!r}: expected {expected}; got {', '.join(extra)}")


SOURCES: Registry[SourceKind, Variant] = Registry(
    "source of images",
    "sources",
    Variant,
    (
        SourceKind(key="digits", name="handwritten digits that the demo model was not trained on", open=_digits),
        SourceKind(key="folder", name="a folder with one folder of images per class", open=_folder),
    ),
)
"""All kinds of source by key."""


def open_source(
    source: str | Mapping[str, Any],
    model: ViT,
    *,
    name: str | None = None,
    attacked: Mapping[str, Path] | None = None,
    masks: Path | None = None,
) -> ImageSource:
    """Open a source of images, as the model sees them.

    Args:
        source: a key of `SOURCES`; `{folder: path, classes: {folder name: class index} or None}`; or
            `{kind: key, …}` with the options of that kind.
        model: the model that sees the images.
        name: name of the data set; by default the folder's.
        attacked: folders of attacked images, by the name of their condition; only for a folder.
        masks: folder of masks of the images' foreground, for the corruption `inpaint`.

    Raises:
        InputError: there is no such source, or it cannot be used; the message says why.

    Examples:
        >>> source = open_source("digits", model)
        >>> [c.name for c in source.classes][:3]
        ['zero', 'one', 'two']
    """
    options = {"kind": source} if isinstance(source, str) else dict(source)
    kind = options.pop("kind", "folder")
    opened = SOURCES[kind].open(Opening(model, options, name, attacked or {}))
    opened.masks = masks
    return opened
