"""Maps over the images of a class: their means, and single ones on example images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..circuits import IMAGE, NATURAL, ExampleImages, ReadoutRecord
from ..circuits.image_maps import map_of
from .overlays import View

MAX_IMAGES = 3
"""Maximum number of example images next to a map."""

Map = Float[np.ndarray, "row column"]


@dataclass(frozen=True, eq=False)
class ConditionMaps:
    """The maps of one class under one condition.

    Attributes:
        condition: short name of the condition.
        n_images: number of report images behind the mean.
        mean: their mean map.
        images: example images as the model sees them, by content hash before the condition.
        maps: the maps of those of them whose numbers are stored, by content hash.
    """

    condition: str
    n_images: int
    mean: Map
    images: Mapping[str, View]
    maps: Mapping[str, Map]


def maps_of_class(records: Mapping[str, ReadoutRecord], examples: Sequence[ExampleImages]) -> list[ConditionMaps]:
    """Return the maps of a class under each condition, on the images that most conditions have.

    Args:
        records: its read-outs by short name of the condition; those that are no maps are left out.
        examples: example images of any classes.
    """
    found = list(_maps(records, examples))
    common = [hash_ for hash_, _ in Counter(h for one in found for h in one.images).most_common(MAX_IMAGES)]
    return [
        ConditionMaps(
            one.condition,
            one.n_images,
            one.mean,
            {h: one.images[h] for h in common if h in one.images},
            {h: one.maps[h] for h in common if h in one.maps},
        )
        for one in found
    ]


def _maps(records: Mapping[str, ReadoutRecord], examples: Sequence[ExampleImages]) -> Iterator[ConditionMaps]:
    for condition, record in records.items():
        mean = map_of(record, record.mean)
        if mean is None:
            continue
        images, each = images_of(record, examples), record.per_image
        maps = None if each is None else map_of(record, each)
        of_image = {} if maps is None else dict(zip(map(str, maps.axis(IMAGE).labels), maps.values, strict=True))
        shared = {hash_: of_image[hash_] for hash_ in images if hash_ in of_image}
        yield ConditionMaps(condition, len(record.images), mean.values, images, shared)


def images_of(record: ReadoutRecord, examples: Sequence[ExampleImages]) -> dict[str, View]:
    """Return example images of the class of a read-out as the model sees them under its condition, by content hash."""
    item, found = record.item, {}
    natural = item.condition.kind == NATURAL
    for images in examples:
        same = (images.model.id, images.target_class, images.selection.group)
        if same != (item.model.id, item.target_class, item.selection.group):
            continue
        if natural or images.condition == item.condition:
            for example in images.examples:
                seen = example.clean if natural or example.attacked is None else example.attacked
                found.setdefault(example.hash, seen.pixels)
    return found


def map_numbers(found: Sequence[ConditionMaps]) -> pd.DataFrame:
    """Return columns `condition, image, row, column, value`; the image of the mean is `mean`."""
    frames = [
        pd.DataFrame(
            {
                "condition": one.condition,
                "image": image,
                "row": np.repeat(np.arange(values.shape[0]), values.shape[1]),
                "column": np.tile(np.arange(values.shape[1]), values.shape[0]),
                "value": values.ravel(),
            }
        )
        for one in found
        for image, values in {"mean": one.mean, **{hash_[:12]: values for hash_, values in one.maps.items()}}.items()
    ]
    return pd.concat(frames, ignore_index=True)
