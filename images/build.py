"""The image pairs that a work item is answered from: attacked images, corrupted counterparts, labels, targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..circuits import NATURAL, ClassInfo, Condition, Contrast, Corruption
from ..errors import InputError, unknown
from ..evaluation import ImagePairs
from ..models import ViT, runs_model
from .batch import Batch
from .conditions import CONDITIONS, Views, attack, attacked_file, is_attack, target_of, words
from .corruptions import CORRUPTIONS, contrast_classes, corrupt, draws_on, needs_attack
from .partners import deal
from .select import order_candidates
from .source import ImageRef, ImageSource
from .sources import open_source


def surroundings(
    source: ImageSource,
    cls: ClassInfo,
    condition: Condition,
    corruption: Corruption,
    *,
    count: int,
    seed: int = 0,
    target: int | None = None,
) -> tuple[str, ...]:
    """What image pairs of the class are made from besides the class's own candidates: part of what a question is.

    Content hashes of the contrast classes' images (`other-class`) or of those averaged (`mean-image`), the word that
    an attack writes or the hashes of the attacked images (`folder`), and the target class. Another set of class
    folders can change them though the class stays as it is.

    Args:
        count: images of the class over all splits.
        target: class that the metric aims at; default: the attack's.

    Raises:
        InputError: an attack or a pairing that cannot be carried out on this source.
    """
    aim = target_of(condition, source, cls, seed) if target is None else target
    return (
        *(ref.hash for ref in draws_on(corruption, source, cls, seed=seed, most=count)),
        *words(condition, source, cls, seed),
        *(twin.hash for ref in source.candidates(cls) if (twin := attacked_file(condition, source, ref))),
        *([] if aim is None else [f"target {aim}"]),
    )


def contrast(
    source: ImageSource,
    cls: ClassInfo,
    condition: Condition,
    corruption: Corruption,
    *,
    count: int,
    seed: int = 0,
    target: int | None = None,
) -> Contrast:
    """The same by name: the written word, the target class, and the classes that corrupted images come from."""
    aim = target_of(condition, source, cls, seed) if target is None else target
    written = words(condition, source, cls, seed)
    return Contrast(
        word=" ".join(written) or None,
        target=None if aim is None else source.name_of(aim),
        against=tuple(c.name for c in contrast_classes(corruption, source, cls, seed=seed, most=count)),
    )


def image_pairs(
    source: str | Path | Mapping[str, Any] | ImageSource,
    model: ViT,
    class_name: str,
    n: int = 16,
    *,
    condition: Condition | str = NATURAL,
    corruption: Corruption | str = "other-class",
    seed: int = 0,
) -> ImagePairs:
    """Pairs of one class's images and what they are contrasted with, ready for `score_edges` and `evaluate`.

    Args:
        source: `"digits"`, the `Path` of a folder of class folders, what else `open_source` takes, or an opened source.
        model: the model that the images are normalised for.
        class_name: name of the class.
        n: images, in a seeded order of their content; all where there are fewer.
        condition: what is done to the images: a kind with its defaults, or `CONDITIONS.resolve(kind, params)`.
        corruption: what they are contrasted with: a kind with its defaults, or `CORRUPTIONS.resolve(kind, params)`.
        seed: of everything random.

    Raises:
        InputError: no such class, condition or corruption; an attack or a pairing that cannot be carried out.
        BadImage: an image that cannot be decoded.

    Examples:
        >>> pairs = image_pairs("digits", model, "three")
        >>> len(pairs)
        16
    """
    opened = _opened(model, source)
    by_name = {c.name: c for c in opened.classes}
    if class_name not in by_name:
        raise unknown("class", class_name, by_name, where=opened.name)
    cls = by_name[class_name]
    condition = CONDITIONS.resolve(condition) if isinstance(condition, str) else condition
    corruption = CORRUPTIONS.resolve(corruption) if isinstance(corruption, str) else corruption
    refs = order_candidates(opened.candidates(cls), seed)[:n]
    against = contrast_classes(corruption, opened, cls, seed=seed, most=len(refs))
    partners = deal([order_candidates(opened.candidates(c), seed) for c in against], len(refs))
    return build_pairs(opened, model, cls, refs, condition, corruption, seed=seed, partners=partners)


@runs_model
def _opened(model: ViT, source: str | Path | Mapping[str, Any] | ImageSource) -> ImageSource:
    if isinstance(source, ImageSource):
        return source
    return open_source({"folder": source} if isinstance(source, Path) else source, model)


def build_pairs(
    source: ImageSource,
    model: ViT,
    cls: ClassInfo,
    refs: Sequence[ImageRef],
    condition: Condition,
    corruption: Corruption,
    *,
    seed: int = 0,
    partners: Sequence[ImageRef] = (),
    target: int | None = None,
) -> ImagePairs:
    """The image pairs of one class, condition and corruption, on the CPU; see `ImagePairs.of` for what it warns of.

    Args:
        refs: the images, of one split.
        partners: for `other-class` the partner of each image, see `deal`.
        target: class that the metric aims at; default: the attack's.

    Raises:
        InputError: no images; a corruption that needs what is not there; an attack that cannot be carried out.
        BadImage: an image that cannot be decoded (any more).
    """
    attacked, corrupted = build_views(source, cls, refs, condition, corruption, seed=seed, partners=partners)
    aim = target_of(condition, source, cls, seed) if target is None else target
    return ImagePairs.of(
        model,
        model.preprocess.normalise(attacked),
        model.preprocess.normalise(corrupted),
        [cls.class_index] * len(refs),
        None if aim is None else [aim] * len(refs),
        hashes=[ref.hash for ref in refs],
    )


def build_views(
    source: ImageSource,
    cls: ClassInfo,
    refs: Sequence[ImageRef],
    condition: Condition,
    corruption: Corruption,
    *,
    seed: int = 0,
    partners: Sequence[ImageRef] = (),
) -> tuple[Views, Views]:
    """The same images as people see them, not normalised: under the condition, and corrupted.

    Arguments and errors as of `build_pairs`.
    """
    if not refs:
        raise InputError(f"class {cls.name!r}: no images to build a set from")
    if needs_attack(corruption) and not is_attack(condition):
        raise InputError(
            f"corruption {corruption.kind}: contrasts an attacked image with itself unattacked, but the condition is "
            f"{condition.kind}; choose an attack or another corruption"
        )
    batch = Batch(source, cls, tuple(refs), tuple(partners), seed)
    return attack(condition, batch), corrupt(corruption, batch)
