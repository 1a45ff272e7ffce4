"""Conditions: what was done to the images, such as an attack that fools a model but not a person.

A condition is a value in a registry; adding one is one entry. Its random choices depend only on the image's content
hash and the seed, not on other images or their order.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..circuits import NATURAL, ClassInfo, Condition
from ..circuits.kinds import ABSENT, REQUIRED, Registry
from .batch import Batch
from .condition_kind import ConditionKind, Role, Views, class_named
from .distortions import DISTORTIONS
from .gradient_kinds import FGSM, PGD, UNTARGETED
from .params import label
from .source import ImageRef, ImageSource
from .splits import SPLITS, Split
from .typographic import TYPOGRAPHIC


def changes_images(condition: Condition) -> bool:
    """Return whether the condition changes the images: it is an attack, a control or a distortion.

    Examples:
        >>> changes_images(CONDITIONS.resolve("natural")), changes_images(CONDITIONS.resolve("typographic"))
        (False, True)
    """
    return role_of(condition) != "natural"


def role_of(condition: Condition) -> Role:
    """Return whether a condition is `natural`, an `attack`, the `control` of an attack, or a `distortion`.

    Examples:
        >>> role_of(CONDITIONS.resolve("typographic")), role_of(CONDITIONS.resolve("random-signs", {"eps": "8/255"}))
        ('attack', 'control')
    """
    return CONDITIONS[condition.kind].role(condition)


def is_control(condition: Condition, attack: Condition) -> bool:
    """Return whether a condition is a control of an attack: harmless, and of the same size.

    Examples:
        >>> attack = CONDITIONS.resolve("typographic", {"text": "seven"})
        >>> nonsense = CONDITIONS.resolve("typographic", {"text": "seven", "control": "nonsense"})
        >>> is_control(nonsense, attack), is_control(attack, nonsense)
        (True, False)
    """
    return CONDITIONS[condition.kind].controls(condition, attack)


def attack(condition: Condition, batch: Batch) -> Views:
    """Return the images of the batch under the condition."""
    kind = CONDITIONS[condition.kind]
    applied = [kind.of_split(condition, batch.source.split_of(ref)) for ref in batch.refs]
    if len(set(applied)) == 1:
        return kind.apply(applied[0], batch)
    views: dict[ImageRef, np.ndarray] = {}
    for one in dict.fromkeys(applied):
        refs = tuple(ref for ref, own in zip(batch.refs, applied, strict=True) if own == one)
        views |= zip(refs, kind.apply(one, replace(batch, refs=refs, partners=())), strict=True)
    return np.stack([views[ref] for ref in batch.refs])


def target_of(
    condition: Condition, source: ImageSource, cls: ClassInfo, seed: int, split: Split = "discovery"
) -> int | None:
    """Return the logit of the target class of an attack on images of `cls` in a split; None without a target.

    Examples:
        >>> written = CONDITIONS.resolve("typographic", {"text": "seven", "held_out": "two"})
        >>> three = source.class_named("three")
        >>> target_of(written, source, three, seed=0), target_of(written, source, three, seed=0, split="report")
        (7, 2)
    """
    kind = CONDITIONS[condition.kind]
    return kind.target(kind.of_split(condition, split), source, cls, seed)


def targets_of(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> tuple[int | None, ...]:
    """Return the different targets of an attack on images of `cls`, that of discovery images first.

    Examples:
        >>> written = CONDITIONS.resolve("typographic", {"text": "seven", "held_out": "two"})
        >>> targets_of(written, source, source.class_named("three"), seed=0)
        (7, 2)
    """
    return tuple(dict.fromkeys(target_of(condition, source, cls, seed, split) for split in SPLITS))


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
    """Return the short fingerprint of the model whose gradients an attack follows, or `itself`; None for others.

    Examples:
        >>> attacker_of(CONDITIONS.resolve("pgd", {"eps": "8/255"}))
        'itself'
    """
    return str(condition["model"]) if CONDITIONS[condition.kind].follows_gradients else None


def notice_of(condition: Condition) -> str | None:
    """Return what the user should know about the condition's parameters, or None.

    Examples:
        >>> notice_of(CONDITIONS.resolve("fgsm", {"eps": "0.4/255"}))
        '...the attack changes no pixel'
    """
    return CONDITIONS[condition.kind].notice(condition)


def words(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> tuple[str, ...]:
    """Return the words that the attack writes on images of the class, those of discovery images first."""
    kind = CONDITIONS[condition.kind]
    found = (kind.words(kind.of_split(condition, split), source, cls, seed) for split in SPLITS)
    return tuple(dict.fromkeys(word for of in found for word in of))


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
            role=lambda condition: "natural",
        ),
        TYPOGRAPHIC,
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
        *DISTORTIONS,
    ),
)
"""All conditions by key."""
