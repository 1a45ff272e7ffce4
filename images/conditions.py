"""What was done to the images: attacks that leave the pixels' meaning to a person, but not to a model.

A condition is a value in a registry; adding one is one entry. Whatever it chooses at random it reads off
the image's content hash and the seed, so it does not depend on the other images or their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from ..circuits import NATURAL, ClassInfo, Condition
from ..circuits.kinds import Kind, Registry, choice, whole
from ..errors import InputError, unknown
from .batch import Batch, later_class
from .params import colour, label, number, rgb, share, text
from .seeds import Draws
from .source import ImageRef, ImageSource
from .writing import PLACES, Lettering, write

OTHER_CLASS = "other class"
"""As `text`: the word of the class after the next in the cyclic order; of the other one where there are two."""

Views = UInt8[np.ndarray, "image height width 3"]


def _no_target(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> int | None:
    return None


def _no_words(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> tuple[str, ...]:
    return ()


def _no_file(condition: Condition, source: ImageSource, ref: ImageRef) -> ImageRef | None:
    return None


@dataclass(frozen=True, kw_only=True)
class ConditionKind(Kind):
    """A kind of condition.

    Attributes:
        apply: returns the images of a batch under the condition.
        attacked: False for the images as they are.
        target: logit of the class that the attack aims at, if any.
        words: what it writes, if anything.
        file: where the attacked image beside an unattacked one is, if it is not made from that.
    """

    apply: Callable[[Condition, Batch], Views]
    attacked: bool = True
    target: Callable[[Condition, ImageSource, ClassInfo, int], int | None] = _no_target
    words: Callable[[Condition, ImageSource, ClassInfo, int], tuple[str, ...]] = _no_words
    file: Callable[[Condition, ImageSource, ImageRef], ImageRef | None] = _no_file


def is_attack(condition: Condition) -> bool:
    """False for natural images."""
    return CONDITIONS[condition.kind].attacked


def attack(condition: Condition, batch: Batch) -> Views:
    """The images of the batch under the condition."""
    return CONDITIONS[condition.kind].apply(condition, batch)


def target_of(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> int | None:
    """Logit of the class that the attack on images of `cls` aims at; None where it aims at none."""
    return CONDITIONS[condition.kind].target(condition, source, cls, seed)


def words(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> tuple[str, ...]:
    """What the attack writes on images of the class, if anything."""
    return CONDITIONS[condition.kind].words(condition, source, cls, seed)


def attacked_file(condition: Condition, source: ImageSource, ref: ImageRef) -> ImageRef | None:
    """The attacked image beside an unattacked one; None where it is made from that.

    Raises:
        InputError: there should be one, and is none.
    """
    return CONDITIONS[condition.kind].file(condition, source, ref)


def _word(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> str:
    """What is written on images of the class."""
    given = str(condition["text"])
    if given != OTHER_CLASS:
        return given
    if len(source.classes) < 2:
        raise InputError(
            f"typographic, text = {OTHER_CLASS!r}: needs two classes (the image's and the one written), "
            f"{source.name} has one; give the text itself"
        )
    return source.word(later_class(source.classes, seed, cls, 2 if len(source.classes) > 2 else 1))


def _words(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> tuple[str, ...]:
    return (_word(condition, source, cls, seed),)


def _write(condition: Condition, batch: Batch) -> Views:
    word = _word(condition, batch.source, batch.cls, batch.seed)
    style = _lettering(condition)
    drawn = [
        write(view, word, style, Draws("typographic", condition.version, batch.seed, ref.hash))
        for ref, view in zip(batch.refs, batch.views, strict=True)
    ]
    return np.stack(drawn)


def _lettering(condition: Condition) -> Lettering:
    ink = rgb(condition["colour"])
    assert ink is not None  # `colour` has no "none"
    return Lettering(
        size=number(condition["size"]),
        place=next(p for p in PLACES if p == condition["place"]),
        number=int(number(condition["number"])),
        colour=ink,
        outline=rgb(condition["outline"]),
    )


def _written_class(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> int | None:
    return source.class_index_of(_word(condition, source, cls, seed))


def _from_folder(condition: Condition, batch: Batch) -> Views:
    return np.stack([batch.source.attacked_view(str(condition["name"]), ref) for ref in batch.refs])


def _in_folder(condition: Condition, source: ImageSource, ref: ImageRef) -> ImageRef:
    return source.attacked_ref(str(condition["name"]), ref)


def _named_class(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> int | None:
    named = dict(condition.params).get("target")
    if named is None:
        return None
    index = source.class_index_of(str(named))
    if index is None:
        raise unknown("class", named, [c.name for c in source.classes], where=f"condition {condition.text}: target")
    return index


CONDITIONS: Registry[ConditionKind, Condition] = Registry(
    "condition",
    "conditions",
    Condition,
    (
        ConditionKind(
            key=NATURAL,
            name="the images as they are",
            apply=lambda condition, batch: batch.views,
            attacked=False,
        ),
        ConditionKind(
            key="typographic",
            name=(
                "a text written on the image; `other class`: on all images of a class the word of "
                "one other class, which the seed and the set of classes decide; random places "
                "depend on the image and the seed only"
            ),
            apply=_write,
            target=_written_class,
            words=_words,
            params={
                "text": text(OTHER_CLASS, f"the text to write, or {OTHER_CLASS!r}"),
                "size": share(0.15, 0.01, 1.0),
                "place": choice(*PLACES, default="bottom"),
                "number": whole(1, 1, 100),
                "colour": colour("white"),
                "outline": colour("black", none=True),
            },
        ),
        ConditionKind(
            key="folder",
            name="attacked images from a folder, `path`, by class folder and file name",
            apply=_from_folder,
            target=_named_class,
            params={
                "name": label("a name for the attack", required=True),
                "target": label("name, label or index of the class that the attack aims at", required=False),
            },
            file=_in_folder,
        ),
    ),
)
"""All conditions by key."""
