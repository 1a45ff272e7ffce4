"""Where images come from: classes with their logits, images known by their content, and what was left out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ..circuits import ClassInfo
from ..errors import InputError, unknown
from ..models import Preprocess
from .files import BadImage, shown
from .labels import Labels, plain
from .splits import Split, deal

_CACHE_BYTES = 128 * 2**20
"""Views kept in memory: every condition and corruption of a class asks for the same ones."""


@dataclass(frozen=True)
class ImageRef:
    """An image by its content.

    Attributes:
        hash: SHA-256 (hex) of the file's bytes (digits: of the pixels).
        origin: where it is, for people: the path below the folder.
    """

    hash: str
    origin: str


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class SourceClass:
    """A class with its images; `word` is what an attack writes for it."""

    info: ClassInfo
    word: str
    images: tuple[ImageRef, ...]


class ImageSource(ABC):
    """Images of several classes, seen as one model sees them.

    No two images have the same content. What is left out is told, never silently lost.

    Attributes:
        name: of the data set.
        classes: sorted by class index.
        skipped: what was left out.
        notices: what else a user should know of the images, in words.
    """

    def __init__(
        self,
        name: str,
        classes: Sequence[SourceClass],
        labels: Labels,
        preprocess: Preprocess,
        skipped: Sequence[Skipped] = (),
        remarks: Sequence[str] = (),
    ) -> None:
        self._classes = {c.info: c for c in sorted(classes, key=lambda c: c.info.class_index)}
        if not self._classes:
            raise InputError(f"{name}: no class has an image that can be used{_told(skipped)}")
        self.name = name
        self.classes: tuple[ClassInfo, ...] = tuple(self._classes)
        self.skipped = tuple(skipped)
        self.notices = (*_by_reason(skipped), *remarks)
        self._labels, self._preprocess = labels, preprocess
        height, width = preprocess.size
        self._class_of = {ref.hash: c.info for c in classes for ref in c.images}
        self._splits: dict[str, Split] = {
            hash_: split for c in classes for hash_, split in deal(ref.hash for ref in c.images).items()
        }
        self._cached_view = lru_cache(max(64, _CACHE_BYTES // (height * width * 3)))(self._load_view)
        self._cached_mean = lru_cache(4)(self._mean)

    @abstractmethod
    def image(self, ref: ImageRef) -> Image.Image:
        """The picture in RGB.

        Raises:
            BadImage: it cannot be decoded, or is not what it was when the source was opened.
        """

    def class_named(self, name: str) -> ClassInfo:
        """The class of this name.

        Raises:
            InputError: there is none; names the nearest.
        """
        by_name = {c.name: c for c in self.classes}
        if name not in by_name:
            raise unknown("class", name, by_name, where=self.name)
        return by_name[name]

    def candidates(self, cls: ClassInfo) -> tuple[ImageRef, ...]:
        """All images of the class, sorted by content hash; some may still turn out undecodable."""
        return self._classes[cls].images

    def class_of(self, ref: ImageRef) -> ClassInfo:
        """The class of the image."""
        return self._class_of[ref.hash]

    def split_of(self, ref: ImageRef) -> Split:
        """The split that the image was dealt to."""
        return self._splits[ref.hash]

    def word(self, cls: ClassInfo) -> str:
        """The class in plain words."""
        return self._classes[cls].word

    def class_index_of(self, text: str) -> int | None:
        """The logit of the class that a text names: a class here, else one of the model's labels, else None."""
        for cls in self.classes:
            if plain(text) in (plain(cls.name), plain(self.word(cls))):
                return cls.class_index
        return self._labels.find(text)

    def name_of(self, class_index: int) -> str:
        """What the class of a logit is called: here, else by the model's labels, else its number."""
        by_index = {cls.class_index: cls.name for cls in self.classes}
        words = self._labels.words
        return by_index.get(class_index) or (words[class_index] if words else str(class_index))

    def view(self, ref: ImageRef) -> UInt8[np.ndarray, "height width 3"]:
        """The image as the model will see it, before normalisation; read-only.

        Raises:
            BadImage: it cannot be decoded.
        """
        return self._cached_view(ref)

    def has_attacked(self, cls: ClassInfo) -> bool:
        """Whether images of the class are there under every condition that is a folder.

        Where they are not, others may be contrasted with the class, and nothing is asked of it.
        """
        return True

    def attacked_ref(self, name: str, ref: ImageRef) -> ImageRef:
        """The attacked image beside a clean one.

        Args:
            name: of the condition.

        Raises:
            InputError: there is none.
        """
        raise InputError(f"{self.name}: condition {name!r} has no attacked image of {shown(ref.origin)}")

    def attacked_view(self, name: str, ref: ImageRef) -> UInt8[np.ndarray, "height width 3"]:
        """The same as the model will see it, before normalisation; read-only.

        Raises:
            InputError: as `attacked_ref`; BadImage: it cannot be decoded.
        """
        raise InputError(f"{self.name}: these images are no files, so there are no attacked ones of their names")

    def mean_view(self, count: int) -> UInt8[np.ndarray, "height width 3"]:
        """Mean over `count` discovery images of all classes (fewer if there are fewer), rounded; read-only.

        The first by content hash, whatever the model makes of them, so that every class, condition and
        seed has the same mean image. Undecodable images are passed over.

        Raises:
            InputError: no discovery image can be decoded.
        """
        return self._cached_mean(count)

    def _load_view(self, ref: ImageRef) -> UInt8[np.ndarray, "height width 3"]:
        view = self._preprocess.view(self.image(ref))
        view.setflags(write=False)
        return view

    @cached_property
    def discovery_refs(self) -> tuple[ImageRef, ...]:
        """The images of all classes that fall into the discovery split, sorted by content hash."""
        refs = [r for c in self._classes.values() for r in c.images if self.split_of(r) == "discovery"]
        return tuple(sorted(refs, key=lambda r: r.hash))

    def _mean(self, count: int) -> UInt8[np.ndarray, "height width 3"]:
        total, used = np.zeros((*self._preprocess.size, 3), np.int64), 0
        for ref in self.discovery_refs:
            try:
                total += self.view(ref)
            except BadImage:
                continue
            used += 1
            if used == count:
                break
        if not used:
            raise InputError(f"{self.name}: no discovery image to take the mean of; more images are needed")
        mean = ((2 * total + used) // (2 * used)).astype(np.uint8)
        mean.setflags(write=False)
        return mean


def _by_reason(skipped: Sequence[Skipped], most: int = 5) -> list[str]:
    """One line for each reason, with the first few names and the count."""
    paths: dict[str, list[str]] = {}
    for s in skipped:
        paths.setdefault(s.reason, []).append(s.path)
    return [
        f"skipped {', '.join(of[:most])}{f' and {len(of) - most} more' if len(of) > most else ''}: {reason}"
        for reason, of in paths.items()
    ]


def _told(skipped: Sequence[Skipped]) -> str:
    """The first few things left out, for a message."""
    shown = "; ".join(f"{s.path}: {s.reason}" for s in skipped[:5])
    return f" ({shown}{'; …' if len(skipped) > 5 else ''})" if skipped else ""
