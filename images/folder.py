"""A folder of images with one folder per class: `photos/tabby/1.jpg`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ..circuits import ClassInfo
from ..circuits.kinds import switch
from ..errors import InputError
from ..models import ViT
from .listing import FileImage, ListedSource, Listing
from .opening import Opening, SourceKind, classes_param, path_param, require_no_attacked
from .source import ImageRef, SourceClass
from .twins import find_twins, unmatched_notices

TWINS_KEPT = 256
"""Number of attacked views kept in memory: every recipe of a class uses the same ones."""


class FolderSource(ListedSource):
    """The images of `folder/class name/`; everything that is not a usable image is skipped with a notice.

    Links are followed. Hidden files are skipped, and folders inside class folders, unless the option `nested` is true.

    With folders of attacked images, a class keeps the images that have an attacked twin in each of them. A class
    without any such image is only used for contrast with other classes.

    Raises:
        InputError: no such folder, no class folders, a class without a logit, or no usable image; see `find_twins` for
            attacked images.
    """

    def __init__(self, opening: Opening) -> None:
        self._root: Path = opening.options["folder"]
        self._attacked = opening.attacked
        listing = _Scan(self._root, opening.options["classes"], nested=opening.options["nested"]).listing
        super().__init__(opening, listing, self._root.resolve().name)
        self._cached_twin = lru_cache(TWINS_KEPT)(self._load_twin)

    def _chosen(self, classes: Sequence[SourceClass], listing: Listing, model: ViT) -> Sequence[SourceClass]:
        refs = [ref for of in classes for ref in of.images]
        roots = self._attacked if refs else {}
        self._twins = {key: find_twins(root, self._root, refs, model.image_size) for key, root in roots.items()}
        for key, twins in self._twins.items():
            listing.notices += unmatched_notices(key, twins)
        return [self._paired(of, listing) for of in classes]

    def _paired(self, of: SourceClass, listing: Listing) -> SourceClass:
        """Return a class with the images that have a twin under every condition, or unchanged if none has."""
        kept = {ref for ref in of.images if all(ref.hash in twins.refs for twins in self._twins.values())}
        if not kept:
            return of
        folders = " and ".join(str(twins.root) for twins in self._twins.values())
        for ref in sorted(set(of.images) - kept, key=lambda ref: ref.origin):
            listing.skip(ref.origin, f"no attacked twin of the same name in {folders}")
        return replace(of, images=tuple(ref for ref in of.images if ref in kept))

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
        file = FileImage(origin=attacked.origin, path=self._twins[name].root / attacked.origin)
        image = file.open(attacked.hash)
        view = np.array(image) if ref.hash in self._twins[name].views else self._preprocess.view(image)
        view.setflags(write=False)
        return view


class _Scan:
    """One scan of a folder, in an order that depends only on names."""

    def __init__(self, root: Path, classes: Mapping[str, Any] | None, *, nested: bool) -> None:
        self._root, self._classes, self._nested = root, classes, nested
        self.listing = Listing(str(root), noun="folder")
        folders = [path for path in self._entries(root, "") if self._is_class(path)]
        if not folders:
            raise InputError(f"{root}: expected one folder of images per class (tabby/1.jpg), found no folder")
        for folder in folders:
            self.listing.images[folder.name] = []
            if classes is None or folder.name in classes:
                self._add(folder.name, folder, folder.name, frozenset({root.resolve(), folder.resolve()}))

    def _entries(self, folder: Path, origin: str) -> list[Path]:
        try:
            return sorted(folder.iterdir(), key=lambda p: p.name)
        except OSError as error:
            if folder == self._root:
                raise InputError(f"{folder}: not a readable folder ({error.strerror})") from error
            self.listing.skip(origin, f"cannot be read ({error.strerror})")
            return []

    def _is_class(self, path: Path) -> bool:
        if path.name.startswith("."):
            self.listing.skip(path.name, "hidden")
        elif not path.is_dir():
            self.listing.skip(path.name, "not in a class folder")
        elif self._classes is not None and path.name not in self._classes:
            self.listing.skip(path.name, "not in the table of classes")
            return True  # counts as a folder, so that the error for a misspelt table entry can suggest it
        else:
            return True
        return False

    def _add(self, name: str, folder: Path, place: str, above: frozenset[Path]) -> None:
        """Add the files of a folder to a class; `above` are the folders that it is in, which a link may lead to."""
        for path in self._entries(folder, place):
            origin = f"{place}/{path.name}"
            if path.name.startswith("."):
                self.listing.skip(origin, "hidden")
            elif not path.is_dir():
                self.listing.add(name, FileImage(origin=origin, path=path))
            elif not self._nested:
                self.listing.skip(origin, "folder inside a class folder; nested = true uses its images")
            elif path.resolve() in above:
                self.listing.skip(origin, "link to a folder that it is in")
            else:
                self._add(name, path, origin, above | {path.resolve()})


def _open(opening: Opening) -> FolderSource:
    if opening.options["nested"]:
        require_no_attacked(opening)
    return FolderSource(opening)


FOLDER = SourceKind(
    key="folder",
    name="a folder with one folder of images per class",
    params={
        "folder": path_param("the path of a folder of class folders"),
        "classes": classes_param(),
        "nested": switch(False),
    },
    paths=("folder",),
    open=_open,
)
