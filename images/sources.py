"""Registry of image sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..circuits import Variant
from ..circuits.kinds import Registry
from ..errors import InputError
from ..models import ViT
from .digits import DigitsSource
from .folder import FOLDER
from .hub import HUB
from .manifest import MANIFEST
from .opening import Opening, Progress, SourceKind
from .shards import WEBDATASET
from .source import ImageSource
from .torchvision_sets import TORCHVISION


def _digits(opening: Opening) -> ImageSource:
    if opening.attacked:
        raise InputError("digits are not files, so a folder cannot hold attacked files of the same names")
    return DigitsSource(opening.model, opening.name or "digits")


DIGITS = SourceKind(key="digits", name="handwritten digits that the demo model was not trained on", open=_digits)

SOURCES: Registry[SourceKind, Variant] = Registry(
    "source of images", "sources", Variant, (DIGITS, FOLDER, MANIFEST, WEBDATASET, TORCHVISION, HUB)
)
"""All kinds of source by key."""


def open_source(
    source: str | Mapping[str, Any],
    model: ViT,
    *,
    name: str | None = None,
    attacked: Mapping[str, Path] | None = None,
    masks: Path | None = None,
    progress: Progress = iter,
) -> ImageSource:
    """Open a source of images, as the model sees them.

    Args:
        source: a key of `SOURCES`; `{kind: key, …}` with the parameters of that kind; without `kind`, those of
            `folder`.
        model: the model that sees the images.
        name: name of the data set; by default the folder's or file's.
        attacked: folders of attacked images, by the name of their condition; only for a folder.
        masks: folder of masks of the images' foreground, for the corruption `inpaint`.
        progress: displays the progress of reading files whose content is not known yet.

    Raises:
        InputError: there is no such source, or it cannot be used; the message says why.

    Examples:
        >>> source = open_source("digits", model)
        >>> [c.name for c in source.classes][:3]
        ['zero', 'one', 'two']
    """
    options = {"kind": source} if isinstance(source, str) else dict(source)
    kind = options.pop("kind", FOLDER.key)
    resolved = SOURCES.resolve(kind, options)
    opened = SOURCES[kind].open(Opening(model, dict(resolved.params), name, attacked or {}, progress))
    opened.masks = masks
    return opened
