"""Pairs of folders: attacked images beside the clean ones that they were made from, by class folder and file name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .files import BadImage, check_header, shown, shown_size, suffixes
from .source import ImageRef

MOST_NAMED = 5


@dataclass(frozen=True)
class Twins:
    """The attacked images of one folder.

    Attributes:
        root: the folder.
        refs: the attacked image of each clean one, by the clean one's hash; the origin is the path below `root`.
        views: hashes of the clean images whose twin is as large as the model's images, and is shown to it as it is.
        unmatched: images of `root` that belong to no clean one, as paths below it.
    """

    root: Path
    refs: Mapping[str, ImageRef]
    views: frozenset[str]
    unmatched: tuple[str, ...]


def find_twins(root: Path, clean_root: Path, refs: Sequence[ImageRef], size: tuple[int, int]) -> Twins:
    """The attacked image of each clean one: the file of the same class folder and name, whatever the image suffix.

    Args:
        root: folder of the attacked images, with one folder per class.
        clean_root: folder of the clean images.
        refs: the clean images.
        size: height and width of the model's images.

    Raises:
        InputError: no such folder, no image with a twin, several files that may be one image's twin, a twin that
            cannot be read, or that is neither as large as its clean image nor as the model's images.
    """
    files = _listed(root)
    paths = {ref: path for ref in refs if (path := _match(root, ref, files)) is not None}
    _check_one_each(root, paths)
    if not paths:
        raise InputError(
            f"{root}: none of the {len(refs)} images of {clean_root} has an attacked twin here; expected files of the "
            f"same class folder and name, such as {', '.join(shown(ref.origin) for ref in refs[:1])}"
        )
    found, views, wrong = {}, set(), []
    for ref, path in paths.items():
        try:
            if _fits_model(path, clean_root / ref.origin, size):
                views.add(ref.hash)
            with path.open("rb") as file:
                found[ref.hash] = ImageRef(hashlib.file_digest(file, "sha256").hexdigest(), _origin(path))
        except (BadImage, OSError) as error:
            wrong.append(str(error))
    if wrong:
        raise InputError(f"{root}: {_few(wrong, '; ')}; mend these files, or take them away")
    others = {_origin(path) for stems in files.values() for of in stems.values() for path in of}
    unmatched = others.difference(map(_origin, paths.values()))
    return Twins(root, found, frozenset(views), tuple(sorted(map(shown, unmatched))))


def remarks(name: str, twins: Twins) -> Iterator[str]:
    """What a user should know of the attacked images of a condition."""
    if twins.unmatched:
        yield f"condition {name!r}: {_few(twins.unmatched)} in {twins.root}: no clean image of that name"


def _listed(root: Path) -> dict[str, dict[str, list[Path]]]:
    """Files that may be images, by class folder and stem."""
    found: dict[str, dict[str, list[Path]]] = {}
    try:
        for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in suffixes() and not path.name.startswith(".") and path.is_file():
                    found.setdefault(folder.name, {}).setdefault(path.stem, []).append(path)
    except OSError as error:
        raise InputError(f"{root}: not a folder of attacked images that can be read ({error.strerror})") from error
    return found


def _match(root: Path, ref: ImageRef, files: Mapping[str, Mapping[str, Sequence[Path]]]) -> Path | None:
    """The file of the same name, else the only one of the same stem."""
    clean = Path(ref.origin)
    there = files.get(clean.parent.name, {}).get(clean.stem, ())
    same = [path for path in there if path.name == clean.name]
    if not same and len(there) > 1:
        named = " and ".join(shown(_origin(path)) for path in there)
        raise InputError(f"{root}: {named} may both be the twin of {shown(ref.origin)}; keep one of them")
    return next(iter(same or there), None)


def _check_one_each(root: Path, paths: Mapping[ImageRef, Path]) -> None:
    owners: dict[Path, ImageRef] = {}
    for ref, path in paths.items():
        other = owners.setdefault(path, ref)
        if other != ref:
            raise InputError(
                f"{root}: {shown(_origin(path))} may be the twin of {shown(other.origin)} and of {shown(ref.origin)}; "
                "give attacked images the full names of the clean ones"
            )


def _fits_model(path: Path, clean: Path, size: tuple[int, int]) -> bool:
    """Whether a twin is as large as the model's images and not as its clean image.

    Raises:
        BadImage: it cannot be read, or has neither size.
    """
    check_header(path)
    own, of_clean, of_model = shown_size(path), shown_size(clean), (size[1], size[0])
    if own not in (of_clean, of_model):
        raise BadImage(
            _origin(path),
            f"{_pixels(own)}, expected {_pixels(of_clean)} like its clean image, or {_pixels(of_model)} as the model "
            "reads images",
        )
    return own != of_clean


def _origin(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _pixels(width_height: tuple[int, int]) -> str:
    return f"{width_height[0]} × {width_height[1]} pixels"


def _few(told: Sequence[str], between: str = ", ") -> str:
    """The first few, and how many more."""
    more = f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
    return between.join(told[:MOST_NAMED]) + more
