"""The group or the unit of each image: from a column of the source, a file, or a function of the image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..errors import InputError
from .files import printable
from .source import ImageRef, ImageSource
from .tables import read_table, require_column

Grouping = str | Path | Callable[[ImageSource, ImageRef], str | None]
"""Name of a column, file, or a function of the source and an image; None is no group."""


def read_groups(source: ImageSource, grouping: Grouping) -> dict[str, str]:
    """Return the group of each image that has one, by content hash.

    Args:
        source: source of the images.
        grouping: the name of a column of the source; the `Path` of a CSV or Parquet file with the columns `group` and
            `path` (as the source describes the image) or `hash` (SHA-256 of its content); or a function that gets the
            source and an image, and returns the name of its group, or None.

    Raises:
        InputError: there is no such column or file, no image has a group, or a name is not printable text.

    Examples:
        >>> groups = read_groups(source, lambda source, ref: "dark" if source.view(ref).mean() < 40 else "light")
        >>> sorted(set(groups.values()))
        ['dark', 'light']
    """
    return _read(source, grouping, "group")


def read_units(source: ImageSource, grouping: Grouping) -> dict[str, str]:
    """Return the unit of each image that has one, by content hash: images of one unit have to be in the same split.

    A unit is what images are copies of or have in common: a patient, a scene, a digit that was drawn twice.

    Args:
        source: source of the images.
        grouping: as for `read_groups`; the column of a file is `unit`.

    Raises:
        InputError: as for `read_groups`.

    Examples:
        >>> units = read_units(source, lambda source, ref: ref.hash[:2])
        >>> len(units) == sum(len(source.candidates(cls)) for cls in source.classes)
        True
    """
    return _read(source, grouping, "unit")


def _read(source: ImageSource, grouping: Grouping, what: str) -> dict[str, str]:
    """Return the name of each image that has one, by content hash; `what` is the column of a file."""
    refs = [ref for cls in source.classes for ref in source.candidates(cls)]
    if isinstance(grouping, str):
        found, where = dict(source.column(grouping)), f"{source.name}: column {grouping!r}"
    elif isinstance(grouping, Path):
        found, where = _of_file(grouping, refs, what), str(grouping)
    else:
        named = {ref.hash: grouping(source, ref) for ref in refs}
        found, where = {hash_: name for hash_, name in named.items() if name is not None}, f"{what}s"
    wrong = next((name for name in found.values() if not _is_name(name)), None)
    if wrong is not None:
        expected = f"printable text without outer blanks as the name of a {what}"
        raise InputError(f"{where}: expected {expected}, got {wrong!r}")
    if not found:
        raise InputError(f"{where}: no image of {source.name} has a {what}")
    return found


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name.isprintable() and name == name.strip() != ""


def _of_file(file: Path, refs: Iterable[ImageRef], what: str) -> dict[str, str]:
    """Return the names in a column of a file.

    Raises:
        InputError: a column is missing, an image has two names, or no row is about an image of the source.
    """
    table = read_table(file, f"a table of {what}s")
    require_column(table, what, file)
    if "hash" not in table:
        require_column(table, "path", file)
    key = "hash" if "hash" in table else "path"
    names: dict[str, str] = {}
    for row, (place, name) in enumerate(zip(table[key], table[what], strict=True), 1):
        if names.setdefault(place, name) != name:
            raise InputError(f"{file}: row {row}: {place} is in {names[place]!r} and in {name!r}; keep one of them")
    hashes = {ref.hash if key == "hash" else ref.origin: ref.hash for ref in refs}
    if hashes.keys().isdisjoint(names):
        example = printable(next(iter(hashes)))
        raise InputError(f"{file}: no {key} is that of an image; the {key} of an image is, for example, {example}")
    return {hashes[place]: name for place, name in names.items() if name and place in hashes}
