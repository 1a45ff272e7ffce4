"""A folder of images with one folder per class: `photos/tabby/1.jpg`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ..circuits import ClassInfo
from ..errors import InputError
from ..models import ViT
from .files import BadImage, check_header, oriented_size, printable, read_image
from .labels import Labels, match_folders
from .source import ImageRef, ImageSource, Skipped, SourceClass
from .twins import find_twins, unmatched_notices

TWINS_KEPT = 256
"""Number of attacked views kept in memory: every recipe of a class uses the same ones."""


class FolderSource(ImageSource):
    """The images of `folder/class name/`; everything that is not a usable image is skipped with a notice.

    Links are followed. Folders inside class folders and hidden files are skipped. Files with the same content count
    once, also across classes: the first by class index and name is kept.

    With folders of attacked images, a class keeps the images that have an attacked twin in each of them. A class
    without any such image is only used for contrast with other classes.

    Args:
        folder: folder with one folder per class.
        classes: folder name → class index; None uses the model's labels.
        model: the model that sees the images.
        name: name of the data set; by default the folder's.
        attacked: folders of attacked images, by the name of their condition.

    Raises:
        InputError: no such folder, no class folders, a class without a logit, or no usable image; see `find_twins` for
            attacked images.
    """

    def __init__(
        self,
        folder: Path,
        classes: Mapping[str, Any] | None,
        model: ViT,
        name: str | None = None,
        attacked: Mapping[str, Path] | None = None,
    ) -> None:
        self._root = folder
        labels = Labels.of_model(model.labels, model.n_classes)
        scan = _Scan(folder, classes)
        matches = match_folders(scan.folders, labels, classes, str(folder))
        name = name or folder.resolve().name
        found = []
        for match in matches:
            images = scan.images(match.name)
            if images:
                info = ClassInfo(name, match.name, match.index)
                found.append(SourceClass(info, match.word, images))
            else:
                scan.skip(match.name, "class folder without a usable image")
        refs = [ref for of in found for ref in of.images]
        roots = attacked if attacked and refs else {}
        self._twins = {key: find_twins(root, folder, refs, model.image_size) for key, root in roots.items()}
        for key, twins in self._twins.items():
            scan.notices += unmatched_notices(key, twins)
        paired = [self._paired(of, scan) for of in found]
        super().__init__(name, paired, labels, model.preprocess, scan.skipped, scan.notices)
        self._cached_twin = lru_cache(TWINS_KEPT)(self._load_twin)

    def _paired(self, of: SourceClass, scan: _Scan) -> SourceClass:
        """Return a class with the images that have a twin under every condition, or unchanged if none has."""
        kept = {ref for ref in of.images if all(ref.hash in twins.refs for twins in self._twins.values())}
        if not kept:
            return of
        folders = " and ".join(str(twins.root) for twins in self._twins.values())
        for ref in sorted(set(of.images) - kept, key=lambda ref: ref.origin):
            scan.skip(ref.origin, f"no attacked twin of the same name in {folders}")
        return replace(of, images=tuple(ref for ref in of.images if ref in kept))

    def image(self, ref: ImageRef) -> Image.Image:
        return _read(self._root / ref.origin, ref)

    def image_size(self, ref: ImageRef) -> tuple[int, int]:
        return oriented_size(self._root / ref.origin)

    def has_attacked(self, cls: ClassInfo) -> bool:
        return all(ref.hash in twins.refs for twins in self._twins.values() for ref in self.candidates(cls))

    def attacked_ref(self, name: str, ref: ImageRef) -> ImageRef:
        if name not in self._twins or ref.hash not in self._twins[name].refs:
            return super().attacked_ref(name, ref)
        return self._twins[name].refs[ref.hash]

    def attacked_view(self, name: str, ref: ImageRef) -> UInt8[np.ndarray, "height width 3"]:
        return self._cached_twin(name, ref)

    def _load_twin(self, name: str, ref: ImageRef) -> UInt8[np.ndarray, "height width 3"]:
        attacked = self.attacked_ref(name, ref)
        image = _read(self._twins[name].root / attacked.origin, attacked)
        view = np.array(image) if ref.hash in self._twins[name].views else self._preprocess.view(image)
        view.setflags(write=False)
        return view


def _read(path: Path, ref: ImageRef) -> Image.Image:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadImage(path, f"cannot be read ({error.strerror or error})") from error
    if hashlib.sha256(data).hexdigest() != ref.hash:
        raise BadImage(path, "its content has changed since the folder was listed; run again")
    return read_image(data, path)


class _Scan:
    """One scan of a folder, in an order that depends only on names."""

    def __init__(self, root: Path, classes: Mapping[str, Any] | None) -> None:
        self.root = root
        self.skipped: list[Skipped] = []
        self.notices: list[str] = []
        self._seen: dict[str, str] = {}
        self.folders = [p.name for p in self._entries(root) if self._is_class(p, classes)]
        if not self.folders:
            raise InputError(f"{root}: expected one folder of images per class (tabby/1.jpg), found no folder")

    def skip(self, origin: str, reason: str) -> None:
        self.skipped.append(Skipped(printable(origin), reason))

    def images(self, folder: str) -> tuple[ImageRef, ...]:
        """Return the usable images of a class folder, sorted by content hash."""
        refs = [self._check(path) for path in self._entries(self.root / folder)]
        return tuple(sorted((r for r in refs if r is not None), key=lambda r: r.hash))

    def _entries(self, folder: Path) -> list[Path]:
        try:
            return sorted(folder.iterdir(), key=lambda p: p.name)
        except OSError as error:
            if folder == self.root:
                raise InputError(f"{folder}: not a readable folder ({error.strerror})") from error
            self.skip(folder.name, f"cannot be read ({error.strerror})")
            return []

    def _is_class(self, path: Path, classes: Mapping[str, Any] | None) -> bool:
        if path.name.startswith("."):
            self.skip(path.name, "hidden")
        elif not path.is_dir():
            self.skip(path.name, "not in a class folder")
        elif classes is not None and path.name not in classes:
            self.skip(path.name, "not in the table of classes")
            return True  # counts as a folder, so that the error for a misspelt table entry can suggest it
        else:
            return True
        return False

    def _check(self, path: Path) -> ImageRef | None:
        """Return the image, or None after recording why it is skipped."""
        origin = f"{path.parent.name}/{path.name}"
        if path.name.startswith("."):
            return self.skip(origin, "hidden")
        try:
            if path.is_dir():
                return self.skip(origin, "folder inside a class folder")
            notice = check_header(path)
            with path.open("rb") as file:
                hash_ = hashlib.file_digest(file, "sha256").hexdigest()
        except BadImage as error:
            return self.skip(origin, error.reason)
        except OSError as error:
            return self.skip(origin, f"cannot be read ({error.strerror or error})")
        first = self._seen.setdefault(hash_, origin)
        if first != origin:
            return self.skip(origin, f"same content as {printable(first)}, counted once")
        if notice:
            self.notices.append(f"{printable(origin)}: {notice}")
        return ImageRef(hash_, origin)
