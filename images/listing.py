"""Images that a source lists: where each one is, its class, and its content hash."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ..circuits import ClassInfo
from ..errors import InputError
from ..models import ViT
from .files import BadImage, check_encoded, check_header, printable, read_image
from .hashes import Identity, Stamp, forget_hash, read_hashes, write_hashes
from .labels import Labels, Match, Noun, match_classes
from .opening import Opening, Progress
from .source import ImageRef, ImageSource, Skipped, SourceClass


@dataclass(frozen=True, kw_only=True)
class ListedImage(ABC):
    """An image of a source.

    Attributes:
        origin: description of its place, unique in the source.
        fields: the other values that the source has for it, as text by name.
        mask: the file of the mask of its foreground, if the source names it.
    """

    origin: str
    fields: Mapping[str, str] = field(default_factory=dict)
    mask: Path | None = None

    def stamp(self) -> Stamp | None:
        """Return what changes with the content; None if the content is not in a file. Raises OSError if it is gone."""
        return None

    @property
    def place(self) -> str:
        """Where it is, for messages of errors."""
        return self.origin

    @abstractmethod
    def identify(self) -> Identity:
        """Return the content hash, after a check of the format.

        Raises:
            BadImage: it cannot be used.
            OSError: it cannot be read.
        """

    @abstractmethod
    def open(self, hash: str) -> Image.Image:
        """Return the image in RGB.

        Raises:
            BadImage: it cannot be decoded, or its content does not have this hash any more.
        """


@dataclass(frozen=True, kw_only=True)
class EncodedImage(ListedImage):
    """An image in an encoded format, identified by its bytes."""

    @abstractmethod
    def read(self) -> bytes:
        """Return the bytes. Raises OSError if that fails."""

    def identify(self) -> Identity:
        data = self.read()
        return Identity(hashlib.sha256(data).hexdigest(), check_encoded(data, self.place))

    def open(self, hash: str) -> Image.Image:
        try:
            data, stamp = self.read(), self.stamp()
        except OSError as error:
            raise BadImage(self.place, f"cannot be read ({error.strerror or error})") from error
        if hashlib.sha256(data).hexdigest() != hash:
            if stamp:
                forget_hash(stamp)
            raise changed(self.place)
        return read_image(data, self.place)


@dataclass(frozen=True, kw_only=True)
class FileImage(EncodedImage):
    """An image file."""

    path: Path

    @property
    def place(self) -> str:
        return str(self.path)

    def stamp(self) -> Stamp:
        return Stamp.of(self.path)

    def read(self) -> bytes:
        return self.path.read_bytes()

    def identify(self) -> Identity:
        notice = check_header(self.path)
        with self.path.open("rb") as file:
            return Identity(hashlib.file_digest(file, "sha256").hexdigest(), notice)


def changed(place: str) -> BadImage:
    """Return the error for an image whose content has changed since the source was opened."""
    return BadImage(place, "its content has changed since the images were listed; run again")


@dataclass
class Listing:
    """The images of a source by the name of their class, before they are read.

    Attributes:
        where: the place of the images, for messages.
        images: in an order that depends only on names.
        noun: what the names of classes are the names of.
        skipped: what is not used, and why.
        notices: messages for the user.
    """

    where: str
    images: dict[str, list[ListedImage]] = field(default_factory=dict)
    noun: Noun = "class"
    skipped: list[Skipped] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def add(self, name: str, image: ListedImage) -> None:
        """Add an image to the class of this name."""
        self.images.setdefault(name, []).append(image)

    def skip(self, origin: str, reason: str) -> None:
        """Record that something is not used."""
        self.skipped.append(Skipped(printable(origin), reason))


class ListedSource(ImageSource):
    """The usable images of a listing; the others are skipped with a notice.

    Images with the same content count once, also across classes: the first by class index and position in the listing
    is kept.

    Raises:
        InputError: a name that is not the name of a class, a class without a logit, or no usable image.
    """

    def __init__(self, opening: Opening, listing: Listing, name: str) -> None:
        name, model = opening.name or name, opening.model
        labels = Labels.of_model(model.labels, model.n_classes)
        matches = match_classes(list(listing.images), labels, opening.options["classes"], listing.where, listing.noun)
        found, self._images = _identified(listing, matches, name, opening.progress)
        found = self._chosen(found, listing, model)
        super().__init__(name, found, labels, model.preprocess, listing.skipped, listing.notices)

    def _chosen(self, classes: Sequence[SourceClass], listing: Listing, model: ViT) -> Sequence[SourceClass]:
        """Return the classes with the images that are used."""
        return classes

    def image(self, ref: ImageRef) -> Image.Image:
        return self._images[ref.hash].open(ref.hash)

    def mask_file(self, ref: ImageRef) -> Path | None:
        return self._images[ref.hash].mask or super().mask_file(ref)

    def column(self, name: str) -> Mapping[str, str]:
        images = {ref.hash: self._images[ref.hash] for cls in self.classes for ref in self.candidates(cls)}
        columns = dict.fromkeys(key for image in images.values() for key in image.fields)
        if name not in columns:
            known = f"its columns are: {', '.join(columns)}" if columns else "it has no further columns"
            raise InputError(f"{self.name}: there is no column {name!r}; {known}")
        return {hash_: image.fields[name] for hash_, image in images.items() if image.fields.get(name)}


def _identified(
    listing: Listing, matches: Sequence[Match], dataset: str, progress: Progress
) -> tuple[list[SourceClass], dict[str, ListedImage]]:
    """Return the classes with their usable images, and the images by hash; the listing records everything else."""
    ordered = [(match.name, image) for match in matches for image in listing.images[match.name]]
    refs: dict[str, list[ImageRef]] = {match.name: [] for match in matches}
    first: dict[str, ListedImage] = {}
    for (name, image), found in zip(ordered, identify_all([i for _, i in ordered], progress), strict=True):
        if isinstance(found, str):
            listing.skip(image.origin, found)
        elif (known := first.setdefault(found.hash, image)) is not image:
            listing.skip(image.origin, f"same content as {printable(known.origin)}, counted once")
        else:
            refs[name].append(ImageRef(found.hash, image.origin))
            listing.notices += [f"{printable(image.origin)}: {found.notice}"] if found.notice else []
    return list(_with_images(listing, matches, refs, dataset)), first


def _with_images(
    listing: Listing, matches: Sequence[Match], refs: Mapping[str, Sequence[ImageRef]], dataset: str
) -> Iterator[SourceClass]:
    for match in matches:
        if images := refs[match.name]:
            info = ClassInfo(dataset, match.name, match.index)
            yield SourceClass(info, match.word, tuple(sorted(images, key=lambda ref: ref.hash)))
        else:
            listing.skip(
                match.name, f"{'class folder' if listing.noun == 'folder' else 'class'} without a usable image"
            )


def identify_all(images: Sequence[ListedImage], progress: Progress = iter) -> list[Identity | str]:
    """Return the identity of each image, or why it cannot be used; unchanged files are not read again."""
    found: dict[int, Identity | str] = {}
    stamps: dict[int, Stamp] = {}
    for i, image in enumerate(images):
        try:
            if stamp := image.stamp():
                stamps[i] = stamp
        except OSError:  # identifying it gives the reason
            pass
    known = read_hashes(stamps.values())
    found |= {i: known[stamp] for i, stamp in stamps.items() if stamp in known}
    try:
        for i in progress([i for i in range(len(images)) if i not in found]):
            found[i] = _identify(images[i])
    finally:
        new = {stamp: found.get(i) for i, stamp in stamps.items() if stamp not in known}
        write_hashes({stamp: identity for stamp, identity in new.items() if isinstance(identity, Identity)})
    return [found[i] for i in range(len(images))]


def _identify(image: ListedImage) -> Identity | str:
    try:
        return image.identify()
    except BadImage as error:
        return error.reason
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
