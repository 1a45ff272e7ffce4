"""A folder of images, one folder a class: `photos/tabby/1.jpg`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ..circuits import ClassInfo
from ..errors import InputError
from ..models import ViT
from .files import BadImage, check_header, read_image, shown
from .labels import Labels, match_folders
from .source import ImageRef, ImageSource, Skipped, SourceClass


class FolderSource(ImageSource):
    """The images of `folder/class name/`; whatever is no usable image is skipped by name.

    Links are followed. Folders inside class folders and hidden files are left out. Two files with the
    same content count once, also across classes: the first by class index and name stays.

    Raises:
        InputError: no such folder, no class folders, a class without a logit, or no usable image at all.
    """

    def __init__(self, folder: Path, classes: Mapping[str, Any] | None, model: ViT, name: str | None = None) -> None:
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
        super().__init__(name, found, labels, model.preprocess, scan.skipped, scan.remarks)

    def image(self, ref: ImageRef) -> Image.Image:
        path = self._root / ref.origin
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadImage(path, f"cannot be read ({error.strerror or error})") from error
        if hashlib.sha256(data).hexdigest() != ref.hash:
            raise BadImage(path, "its content has changed since the folder was listed; run again")
        return read_image(data, path)


class _Scan:
    """One look through a folder, in an order that depends on names only."""

    def __init__(self, root: Path, classes: Mapping[str, Any] | None) -> None:
        self.root = root
        self.skipped: list[Skipped] = []
        self.remarks: list[str] = []
        self._seen: dict[str, str] = {}
        self.folders = [p.name for p in self._entries(root) if self._is_class(p, classes)]
        if not self.folders:
            raise InputError(f"{root}: expected one folder of images per class (tabby/1.jpg), found no folder")

    def skip(self, origin: str, reason: str) -> None:
        self.skipped.append(Skipped(shown(origin), reason))

    def images(self, folder: str) -> tuple[ImageRef, ...]:
        """The usable images of a class folder, sorted by content hash."""
        refs = [self._look_at(path) for path in self._entries(self.root / folder)]
        return tuple(sorted((r for r in refs if r is not None), key=lambda r: r.hash))

    def _entries(self, folder: Path) -> list[Path]:
        try:
            return sorted(folder.iterdir(), key=lambda p: p.name)
        except OSError as error:
            if folder == self.root:
                raise InputError(f"{folder}: not a folder that can be read ({error.strerror})") from error
            self.skip(folder.name, f"cannot be read ({error.strerror})")
            return []

    def _is_class(self, path: Path, classes: Mapping[str, Any] | None) -> bool:
        if path.name.startswith("."):
            self.skip(path.name, "hidden")
        elif not path.is_dir():
            self.skip(path.name, "not in a class folder")
        elif classes is not None and path.name not in classes:
            self.skip(path.name, "not in the table of classes")
            return True  # known as a folder, so that a misspelt table entry can be told its neighbour
        else:
            return True
        return False

    def _look_at(self, path: Path) -> ImageRef | None:
        """The image, or None with the reason told."""
        origin = f"{path.parent.name}/{path.name}"
        if path.name.startswith("."):
            return self.skip(origin, "hidden")
        try:
            if path.is_dir():
                return self.skip(origin, "folder inside a class folder")
            remark = check_header(path)
            with path.open("rb") as file:
                hash_ = hashlib.file_digest(file, "sha256").hexdigest()
        except BadImage as error:
            return self.skip(origin, error.reason)
        except OSError as error:
            return self.skip(origin, f"cannot be read ({error.strerror or error})")
        first = self._seen.setdefault(hash_, origin)
        if first != origin:
            return self.skip(origin, f"same content as {shown(first)}, counted once")
        if remark:
            self.remarks.append(f"{shown(origin)}: {remark}")
        return ImageRef(hash_, origin)
