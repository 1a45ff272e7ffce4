"""Match attacked images in one folder to clean images in another, by class folder and file name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .files import BadImage, check_header, oriented_size, printable, suffixes
from .source import ImageRef

MAX_NAMED = 5


@dataclass(frozen=True)
class Twins:
    """The attacked images of one folder.

    Attributes:
        root: the folder.
        refs: the attacked twin of each clean image, by the clean image's hash; the origin is relative to `root`.
        views: hashes of clean images whose twin already has the model's image size and is not preprocessed.
        unmatched: images in `root` without a clean image, as paths relative to it.
    """

    root: Path
    refs: Mapping[str, ImageRef]
    views: frozenset[str]
    unmatched: tuple[str, ...]


def find_twins(root: Path, clean_root: Path, refs: Sequence[ImageRef], size: tuple[int, int]) -> Twins:
    """Find each clean image's attacked twin: the file with its class folder and name, with any image suffix.

    Args:
        root: folder of the attacked images, with one folder per class.
        clean_root: folder of the clean images.
        refs: the clean images.
        size: height and width of the model's images.

    Raises:
        InputError: no such folder, no image with a twin, several candidates for one image's twin, a twin that cannot
            be read, or one that has neither the size of its clean image nor the model's image size.
    """
    files = _list_files(root)
    paths = {ref: path for ref in refs if (path := _match(root, ref, files)) is not None}
    _check_one_each(root, paths)
    if not paths:
        raise InputError(
            f"{root}: none of the {len(refs)} images of {clean_root} has an attacked twin here; expected files with "
            f"the same class folder and name, such as {', '.join(printable(ref.origin) for ref in refs[:1])}"
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
        raise InputError(f"{root}: {_first_few(wrong, '; ')}; repair or remove these files")
    others = {_origin(path) for stems in files.values() for of in stems.values() for path in of}
    unmatched = others.difference(map(_origin, paths.values()))
    return Twins(root, found, frozenset(views), tuple(sorted(map(printable, unmatched))))


def unmatched_notices(name: str, twins: Twins) -> Iterator[str]:
    """Yield the notice about attacked images of a condition without a clean image."""
    if twins.unmatched:
        yield f"condition {name!r}: {_first_few(twins.unmatched)} in {twins.root}: no clean image of the same name"


def _list_files(root: Path) -> dict[str, dict[str, list[Path]]]:
    """List files that may be images, by class folder and stem."""
    found: dict[str, dict[str, list[Path]]] = {}
    try:
        for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in suffixes() and not path.name.startswith(".") and path.is_file():
                    found.setdefault(folder.name, {}).setdefault(path.stem, []).append(path)
    except OSError as error:
        raise InputError(f"{root}: not a readable folder of attacked images ({error.strerror})") from error
    return found


def _match(root: Path, ref: ImageRef, files: Mapping[str, Mapping[str, Sequence[Path]]]) -> Path | None:
    """Return the file with the same name, else the only one with the same stem."""
    clean = Path(ref.origin)
    there = files.get(clean.parent.name, {}).get(clean.stem, ())
    same = [path for path in there if path.name == clean.name]
    if not same and len(there) > 1:
        named = " and ".join(printable(_origin(path)) for path in there)
        raise InputError(f"{root}: {named} both match {printable(ref.origin)}; keep one of them")
    return next(iter(same or there), None)


def _check_one_each(root: Path, paths: Mapping[ImageRef, Path]) -> None:
    owners: dict[Path, ImageRef] = {}
    for ref, path in paths.items():
        other = owners.setdefault(path, ref)
        if other != ref:
            raise InputError(
                f"{root}: {printable(_origin(path))} matches {printable(other.origin)} and {printable(ref.origin)}; "
                "give attacked images the full names of the clean ones"
            )


def _fits_model(path: Path, clean: Path, size: tuple[int, int]) -> bool:
    """Return whether a twin has the model's image size and not its clean image's.

    Raises:
        BadImage: the twin cannot be read, or has neither size.
    """
    check_header(path)
    own, of_clean, of_model = oriented_size(path), oriented_size(clean), (size[1], size[0])
    if own not in (of_clean, of_model):
        raise BadImage(
            _origin(path),
            f"{_pixels(own)}, expected {_pixels(of_clean)} like its clean image, or {_pixels(of_model)} like the "
            "model's images",
        )
    return own != of_clean


def _origin(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _pixels(width_height: tuple[int, int]) -> str:
    return f"{width_height[0]} × {width_height[1]} pixels"


def _first_few(texts: Sequence[str], separator: str = ", ") -> str:
    """Return the first few texts, and how many more there are."""
    more = f" and {len(texts) - MAX_NAMED} more" if len(texts) > MAX_NAMED else ""
    return separator.join(texts[:MAX_NAMED]) + more
