"""What was done to the images: attacks that leave the pixels' meaning to a person, but not to a model.

A condition is a value in a registry; adding one is one entry. Whatever it chooses at random it reads off
the image's content hash and the seed, so it does not depend on the other images or their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from ..circuits import ClassInfo, Condition
from ..circuits.recipe import Scalar
from ..errors import InputError, unknown
from .batch import Batch, later_class
from .params import Param, choice, colour, label, number, resolve, rgb, share, text, whole
from .seeds import Draws
from .source import ImageRef, ImageSource
from .writing import PLACES, Lettering, write

OTHER_CLASS = "other class"
"""As `text`: the word of the class after the next in the cyclic order; of the other one where there are two."""

Views = UInt8[np.ndarray, "image height width 3"]


@dataclass(frozen=True)
class ConditionKind:
    """A kind of condition.

    Attributes:
        key: its name.
        version: raised when it gives other pixels.
        attacked: False for the images as they are.
        apply: the images under the condition.
        target: logit of the class that the attack aims at, if any.
        words: what it writes, if anything.
        params: its parameters.
        file: where the attacked image beside an unattacked one is, if it is not made from that.
    """

    key: str
    version: int
    attacked: bool
    apply: Callable[[Condition, Batch], Views]
    target: Callable[[Condition, ImageSource, ClassInfo, int], int | None]
    words: Callable[[Condition, ImageSource, ClassInfo, int], tuple[str, ...]]
    params: Mapping[str, Param] = field(default_factory=dict)
    file: Callable[[Condition, ImageSource, ImageRef], ImageRef | None] = lambda *_: None


def resolve_condition(kind: str, params: Mapping[str, Scalar] | None = None) -> Condition:
    """A condition with all its parameters and its version.

    Raises:
        InputError: no such kind, no such parameter, or a value that is not allowed.
    """
    facts = _kind(kind)
    return Condition.of(kind, resolve(kind, facts.params, params or {}), facts.version)


def is_attack(condition: Condition) -> bool:
    """False for natural images."""
    return _kind(condition.kind).attacked


def attack(condition: Condition, batch: Batch) -> Views:
    """The images of the batch under the condition."""
    return _kind(condition.kind).apply(condition, batch)


def target_of(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> int | None:
    """Logit of the class that the attack on images of `cls` aims at; None where it aims at none."""
    return _kind(condition.kind).target(condition, source, cls, seed)


def words(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> tuple[str, ...]:
    """What the attack writes on images of the class, if anything."""
    return _kind(condition.kind).words(condition, source, cls, seed)


def attacked_file(condition: Condition, source: ImageSource, ref: ImageRef) -> ImageRef | None:
    """The attacked image beside an unattacked one; None where it is made from that.

    Raises:
        InputError: there should be one, and is none.
    """
    return _kind(condition.kind).file(condition, source, ref)


def _kind(kind: str) -> ConditionKind:
    if kind not in CONDITIONS:
        raise unknown("condition", kind, CONDITIONS)
    return CONDITIONS[kind]


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


CONDITIONS: dict[str, ConditionKind] = {
    kind.key: kind
    for kind in (
        ConditionKind("natural", 1, False, lambda condition, batch: batch.views, lambda *_: None, lambda *_: ()),
        ConditionKind(
            "typographic",
            1,
            True,
            _write,
            _written_class,
            _words,
            {
                "text": text(OTHER_CLASS, f"the text to write, or {OTHER_CLASS!r}"),
                "size": share(0.15, 0.01, 1.0),
                "place": choice("bottom", PLACES),
                "number": whole(1, 1, 100),
                "colour": colour("white"),
                "outline": colour("black", none=True),
            },
        ),
        ConditionKind(
            "folder",
            1,
            True,
            _from_folder,
            _named_class,
            lambda *_: (),
            {
                "name": label("a name for the attack", required=True),
                "target": label("name, label or index of the class that the attack aims at", required=False),
            },
            _in_folder,
        ),
    )
}
"""All kinds of condition by name."""
