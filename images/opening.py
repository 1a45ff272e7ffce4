"""From what a user names as the source of images to the source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, unknown
from ..models import ViT
from .digits import DigitsSource
from .folder import FolderSource
from .source import ImageSource


def open_source(
    source: str | Mapping[str, Any],
    model: ViT,
    *,
    name: str | None = None,
    attacked: Mapping[str, Path] | None = None,
) -> ImageSource:
    """The images of a source as the model sees them.

    Args:
        name: what the data set is called; default: the name of the folder.
        source: `"digits"`, the bundled digits held out from the demo model's training; or
            `{folder: path, classes: {folder name: class index} or None}`.
        attacked: folders of attacked images, by the name of their condition; with a folder only.

    Raises:
        InputError: no such source, or one that cannot be used; says why.
    """
    if isinstance(source, str):
        if source == "digits":
            if attacked:
                raise InputError("digits are no files, so a folder cannot hold attacked ones of their names")
            return DigitsSource(model, name or source)
        raise unknown("source of images", source, ("digits", '{ folder = "…" }'))
    extra = set(source) - {"folder", "classes"}
    if extra or "folder" not in source:
        raise InputError(f"source of images: expected folder and, if wanted, classes; got {sorted(source)}")
    return FolderSource(Path(source["folder"]), source.get("classes"), model, name, attacked)
