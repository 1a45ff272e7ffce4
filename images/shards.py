"""Shards of WebDataset: tar files in which `0001.jpg` and `0001.cls` (or `0001.json`) are one sample."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .files import printable, suffixes
from .hashes import Stamp
from .listing import EncodedImage, ListedSource, Listing
from .opening import Opening, SourceKind, classes_param, name_param, path_param, require_no_attacked


@dataclass(frozen=True, kw_only=True)
class MemberImage(EncodedImage):
    """An image in an uncompressed tar file."""

    shard: Path
    start: int
    size: int

    def stamp(self) -> Stamp:
        return Stamp.of(self.shard, f":{self.start}")

    def read(self) -> bytes:
        with self.shard.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)


def _open(opening: Opening) -> ListedSource:
    require_no_attacked(opening)
    pattern: Path = opening.options["path"]
    shards = _shards(pattern)
    listing = Listing(str(pattern))
    for shard in shards:
        for key, parts in _samples(shard).items():
            _add(listing, shard, key, parts, opening.options["class_field"])
    return ListedSource(opening, listing, (pattern if pattern.is_dir() else pattern.parent).resolve().name)


def _shards(pattern: Path) -> list[Path]:
    """Return the tar files of a folder, or those that a path with wildcards matches, by name."""
    folder, names = (pattern, "*.tar") if pattern.is_dir() else (pattern.parent, pattern.name)
    found = sorted(path for path in folder.glob(names) if path.is_file())
    if not found:
        raise InputError(
            f"{pattern}: no such tar files; expected a folder of .tar files, or a path such as train-*.tar"
        )
    return found


Sample = dict[str, tarfile.TarInfo]
"""The files of a sample by what follows the first dot in their names, in lower case."""


def _samples(shard: Path) -> dict[str, Sample]:
    """Return the samples of a shard by key: the path of a file up to the first dot in its name."""
    samples: dict[str, Sample] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                folder, slash, file = member.name.rpartition("/")
                stem, _, suffix = file.partition(".")
                if member.isfile() and stem:
                    samples.setdefault(f"{folder}{slash}{stem}", {})[suffix.lower()] = member
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{shard}: cannot be read as an uncompressed tar file: {error}") from error
    return samples


def _add(listing: Listing, shard: Path, key: str, sample: Sample, class_field: str) -> None:
    """Add the image of a sample to its class, or record why it is skipped."""
    origin = f"{shard.name}/{key}"
    images = [suffix for suffix in sample if f".{suffix.rpartition('.')[2]}" in suffixes()]
    if len(images) != 1:
        return listing.skip(origin, f"{len(images) or 'no'} images in the sample, expected one")
    member = sample[images[0]]
    try:
        fields = _fields(shard, sample)
    except ValueError as error:
        return listing.skip(origin, f"its .json cannot be read as a table of values: {error}")
    label = (
        _bytes(shard, sample["cls"]).decode(errors="replace").strip() if "cls" in sample else fields.get(class_field)
    )
    if not label:
        return listing.skip(origin, f"no class: expected a file .cls, or {class_field!r} in a file .json")
    listing.add(
        label,
        MemberImage(
            origin=f"{origin}.{images[0]}", shard=shard, start=member.offset_data, size=member.size, fields=fields
        ),
    )
    return None


def _fields(shard: Path, sample: Sample) -> Mapping[str, str]:
    """Return the plain values of the .json of a sample as text. Raises ValueError if it is not an object."""
    if "json" not in sample:
        return {}
    values = json.loads(_bytes(shard, sample["json"]))
    if not isinstance(values, dict):
        raise ValueError(f"got {type(values).__name__}")
    return dict(_plain(values))


def _plain(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, str | int | float):
            yield key, str(value)


def _bytes(shard: Path, member: tarfile.TarInfo) -> bytes:
    image = MemberImage(origin=printable(member.name), shard=shard, start=member.offset_data, size=member.size)
    return image.read()


WEBDATASET = SourceKind(
    key="webdataset",
    name="shards of WebDataset, uncompressed tar files: 0001.jpg with its class in 0001.cls or 0001.json",
    params={
        "path": path_param("the path of a .tar file, of several with wildcards (train-*.tar), or of a folder of them"),
        "class_field": name_param("the field of .json files that has the class", "class"),
        "classes": classes_param(),
    },
    paths=("path",),
    open=_open,
)
