"""From names of class folders to the model's logits, and to the words that people would write for a class."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError, nearest

_IMAGENET_SUBSETS = {
    1000: "imagenet-1k",
    11221: "imagenet-21k-miil",
    11821: "imagenet-12k",
    21841: "imagenet-22k",
    21843: "imagenet-21k-goog",
}
_CODE = re.compile(r"n\d{8}|\d+")  # WordNet id or class index: a name for machines


@dataclass(frozen=True)
class Match:
    """A class folder and its logit.

    Attributes:
        name: the folder's name.
        index: position of the class among the model's logits.
        word: the class in plain words, to be written on images: the folder's name, or the label's first
            name where the folder is called by a WordNet id or a number.
    """

    name: str
    index: int
    word: str


@dataclass(frozen=True)
class Labels:
    """The names under which a model's classes are known.

    Attributes:
        n_classes: number of logits.
        words: one plain name for each class; empty where none are known.
        by_name: lower-case name → classes called so (several ImageNet classes are called "crane").
        kind: what the names are, for messages.
    """

    n_classes: int
    words: tuple[str, ...] = ()
    by_name: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kind: str = "class indices"

    @classmethod
    def of_model(cls, labels: Sequence[str] | None, n_classes: int) -> Labels:
        """The model's own labels, else ImageNet's where the number of logits fits, else indices alone."""
        if labels is not None:
            return cls._build([(label,) for label in labels], "the model's labels")
        if n_classes in _IMAGENET_SUBSETS:
            return cls._build(_imagenet_names(_IMAGENET_SUBSETS[n_classes]), "ImageNet labels")
        return cls(n_classes)

    @classmethod
    def _build(cls, names: Sequence[Sequence[str]], kind: str) -> Labels:
        """From the names of every class; the last one is its plain name."""
        by_name: dict[str, tuple[int, ...]] = {}
        for index, of_class in enumerate(names):
            for name in {plain(n) for n in of_class}:
                by_name[name] = (*by_name.get(name, ()), index)
        return cls(len(names), tuple(n[-1] for n in names), by_name, kind)

    def find(self, name: str) -> int | None:
        """The class of this name or index; None where no class or more than one is called so."""
        found = self.by_name.get(plain(name), ())
        if not found and name.isascii() and name.isdigit() and int(name) < self.n_classes:
            return int(name)
        return found[0] if len(found) == 1 else None

    def word(self, name: str, index: int) -> str:
        """What to write for the class in the folder `name`."""
        return self.words[index] if self.words and _CODE.fullmatch(name) else name

    def why_not(self, name: str) -> str:
        """Why `find` gave None, with the nearest valid names."""
        found = self.by_name.get(plain(name), ())
        if found:
            return f"{name!r} is the name of {len(found)} classes: {', '.join(map(str, found))}"
        close = nearest(plain(name), self.by_name)
        hint = f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""
        return f"{name!r} is no class{hint}"


def match_folders(names: Sequence[str], labels: Labels, table: Mapping[str, Any] | None, where: str) -> list[Match]:
    """The class of each folder, by the table where one is given, else by the model's labels.

    Args:
        names: folder names.
        table: folder name → class index; folders that it lacks are left out.
        where: the place of the folders, for messages.

    Raises:
        InputError: a folder whose name is no label, a table entry without a folder or beyond the model's
            logits, or two folders of one class; names all of them.
    """
    found = _by_table(names, labels, table, where) if table is not None else _by_label(names, labels, where)
    taken: dict[int, str] = {}
    for match in found:
        other = taken.setdefault(match.index, match.name)
        if other != match.name:
            raise InputError(
                f"{where}: folders {other!r} and {match.name!r} are both class {match.index}; "
                "put their images into one folder"
            )
    return sorted(found, key=lambda m: m.index)


def _by_label(names: Sequence[str], labels: Labels, where: str) -> list[Match]:
    found = [(name, labels.find(name)) for name in names]
    lost = [labels.why_not(name) for name, index in found if index is None]
    if lost:
        shown = "; ".join(lost[:10]) + (f"; and {len(lost) - 10} more" if len(lost) > 10 else "")
        raise InputError(
            f"{where}: folder names are matched to {labels.kind} (0 to {labels.n_classes - 1} always work), but "
            f"{shown}. Rename the folders, or give classes = {{ name = index }}"
        )
    return [Match(name, index, labels.word(name, index)) for name, index in found if index is not None]


def _by_table(names: Sequence[str], labels: Labels, table: Mapping[str, Any], where: str) -> list[Match]:
    for name, index in table.items():
        if name not in names:
            close = nearest(name, names)
            hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"there are: {', '.join(names[:20])}"
            raise InputError(f"{where}: the table of classes names {name!r}, but there is no such folder; {hint}")
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < labels.n_classes:
            raise InputError(f"classes.{name}: expected a class index, 0 to {labels.n_classes - 1}, got {index!r}")
    return [Match(name, table[name], labels.word(name, table[name])) for name in names if name in table]


def plain(name: str) -> str:
    """As names are compared: case, underscores, surrounding blanks and the way accents are coded do not count."""
    return " ".join(unicodedata.normalize("NFKC", name).replace("_", " ").lower().split())


def _imagenet_names(subset: str) -> list[tuple[str, ...]]:
    """WordNet id, all names in one, and every name of each class, the first of the names last."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo(subset)
    names = []
    for index, wordnet_id in enumerate(info.label_names()):
        all_names = info.index_to_description(index)
        names.append((wordnet_id, all_names, *reversed([n.strip() for n in all_names.split(",")])))
    return names
