"""Which classes corrupted images come from, and which image each image is paired with.

The other classes follow a class in the seeded cyclic order. Images are dealt to them in turn, so that a circuit rests
on what tells its class from many others, not from one that the seed picked.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..circuits import ClassInfo
from ..circuits.kinds import Param, is_whole
from ..circuits.recipe import Scalar
from ..errors import InputError, unknown
from .batch import class_cycle
from .source import ImageRef, ImageSource

ALL = "all"


def partner_classes(
    asked: Scalar, source: ImageSource, cls: ClassInfo, *, seed: int, most: int
) -> tuple[ClassInfo, ...]:
    """The classes that images of `cls` are contrasted with, in the order in which they are dealt.

    Args:
        asked: `"all"` others, how many of them, or names of classes separated by commas.
        most: images of the class over all splits: later classes of the order would get none.

    Raises:
        InputError: a name that is no class of the source, the class itself, or a source with one class.
    """
    if len(source.classes) < 2:
        raise InputError(f"other-class: needs two classes, {source.name} has one; take another corruption")
    if isinstance(asked, str) and asked != ALL:
        return _named(asked, source, cls)
    cycle = class_cycle(source.classes, seed)
    at = cycle.index(cls)
    others = (*cycle[at + 1 :], *cycle[:at])
    return others[: most if asked == ALL else min(most, int(str(asked)))]


def _named(asked: str, source: ImageSource, cls: ClassInfo) -> tuple[ClassInfo, ...]:
    by_name = {c.name: c for c in source.classes}
    names = [asked] if asked in by_name else [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in by_name:
            raise unknown("class", name, by_name, where="other-class: partners")
    others = tuple(by_name[name] for name in dict.fromkeys(names) if by_name[name] != cls)
    if not others:
        raise InputError(
            f"other-class: partners = {asked!r}: class {cls.name!r} cannot be contrasted with itself; "
            "name another class too, or leave this one out of images.only"
        )
    return others


def deal(pools: Sequence[Sequence[ImageRef]], count: int, start: int = 0) -> tuple[ImageRef, ...]:
    """The partner of each of `count` images: classes in turn, of each class its images in turn.

    Args:
        pools: usable images of each class, in the order of `partner_classes`; empty ones are passed over.
        start: how many images were dealt before, in other splits.
    """
    filled = [pool for pool in pools if pool]
    if not filled:
        return ()
    used = [0] * len(filled)
    dealt = []
    for i in range(start, start + count):
        at = i % len(filled)
        dealt.append(filled[at][used[at] % len(filled[at])])
        used[at] += 1
    return tuple(dealt)


def partners_param() -> Param:
    """The parameter `partners` of a corruption; `partner_classes` reads it."""

    def read(value: Scalar) -> Scalar:
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())
        if not is_whole(value) or not isinstance(value, int) or value < 1:
            raise ValueError(value)
        return value

    return Param(ALL, "'all' other classes, how many of them (from 1 on), or names separated by commas", read)
