"""Partners for `other-class` and `class-mean`: the classes of corrupted images, and the image paired with each image.

The other classes follow a class in the seeded cyclic order and are assigned to its images in turn. A circuit then
depends on what distinguishes its class from many others, not from one that the seed picked.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..circuits import ClassInfo, Corruption
from ..circuits.kinds import Param, is_whole
from ..circuits.recipe import Scalar
from ..errors import InputError, unknown
from .source import ImageRef, ImageSource

ALL = "all"


def partner_classes(
    corruption: Corruption, source: ImageSource, cls: ClassInfo, seed: int, count: int
) -> tuple[ClassInfo, ...]:
    """Return the classes that images of `cls` are contrasted with, in the order of pairing.

    Args:
        corruption: its `partners` are `"all"` other classes, their number, or names of classes separated by commas.
        source: source of the images.
        cls: class of the clean images.
        seed: seed of the cyclic order.
        count: number of images of the class over all splits; later classes in the order get no image.

    Raises:
        InputError: a name that is not a class of the source, the class itself, or a source with one class.
    """
    partners = corruption["partners"]
    if len(source.classes) < 2:
        raise InputError(f"{corruption.kind}: needs two classes, but {source.name} has one; use another corruption")
    if isinstance(partners, str) and partners != ALL:
        return _named(corruption, source, cls)
    return source.cycle(seed).others(cls)[: count if partners == ALL else min(count, int(str(partners)))]


def _named(corruption: Corruption, source: ImageSource, cls: ClassInfo) -> tuple[ClassInfo, ...]:
    by_name, partners = {c.name: c for c in source.classes}, str(corruption["partners"])
    names = [partners] if partners in by_name else [name.strip() for name in partners.split(",")]
    for name in names:
        if name not in by_name:
            raise unknown("class", name, by_name, where=f"{corruption.kind}: partners")
    others = tuple(by_name[name] for name in dict.fromkeys(names) if by_name[name] != cls)
    if not others:
        raise InputError(
            f"{corruption.kind}: partners = {partners!r}: class {cls.name!r} cannot be contrasted with itself; "
            "add another class, or remove this one from images.only"
        )
    return others


def deal_partners(pools: Sequence[Sequence[ImageRef]], count: int, start: int = 0) -> tuple[ImageRef, ...]:
    """Return the partner of each of `count` images: classes in turn, and the images of each class in turn.

    Args:
        pools: usable images of each class, in the order of `partner_classes`; empty pools are skipped.
        count: number of images.
        start: number of images that have partners already, in other splits.

    Examples:
        >>> from circuitstore.images import ImageRef
        >>> five, eight = ImageRef("5f", "five/1.png"), ImageRef("8e", "eight/1.png")
        >>> [ref.origin for ref in deal_partners([[five], [eight]], count=3)]
        ['five/1.png', 'eight/1.png', 'five/1.png']
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
    """Return the parameter `partners` of a corruption, see `partner_classes`."""

    def read(value: Scalar) -> Scalar:
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())
        if not is_whole(value) or not isinstance(value, int) or value < 1:
            raise ValueError(value)
        return value

    return Param(ALL, "'all' other classes, their number (1 or more), or names separated by commas", read)
