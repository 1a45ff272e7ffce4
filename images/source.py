"""The base class of image sources: classes with their logits, images identified by content, and skipped files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ..circuits import ClassInfo, digest
from ..errors import InputError, unknown
from ..models import Preprocess
from .cycle import ClassCycle
from .files import BadImage, printable
from .labels import Labels, plain
from .splits import Split, assign_units

_CACHE_BYTES = 128 * 2**20
"""Memory for views: every condition and corruption of a class uses the same ones."""


@dataclass(frozen=True)
class ImageRef:
    """An image, identified by its content.

    Attributes:
        hash: SHA-256 (hex) of the file's bytes (digits: of the pixels).
        origin: description of its place: the path relative to the folder.
    """

    hash: str
    origin: str


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was skipped, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class SourceClass:
    """A class with its images; `word` is the plain word that attacks write for it."""

    info: ClassInfo
    word: str
    images: tuple[ImageRef, ...]


class ImageSource(ABC):
    """Images of several classes, as one model sees them.

    No two images have the same content. Every skipped file is reported.

    Attributes:
        name: name of the data set.
        classes: classes sorted by class index.
        skipped: files and folders that were skipped.
        notices: messages for the user about the images, including the skipped ones.
        masks: folder of masks of the foreground, see `find_masks`; None without masks.
        groups: the group of each image that has one, by content hash; empty if the images are not divided.
        units_digest: digest of the units that are kept in one split; empty without them.
    """

    masks: Path | None = None

    def __init__(
        self,
        name: str,
        classes: Sequence[SourceClass],
        labels: Labels,
        preprocess: Preprocess,
        skipped: Sequence[Skipped] = (),
        notices: Sequence[str] = (),
    ) -> None:
        self._classes = {c.info: c for c in sorted(classes, key=lambda c: c.info.class_index)}
        if not self._classes:
            raise InputError(f"{name}: no class has a usable image{_first_reasons(skipped)}")
        self.name = name
        self.classes: tuple[ClassInfo, ...] = tuple(self._classes)
        self.skipped = tuple(skipped)
        self.groups: Mapping[str, str] = {}
        self.notices = (*_by_reason(skipped), *notices)
        self._labels, self._preprocess = labels, preprocess
        height, width = preprocess.size
        self._class_of = {ref.hash: c.info for c in classes for ref in c.images}
        self.units_digest = ""
        self._splits = self._split_by({})
        kept = max(64, _CACHE_BYTES // (height * width * 3))
        self._cached_view = lru_cache(kept)(self._load_view)
        self._cached_cycle = lru_cache(8)(partial(ClassCycle, self.classes))
        self._cached_mean = lru_cache(kept)(self._mean)

    @abstractmethod
    def image(self, ref: ImageRef) -> Image.Image:
        """Return the image in RGB.

        Raises:
            BadImage: the image cannot be decoded, or has changed since the source was opened.
        """

    def image_size(self, ref: ImageRef) -> tuple[int, int]:
        """Return the width and height of the image.

        Raises:
            BadImage: the image cannot be decoded.
        """
        return self.image(ref).size

    def mask_file(self, ref: ImageRef) -> Path | None:
        """Return the file of the mask of an image, which may be missing; None if the source names none."""
        return None if self.masks is None else (self.masks / ref.origin).with_suffix(".png")

    def column(self, name: str) -> Mapping[str, str]:
        """Return the values of a column that the source has in addition to classes, by the content hash of the image.

        Raises:
            InputError: there is no such column.
        """
        raise InputError(f"{self.name}: there is no column {name!r}: this source has no columns")

    def class_named(self, name: str) -> ClassInfo:
        """Return the class of this name.

        Raises:
            InputError: there is none; the message suggests the nearest names.
        """
        by_name = {c.name: c for c in self.classes}
        if name not in by_name:
            raise unknown("class", name, by_name, where=self.name)
        return by_name[name]

    def candidates(self, cls: ClassInfo, group: str = "") -> tuple[ImageRef, ...]:
        """Return the images of the class, sorted by content hash; some may turn out to be undecodable.

        Args:
            cls: the class.
            group: only the images of this group; empty: all images.
        """
        images = self._classes[cls].images
        return tuple(ref for ref in images if self.groups.get(ref.hash) == group) if group else images

    def class_of(self, ref: ImageRef) -> ClassInfo:
        """Return the class of the image."""
        return self._class_of[ref.hash]

    def split_of(self, ref: ImageRef) -> Split:
        """Return the split of the image."""
        return self._splits[ref.hash]

    def cycle(self, seed: int) -> ClassCycle:
        """Return the classes in the cyclic order of a seed."""
        return self._cached_cycle(seed)

    def keep_together(self, units: Mapping[str, str]) -> None:
        """Assign all images of a unit to the same split.

        Args:
            units: name of the unit by content hash, see `read_units`; an image without one is its own unit.
        """
        self.units_digest = digest(dict(units))
        self._splits = self._split_by(units)
        self._cached_mean.cache_clear()  # means are over discovery images

    def _split_by(self, units: Mapping[str, str]) -> dict[str, Split]:
        return assign_units(([ref.hash for ref in c.images] for c in self._classes.values()), units)

    def word(self, cls: ClassInfo) -> str:
        """Return the plain word for the class."""
        return self._classes[cls].word

    def class_index_of(self, text: str) -> int | None:
        """Return the logit of the class that a text names: a class of the source or a label of the model, else None."""
        found = self._index_by_name.get(plain(text))
        return self._labels.find(text) if found is None else found

    @cached_property
    def _index_by_name(self) -> dict[str, int]:
        """The logit of each class by its name and its word; of equal ones, the first class's."""
        named = [(text, cls) for cls in self.classes for text in (cls.name, self.word(cls))]
        return {plain(text): cls.class_index for text, cls in reversed(named)}

    def name_of(self, class_index: int) -> str:
        """Return the name of a logit's class: from the source, else from the model's labels, else its number."""
        words = self._labels.words
        return self._name_by_index.get(class_index) or (words[class_index] if words else str(class_index))

    @cached_property
    def _name_by_index(self) -> dict[int, str]:
        return {cls.class_index: cls.name for cls in self.classes}

    def view(self, ref: ImageRef) -> UInt8[np.ndarray, "height width 3"]:
        """Return the image as the model sees it, before normalisation; read-only.

        Raises:
            BadImage: the image cannot be decoded.
        """
        return self._cached_view(ref)

    def has_attacked(self, cls: ClassInfo) -> bool:
        """Return whether images of the class exist under every condition that is a folder.

        A class without them can only be used for contrast with other classes.
        """
        return True

    def attacked_ref(self, name: str, ref: ImageRef) -> ImageRef:
        """Return the attacked twin of a clean image.

        Args:
            name: name of the condition.
            ref: the clean image.

        Raises:
            InputError: there is none.
        """
        raise InputError(f"{self.name}: condition {name!r} has no attacked image of {printable(ref.origin)}")

    def attacked_view(self, name: str, ref: ImageRef) -> UInt8[np.ndarray, "height width 3"]:
        """Return the attacked twin as the model sees it, before normalisation; read-only.

        Raises:
            InputError: there is none.
            BadImage: the image cannot be decoded.
        """
        raise InputError(f"{self.name}: these images are not files, so there are no attacked files of the same names")

    def to_view(self, image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
        """Return any image as the model sees it: resized and cropped, before normalisation."""
        return self._preprocess.view(image)

    def mean_view(self, count: int, cls: ClassInfo | None = None) -> UInt8[np.ndarray, "height width 3"]:
        """Return the mean over up to `count` discovery images of a class, or of all classes, rounded; read-only.

        It uses the first images by content hash, whatever the model predicts for them, so that every condition and seed
        has the same mean image. Undecodable images are skipped.

        Raises:
            InputError: no discovery image can be decoded.
        """
        return self._cached_mean(count, cls)

    def first_views(self, count: int, cls: ClassInfo | None = None) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Yield up to `count` discovery images of a class, or of all classes, by content hash; bad images are skipped.

        Raises:
            InputError: no discovery image can be decoded.
        """
        found = 0
        for ref in self.discovery_refs(cls):
            if found == count:
                return
            with suppress(BadImage):
                view = self.view(ref)
                found += 1
                yield view
        if not found:
            of = "" if cls is None else f" of class {cls.name!r}"
            raise InputError(f"{self.name}: there is no discovery image{of} to average; add images")

    def discovery_refs(self, cls: ClassInfo | None = None) -> tuple[ImageRef, ...]:
        """Return the discovery images of a class, or of all classes, sorted by content hash."""
        classes = self._classes.values() if cls is None else [self._classes[cls]]
        refs = [r for c in classes for r in c.images if self.split_of(r) == "discovery"]
        return tuple(sorted(refs, key=lambda r: r.hash))

    def _load_view(self, ref: ImageRef) -> UInt8[np.ndarray, "height width 3"]:
        view = self.to_view(self.image(ref))
        view.setflags(write=False)
        return view

    def _mean(self, count: int, cls: ClassInfo | None) -> UInt8[np.ndarray, "height width 3"]:
        total, used = np.zeros((*self._preprocess.size, 3), np.int64), 0
        for view in self.first_views(count, cls):
            total += view
            used += 1
        mean = ((2 * total + used) // (2 * used)).astype(np.uint8)
        mean.setflags(write=False)
        return mean


def _by_reason(skipped: Sequence[Skipped], limit: int = 5) -> list[str]:
    """Return one line per reason, with the first few names and the count."""
    paths: dict[str, list[str]] = {}
    for s in skipped:
        paths.setdefault(s.reason, []).append(s.path)
    return [
        f"skipped {', '.join(of[:limit])}{f' and {len(of) - limit} more' if len(of) > limit else ''}: {reason}"
        for reason, of in paths.items()
    ]


def _first_reasons(skipped: Sequence[Skipped]) -> str:
    """Return the first few skipped files with their reasons, for a message."""
    shown = "; ".join(f"{s.path}: {s.reason}" for s in skipped[:5])
    return f" ({shown}{'; …' if len(skipped) > 5 else ''})" if skipped else ""
