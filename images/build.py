"""Build the image pairs of a work item: clean images, what they are contrasted with, labels and targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from ..circuits import NATURAL, ClassInfo, Condition, Contrast, Corruption
from ..errors import InputError, unknown, warn
from ..evaluation import ImagePairs
from ..models import ViT, runs_model
from .batch import Batch
from .condition_kind import Views
from .conditions import CONDITIONS, attacked_file, changes_images, notice_of, targets_of, words
from .corruptions import CORRUPTIONS, contrast_classes, corrupt, draws_on, has_image, needs_attack
from .partners import deal_partners
from .predictions import Predictions
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
    """Return what image pairs depend on in addition to the class's own candidates: part of a work item's identity.

    This is: content hashes of the contrast classes' images (`other-class`) or of the averaged images (`mean-image`),
    the word that an attack writes or hashes of the attacked images (`folder`), the target class, and the units that are
    kept in one split. Adding or removing other class folders can change it.

    Args:
        source: source of the images.
        cls: the class.
        condition: condition of the clean images.
        corruption: corruption of the corrupted images.
        count: number of images of the class over all splits.
        seed: seed of everything random.
        target: logit of the metric's target class; by default the attack's.

    Raises:
        InputError: the attack or the pairing is not possible with this source.

    Examples:
        >>> three = source.class_named("three")
        >>> written, blur = CONDITIONS.resolve("typographic"), CORRUPTIONS.resolve("blur")
        >>> surroundings(source, three, written, blur, count=8)
        ('...', 'target ...')
    """
    aims = targets_of(condition, source, cls, seed) if target is None else (target,)
    return (
        *(ref.hash for ref in draws_on(corruption, source, cls, seed=seed, count=count)),
        *words(condition, source, cls, seed),
        *(twin.hash for ref in source.candidates(cls) if (twin := attacked_file(condition, source, ref))),
        *(f"target {aim}" for aim in aims if aim is not None),
        *([f"units {source.units_digest}"] if source.units_digest else []),
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
    """Return the written word, the target class and the classes of corrupted images, by name.

    Words and targets that differ between splits are joined, those of discovery images first.

    Examples:
        >>> three = source.class_named("three")
        >>> natural, other = CONDITIONS.resolve("natural"), CORRUPTIONS.resolve("other-class")
        >>> contrast(source, three, natural, other, count=2).against
        ('...', '...')
    """
    aims = targets_of(condition, source, cls, seed) if target is None else (target,)
    return Contrast(
        word=" / ".join(words(condition, source, cls, seed)) or None,
        target=" / ".join(source.name_of(aim) for aim in aims if aim is not None) or None,
        against=tuple(c.name for c in contrast_classes(corruption, source, cls, seed=seed, count=count)),
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
    """Return clean images of one class and what they are contrasted with, ready for `score_edges` and `evaluate`.

    Args:
        source: `"digits"`, the `Path` of a folder of class folders, a mapping (see `open_source`) or an opened source.
        model: the model that the images are normalised for.
        class_name: name of the class.
        n: number of images, in a seeded order by content; all images if there are fewer.
        condition: condition of the clean images: a key, with default parameters, or `CONDITIONS.resolve(key, params)`.
        corruption: corruption: a key, with default parameters, or `CORRUPTIONS.resolve(key, params)`.
        seed: seed of everything random.

    Raises:
        InputError: `n` is not a positive whole number; an unknown source, class, condition or corruption; an attack or
            a pairing that is not possible.
        BadImage: an image cannot be decoded.

    Examples:
        >>> pairs = image_pairs("digits", model, "three")
        >>> len(pairs)
        16
    """
    if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
        raise InputError(f"n: expected a positive whole number of images, got {n!r}")
    predictions = Predictions(_open(model, source), model, seed)
    opened = predictions.source
    by_name = {c.name: c for c in opened.classes}
    if class_name not in by_name:
        raise unknown("class", class_name, by_name, where=opened.name)
    cls = by_name[class_name]
    condition = CONDITIONS.resolve(condition) if isinstance(condition, str) else condition
    corruption = CORRUPTIONS.resolve(corruption) if isinstance(corruption, str) else corruption
    refs = order_candidates(opened.candidates(cls), seed)[:n]
    against = contrast_classes(corruption, opened, cls, seed=seed, count=len(refs))
    partners = deal_partners([order_candidates(opened.candidates(c), seed) for c in against], len(refs))
    if notice := notice_of(condition):
        warn(notice)
    return build_pairs(predictions, cls, refs, condition, corruption, partners=partners)


@runs_model
def _open(model: ViT, source: str | Path | Mapping[str, Any] | ImageSource) -> ImageSource:
    if isinstance(source, ImageSource):
        return source
    if not isinstance(source, str | Path | Mapping):
        raise InputError(
            "source: expected 'digits' or another key, the Path of a folder, a mapping with options or an opened "
            f"source, got {type(source).__name__}"
        )
    return open_source({"folder": source} if isinstance(source, Path) else source, model)


def build_pairs(
    predictions: Predictions,
    cls: ClassInfo,
    refs: Sequence[ImageRef],
    condition: Condition,
    corruption: Corruption,
    *,
    partners: Sequence[ImageRef] = (),
    target: int | None = None,
) -> ImagePairs:
    """Return the image pairs of one class, condition and corruption, on the CPU; see `ImagePairs.of` for warnings.

    Args:
        predictions: the source of the images, the model that they are normalised for, and the seed.
        cls: class of the images.
        refs: the images, of one split.
        condition: condition of the clean images.
        corruption: corruption of the corrupted images.
        partners: the partner of each image for `other-class`, see `deal_partners`.
        target: logit of the metric's target class; by default each image's under the attack, see `Predictions.targets`.

    Raises:
        InputError: no images; a corruption without the partners or attack that it needs; an attack that is not
            possible.
        BadImage: an image cannot be decoded.

    Examples:
        >>> three = source.class_named("three")
        >>> natural, blur = CONDITIONS.resolve("natural"), CORRUPTIONS.resolve("blur")
        >>> build_pairs(Predictions(source, model), three, source.candidates(three)[:4], natural, blur).clean.shape
        torch.Size([4, 3, 64, 64])
    """
    model = predictions.model
    batch = _batch(predictions, cls, refs, condition, corruption, partners)
    attacked = predictions.views(cls, refs, condition)
    if has_image(corruption):
        corrupted = model.preprocess.normalise(corrupt(corruption, batch))
    else:
        corrupted = predictions.constants(corruption)
    return ImagePairs.of(
        model,
        model.preprocess.normalise(attacked),
        corrupted,
        [cls.class_index] * len(refs),
        predictions.targets(cls, refs, condition) if target is None else [target] * len(refs),
        hashes=[ref.hash for ref in refs],
    )


def build_views(
    predictions: Predictions,
    cls: ClassInfo,
    refs: Sequence[ImageRef],
    condition: Condition,
    corruption: Corruption,
    *,
    partners: Sequence[ImageRef] = (),
) -> tuple[Views, Views]:
    """Return the same images as 8-bit views, not normalised: under the condition, and corrupted.

    Arguments are those of `build_pairs`.

    Raises:
        InputError: as for `build_pairs`, or a corruption without images.
        BadImage: an image cannot be decoded.

    Examples:
        >>> three = source.class_named("three")
        >>> natural, blur = CONDITIONS.resolve("natural"), CORRUPTIONS.resolve("blur")
        >>> refs = source.candidates(three)[:4]
        >>> clean, corrupted = build_views(Predictions(source, model), three, refs, natural, blur)
        >>> corrupted.shape, corrupted.dtype
        ((4, 64, 64, 3), dtype('uint8'))
    """
    batch = _batch(predictions, cls, refs, condition, corruption, partners)
    return predictions.views(cls, refs, condition), corrupt(corruption, batch)


def _batch(
    predictions: Predictions,
    cls: ClassInfo,
    refs: Sequence[ImageRef],
    condition: Condition,
    corruption: Corruption,
    partners: Sequence[ImageRef],
) -> Batch:
    """Return the images to corrupt, after checking that there are some and that the corruption is possible."""
    if not refs:
        raise InputError(f"class {cls.name!r}: no images to build pairs from")
    if needs_attack(corruption) and not changes_images(condition):
        raise InputError(
            f"corruption {corruption.kind}: contrasts an attacked image with itself unattacked, but the condition is "
            f"{condition.kind}; choose an attack or another corruption"
        )
    return Batch(predictions.source, cls, tuple(refs), tuple(partners), predictions.seed)
