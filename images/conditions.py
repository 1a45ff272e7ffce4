"""Conditions: what was done to the images, such as an attack that fools a model but not a person.

A condition is a value in a registry; adding one is one entry. Its random choices depend only on the image's content
hash and the seed, not on other images or their order.
"""

from __future__ import annotations

import numpy as np

from ..circuits import NATURAL, ClassInfo, Condition
from ..circuits.kinds import ABSENT, REQUIRED, Registry, choice, whole
from ..errors import InputError
from .batch import Batch
from .condition_kind import OTHER_CLASS, ConditionKind, Views, class_named, other_class
from .gradient_kinds import FGSM, PGD, UNTARGETED
from .params import colour, label, number, rgb, share, text
from .seeds import Draws
from .source import ImageRef, ImageSource
from .writing import PLACES, Lettering, write


def is_attack(condition: Condition) -> bool:
    """Return whether the condition is an attack.

    Examples:
        >>> is_attack(CONDITIONS.resolve("natural")), is_attack(CONDITIONS.resolve("typographic"))
        (False, True)
    """
    return CONDITIONS[condition.kind].attacked


def attack(condition: Condition, batch: Batch) -> Views:
    """Return the images of the batch under the condition."""
    return CONDITIONS[condition.kind].apply(condition, batch)


def target_of(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> int | None:
    """Return the logit of the target class of an attack on images of `cls`; None without a target.

    Examples:
        >>> written = CONDITIONS.resolve("typographic", {"text": "seven"})
        >>> target_of(written, source, source.class_named("three"), seed=0)
        7
    """
    return CONDITIONS[condition.kind].target(condition, source, cls, seed)


def freezes_target(condition: Condition) -> bool:
    """Return whether each image's target class is the one that the model predicts under the attack.

    Examples:
        >>> freezes_target(CONDITIONS.resolve("fgsm", {"eps": "8/255"}))
        True
        >>> freezes_target(CONDITIONS.resolve("fgsm", {"eps": "8/255", "target": "seven"}))
        False
    """
    return CONDITIONS[condition.kind].follows_gradients and condition["target"] == UNTARGETED


def attacker_of(condition: Condition) -> str | None:
    """Return the short fingerprint of the model whose gradients an attack follows, or `ITSELF`; None for others."""
    return str(condition["model"]) if CONDITIONS[condition.kind].follows_gradients else None


def notice_of(condition: Condition) -> str | None:
    """Return what the user should know about the condition's parameters, or None."""
    return CONDITIONS[condition.kind].notice(condition)


def words(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> tuple[str, ...]:
    """Return the words that the attack writes on images of the class."""
    return CONDITIONS[condition.kind].words(condition, source, cls, seed)


def attacked_file(condition: Condition, source: ImageSource, ref: ImageRef) -> ImageRef | None:
    """Return the file with the attacked image; None if the attack is computed from the unattacked image.

    Raises:
        InputError: the condition reads attacked images from files, and there is none for this image.

    Examples:
        >>> ref = source.candidates(source.class_named("three"))[0]
        >>> attacked_file(CONDITIONS.resolve("typographic"), source, ref) is None
        True
    """
    return CONDITIONS[condition.kind].file(condition, source, ref)


def _word(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> str:
    """Return the text written on images of the class."""
    given = str(condition["text"])
    if given != OTHER_CLASS:
        return given
    if len(source.classes) < 2:
        raise InputError(
            f"typographic, text = {OTHER_CLASS!r}: needs two classes (the image's and the one written), "
            f"but {source.name} has one; give the text itself"
        )
    return source.word(other_class(source, cls, seed))


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
    return class_named(condition, source, str(named))


CONDITIONS: Registry[ConditionKind, Condition] = Registry(
    "condition",
    "conditions",
    Condition,
    (
        ConditionKind(
            key=NATURAL,
            name="the unattacked images",
            apply=lambda condition, batch: batch.views,
            attacked=False,
        ),
        ConditionKind(
            key="typographic",
            name=(
                "a text written on the image; `other class` writes the word of one other class on all images "
                "of a class, chosen by the seed and the set of classes; random places depend only on the image "
                "and the seed"
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
                "name": label("a name for the attack", default=REQUIRED),
                "target": label("name, label or index of the attack's target class", default=ABSENT),
            },
            file=_in_folder,
        ),
        FGSM,
        PGD,
    ),
)
"""All conditions by key."""
