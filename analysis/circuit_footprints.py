"""Footprints of circuits: where in the image their edges, and each of their strongest edges, get the metric from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..circuits import IMAGE, Circuit, ExampleImages, Readout, ReadoutRecord
from ..circuits.image_maps import maps_of
from ..evaluation.readouts.circuit_footprint import OUT_OF_INPUT
from .image_maps import images_of
from .overlays import View
from .readouts import ReadoutSet

KIND = "circuit-footprint"

MAX_IMAGES = 2
"""Maximum number of example images of a class that are drawn under each condition."""

Maps = Float[np.ndarray, "edges row column"]


@dataclass(frozen=True, eq=False)
class CircuitFootprints:
    """The footprints of the circuit of one class under one condition.

    Attributes:
        condition: short name of the condition.
        n_images: number of report images behind the means.
        edges: `out of input`, the sum over the circuit's edges out of `input`, then its strongest edges.
        scores: mean score of each entry, over all tokens.
        mean: their mean maps.
        images: example images as the model sees them, by content hash before the condition.
        maps: their maps on those of these images whose numbers are stored, by content hash.
        circuit: the circuit; None if it can no longer be read.
    """

    condition: str
    n_images: int
    edges: tuple[str, ...]
    scores: Float[np.ndarray, "edges"]
    mean: Maps
    images: Mapping[str, View]
    maps: Mapping[str, Maps]
    circuit: Circuit | None


def footprints_of_class(shown: ReadoutSet, name: str, examples: Sequence[ExampleImages]) -> list[CircuitFootprints]:
    """Return the footprints of the circuits of a class under each condition, on the images that most conditions have.

    Args:
        shown: footprints of circuits.
        name: the class.
        examples: example images of any classes.
    """
    found = [_footprints(shown, condition, record, examples) for condition, record in shown.by_class[name].items()]
    common = [hash_ for hash_, _ in Counter(h for one in found for h in one.maps).most_common(MAX_IMAGES)]
    return [replace(one, maps={h: one.maps[h] for h in common if h in one.maps}) for one in found]


def _footprints(
    shown: ReadoutSet, condition: str, record: ReadoutRecord, examples: Sequence[ExampleImages]
) -> CircuitFootprints:
    mean, each, images = record.mean, record.per_image, images_of(record, examples)
    labels = shown_edges(mean)
    known = () if each is None else map(str, each.axis(IMAGE).labels)
    return CircuitFootprints(
        condition,
        len(record.images),
        labels,
        mean.select(edges=labels).values.sum(axis=1),
        _maps(record, mean, labels),
        images,
        {} if each is None else {h: _maps(record, each.select(**{IMAGE: h}), labels) for h in known if h in images},
        shown.circuits.get(record.id),
    )


def shown_edges(found: Readout) -> tuple[str, ...]:
    """Return `out of input` and the names of the single edges: all entries but the sums by layer."""
    labels = map(str, found.axis("edges").labels)
    return tuple(label for label in labels if label == OUT_OF_INPUT or not label.startswith("into "))


def _maps(record: ReadoutRecord, found: Readout, labels: tuple[str, ...]) -> Maps:
    maps = maps_of(record, found.select(edges=labels))
    assert maps is not None
    return maps.values


def footprint_numbers(found: Sequence[CircuitFootprints]) -> pd.DataFrame:
    """Return the maps that are drawn, a row per patch, to six decimals of the largest value.

    Returns:
        Columns `condition, image` (`mean`, or the beginning of a hash), `row, column`, and a column for each entry of
        `edges`, missing under conditions without it.
    """
    frames = [
        _numbers(one, image, maps)
        for one in found
        for image, maps in {"mean": one.mean, **{hash_[:12]: maps for hash_, maps in one.maps.items()}}.items()
    ]
    largest = max((float(np.abs(one.mean).max(initial=0)) for one in found), default=0.0)
    decimals = 6 - int(np.ceil(np.log10(largest))) if largest else 0
    return pd.concat(frames, ignore_index=True).round(decimals)


def _numbers(one: CircuitFootprints, image: str, maps: Maps) -> pd.DataFrame:
    row, column = (place.ravel() for place in np.indices(maps.shape[1:]))
    places = {"condition": one.condition, "image": image, "row": row, "column": column}
    return pd.DataFrame(
        {**places, **{label: values.ravel().astype(float) for label, values in zip(one.edges, maps, strict=True)}}
    )


def footprint_facts(shown: ReadoutSet) -> pd.DataFrame:
    """Return the mean scores of the circuits' edges, and where they are.

    Returns:
        Columns `class, condition, images, edges` (edges added up, or one edge), `score`, its parts `patches` and
        `others` (at other tokens), `largest` (the value of largest magnitude at a patch) and its `row` and `column`.
    """
    return pd.DataFrame(list(_facts(shown)))


def _facts(shown: ReadoutSet) -> Iterator[dict[str, object]]:
    for name, records in shown.by_class.items():
        for condition, record in records.items():
            labels = tuple(map(str, record.mean.axis("edges").labels))
            maps = _maps(record, record.mean, labels).astype(np.float64)
            scores = record.mean.values.astype(np.float64).sum(axis=1)
            for label, values, score in zip(labels, maps, scores, strict=True):
                row, column = np.unravel_index(np.abs(values).argmax(), values.shape)
                yield {
                    "class": name,
                    "condition": condition,
                    "images": len(record.images),
                    "edges": label,
                    "score": float(score),
                    "patches": float(values.sum()),
                    "others": float(score - values.sum()),
                    "largest": float(values[row, column]),
                    "row": int(row),
                    "column": int(column),
                }
