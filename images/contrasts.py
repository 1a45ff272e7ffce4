"""Corruptions that are computed from other images: one of another class, or the mean of all classes or of one."""

from __future__ import annotations

import numpy as np

from ..circuits import ClassInfo, Corruption
from ..circuits.kinds import whole
from ..errors import InputError
from .batch import Batch
from .corruption_kind import CorruptionKind, Views
from .params import number
from .partners import partner_classes, partners_param
from .source import ImageRef, ImageSource


def _partners(corruption: Corruption, batch: Batch) -> tuple[ImageRef, ...]:
    """Return every image's partner."""
    if len(batch.partners) != len(batch.refs):
        raise InputError(
            f"{corruption.kind}: no class that {batch.cls.name!r} is contrasted with has a usable image in this split; "
            "add images to them, name other partners, or use another corruption"
        )
    return batch.partners


def _other_class(corruption: Corruption, batch: Batch) -> Views:
    return np.stack([batch.source.view(ref) for ref in _partners(corruption, batch)])


def _of_partners(
    corruption: Corruption, source: ImageSource, cls: ClassInfo, seed: int, count: int
) -> tuple[ImageRef, ...]:
    classes = partner_classes(corruption, source, cls, seed, count)
    return tuple(ref for c in classes for ref in source.candidates(c))


def _mean_image(corruption: Corruption, batch: Batch) -> Views:
    mean = batch.source.mean_view(averaged(corruption))
    return mean[None].repeat(len(batch.refs), 0)


def first_of_all(
    corruption: Corruption, source: ImageSource, cls: ClassInfo, seed: int, count: int
) -> tuple[ImageRef, ...]:
    """Return the discovery images of all classes that a mean is taken over."""
    return source.discovery_refs()[: averaged(corruption)]


def _class_mean(corruption: Corruption, batch: Batch) -> Views:
    """Return the mean image of the class of every image's partner."""
    source, partners = batch.source, _partners(corruption, batch)
    return np.stack([source.mean_view(averaged(corruption), source.class_of(ref)) for ref in partners])


def _of_means(
    corruption: Corruption, source: ImageSource, cls: ClassInfo, seed: int, count: int
) -> tuple[ImageRef, ...]:
    classes = partner_classes(corruption, source, cls, seed, count)
    return tuple(ref for c in classes for ref in source.discovery_refs(c)[: averaged(corruption)])


def averaged(corruption: Corruption) -> int:
    """Return the maximum number of images in a mean."""
    return int(number(corruption["images"]))


OTHER_CLASS = CorruptionKind(
    key="other-class",
    name=(
        "each image is contrasted with one of another class: the other classes, in a seeded "
        "cyclic order, are assigned to the images in turn"
    ),
    version=2,
    apply=_other_class,
    params={"partners": partners_param()},
    classes=partner_classes,
    draws_on=_of_partners,
)
MEAN_IMAGE = CorruptionKind(
    key="mean-image",
    name="the mean of images of all classes",
    apply=_mean_image,
    params={"images": whole(256, 1, 100_000)},
    draws_on=first_of_all,
)
CLASS_MEAN = CorruptionKind(
    key="class-mean",
    name="each image is contrasted with the mean image of another class; classes are assigned as in `other-class`",
    apply=_class_mean,
    params={"partners": partners_param(), "images": whole(256, 1, 100_000)},
    classes=partner_classes,
    draws_on=_of_means,
)
