"""Open the images of a spec: source, attacked images, groups, units."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from ..bars import late_bar
from ..circuits import ClassInfo
from ..errors import InputError
from ..images import CONDITIONS, Grouping, ImageSource, open_source, read_groups, read_units
from ..models import ViT
from .spec import FolderSpec, Spec, errors_at, named_or_file


def open_images(spec: Spec, model: ViT, groups: Grouping | None = None, *, progress: bool = False) -> ImageSource:
    """Open the images of a spec, divided into groups if the spec or `groups` says how, with units in one split.

    Raises:
        InputError: the images cannot be used, or cannot be divided.
    """
    with errors_at(spec, "images.source"):
        bars = partial(late_bar, unit="file", desc="reading files", wanted=progress)
        attacked = attacked_folders(spec)
        options: dict[str, Any] = {"name": spec.images.name, "attacked": attacked, "masks": spec.images.masks}
        source = open_source(_source(spec), model, **options, progress=bars)
    grouping = groups if groups is not None or spec.images.groups is None else named_or_file(spec.images.groups)
    if grouping is not None:
        with errors_at(spec, "images.groups"):
            source.groups = read_groups(source, grouping)
    if spec.images.units is not None:
        with errors_at(spec, "images.units"):
            source.keep_together(read_units(source, named_or_file(spec.images.units)))
    return source


def _source(spec: Spec) -> str | dict[str, Any]:
    source = spec.images.source
    match source:
        case str():
            return source
        case FolderSpec():
            return source.model_dump()
        case _:
            return {"kind": source.kind, **source.params}


def attacked_folders(spec: Spec) -> dict[str, Path]:
    """Return the folders of attacked images by the name of their condition."""
    folders: dict[str, Path] = {}
    for i, condition in enumerate(spec.condition):
        if condition.path is not None:
            name = str(CONDITIONS.resolve(condition.kind, condition.params)["name"])
            if folders.setdefault(name, condition.path) != condition.path:
                raise InputError(
                    f"{spec.origin}: condition[{i}].name: {name!r} is already the name of {folders[name]}; "
                    "give each folder a different name"
                )
    return folders


def groups_of_class(source: ImageSource, cls: ClassInfo, notices: dict[str, None]) -> tuple[str, ...]:
    """Return the groups of a class that have at least two images; one without a name if images are not divided."""
    if not source.groups:
        return ("",)
    counts = Counter(source.groups.get(ref.hash, "") for ref in source.candidates(cls))
    if without := counts.pop("", 0):
        notices[f"class {cls.name!r}: {without} images are in no group and only serve as a contrast to others"] = None
    single = sorted(group for group, count in counts.items() if count == 1)
    if single:
        notices[f"class {cls.name!r}: left out, because they have one image: groups {', '.join(single)}"] = None
    return tuple(sorted(counts.keys() - set(single)))
