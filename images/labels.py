"""Match names of classes to the model's logits and to a plain word for each class."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..errors import InputError, nearest

_IMAGENET_SUBSETS = {
    1000: "imagenet-1k",
    11221: "imagenet-21k-miil",
    11821: "imagenet-12k",
    21841: "imagenet-22k",
    21843: "imagenet-21k-goog",
}
Noun = Literal["folder", "class"]
"""What the names of classes in a source are the names of."""

_PLURAL: Mapping[Noun, str] = {"folder": "folders", "class": "classes"}
_CODE = re.compile(r"n\d{8}|\d+")  # WordNet id or class index


@dataclass(frozen=True)
class Match:
    """A class of a source and its logit.

    Attributes:
        name: its name in the source.
        index: position of the class among the model's logits.
        word: plain word for the class, to write on images: its name, or the label's first name if its name is a
            WordNet id or a number.
    """

    name: str
    index: int
    word: str


@dataclass(frozen=True)
class Labels:
    """The names of a model's classes.

    Attributes:
        n_classes: number of logits.
        words: one plain name per class; empty if none are known.
        by_name: lower-case name → classes with this name ("crane" is the name of several ImageNet classes).
        kind: what the names are, for messages.
    """

    n_classes: int
    words: tuple[str, ...] = ()
    by_name: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kind: str = "class indices"

    @classmethod
    def of_model(cls, labels: Sequence[str] | None, n_classes: int) -> Labels:
        """Return the model's own labels, else ImageNet's if the number of logits matches, else only indices.

        A label with commas, "goldfish, Carassius auratus", also has each of its parts as a name, unless another label
        is equal to it.
        """
        if labels is not None:
            own = cls._build([(label,) for label in labels], "the model's labels")
            parts = cls._build([[*label.split(","), label] for label in labels], own.kind)
            return replace(own, by_name={**parts.by_name, **own.by_name})
        if n_classes in _IMAGENET_SUBSETS:
            return cls._build(_imagenet_names(_IMAGENET_SUBSETS[n_classes]), "ImageNet labels")
        return cls(n_classes)

    @classmethod
    def _build(cls, names: Sequence[Sequence[str]], kind: str) -> Labels:
        """Build from the names of every class, of which the last one is its plain name."""
        by_name: dict[str, tuple[int, ...]] = {}
        for index, of_class in enumerate(names):
            for name in {plain(n) for n in of_class}:
                by_name[name] = (*by_name.get(name, ()), index)
        return cls(len(names), tuple(n[-1] for n in names), by_name, kind)

    def find(self, name: str) -> int | None:
        """Return the class with this name or index; None if there is no such class or more than one."""
        found = self.by_name.get(plain(name), ())
        if not found and name.isascii() and name.isdigit() and int(name) < self.n_classes:
            return int(name)
        return found[0] if len(found) == 1 else None

    def word(self, name: str, index: int) -> str:
        """Return the plain word for the class that a source calls `name`."""
        return self.words[index] if self.words and _CODE.fullmatch(name) else name

    def explain_missing(self, name: str) -> str:
        """Say why `find` returned None, with the nearest valid names."""
        found = self.by_name.get(plain(name), ())
        if found:
            return f"{name!r} is the name of {len(found)} classes: {', '.join(map(str, found))}"
        close = nearest(plain(name), self.by_name)
        hint = f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""
        return f"{name!r} is not a class{hint}"


def match_classes(
    names: Sequence[str], labels: Labels, table: Mapping[str, Any] | None, where: str, noun: Noun = "class"
) -> list[Match]:
    """Return the logit of each class of a source, from the table if there is one, else from the model's labels.

    Args:
        names: names of the classes in the source.
        labels: the model's labels.
        table: name → class index; names that are not in it are skipped.
        where: the place of the images, for messages.
        noun: what the names are the names of, for messages.

    Raises:
        InputError: a name that is not a label, a table entry without a name or beyond the model's logits, or two names
            of one class; the message has the names.
    """
    match = _by_table if table is not None else _by_label
    found = match(names, labels, table or {}, where, noun)
    by_class: dict[int, str] = {}
    for one in found:
        other = by_class.setdefault(one.index, one.name)
        if other != one.name:
            raise InputError(
                f"{where}: {_PLURAL[noun]} {other!r} and {one.name!r} are both class {one.index}; "
                f"put their images into one {noun}"
            )
    return sorted(found, key=lambda m: m.index)


def _by_label(names: Sequence[str], labels: Labels, _: Mapping[str, Any], where: str, noun: Noun) -> list[Match]:
    found = [(name, labels.find(name)) for name in names]
    problems = [labels.explain_missing(name) for name, index in found if index is None]
    if problems:
        shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
        raise InputError(
            f"{where}: {noun} names must match {labels.kind} (0 to {labels.n_classes - 1} always work), but "
            f"{shown}. Rename the {_PLURAL[noun]}, or set classes = {{ name = index }}"
        )
    return [Match(name, index, labels.word(name, index)) for name, index in found if index is not None]


def _by_table(names: Sequence[str], labels: Labels, table: Mapping[str, Any], where: str, noun: Noun) -> list[Match]:
    for name, index in table.items():
        if name not in names:
            close = nearest(name, names)
            hint = (
                f"did you mean {' or '.join(map(repr, close))}?"
                if close
                else f"the {_PLURAL[noun]} are: {', '.join(names[:20])}"
            )
            raise InputError(f"{where}: the table of classes has {name!r}, but there is no such {noun}; {hint}")
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < labels.n_classes:
            raise InputError(f"classes.{name}: expected a class index, 0 to {labels.n_classes - 1}, got {index!r}")
    return [Match(name, table[name], labels.word(name, table[name])) for name in names if name in table]


def plain(name: str) -> str:
    """Normalise a name for comparison: case, underscores, outer blanks and the encoding of accents do not count."""
    return " ".join(unicodedata.normalize("NFKC", name).replace("_", " ").lower().split())


def _imagenet_names(subset: str) -> list[tuple[str, ...]]:
    """Return each class's WordNet id, all names in one string, and every name, with the first name last."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo(subset)
    names = []
    for index, wordnet_id in enumerate(info.label_names()):
        all_names = info.index_to_description(index)
        names.append((wordnet_id, all_names, *reversed([n.strip() for n in all_names.split(",")])))
    return names
