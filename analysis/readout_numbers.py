"""The numbers of read-outs about the true class: over components, as maps over images, and as tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..circuits import Readout, ReadoutRecord
from ..circuits.image_maps import map_of, of_true_class
from ..query.readouts import direct_rows, lens_rows
from .readouts import ReadoutSet

LENS = ("point", "class")
"""Axes of a lens, of which more than the true class is shown."""

DIRECT = (("component", "class"), ("layer", "head", "class"))
"""Axes of direct logits of components or heads."""

MAX_CELLS = 6_000
"""Maximum number of cells of a heat map."""

_OVER_IMAGE = {"query", "edges", "token", "source_token"}
"""Axes of read-outs that are about places in the image only: attention, and footprints of circuits."""


def over_components(record: ReadoutRecord) -> Readout | None:
    """Return the mean numbers of the true class over one or two axes; None for a map over an image, or more numbers."""
    found = of_true_class(record, record.mean)
    shown = len(found.names) in (1, 2) and found.values.size <= MAX_CELLS and not set(found.names) <= _OVER_IMAGE
    return found if shown and map_of(record, found) is None else None


def numbers(shown: ReadoutSet) -> pd.DataFrame:
    """Return the numbers of the true class of each class and condition.

    Returns:
        Columns `class, condition`, the axes, `value` and `std`, those of largest magnitude first; of lenses and direct
        logits the columns of the named queries `lens-by-layer` and `direct-by-head`.
    """
    frames = [
        _rows(record).assign(**{"class": name, "condition": condition})
        for name, records in shown.by_class.items()
        for condition, record in records.items()
    ]
    frame = pd.concat(frames, ignore_index=True)
    frame = frame.loc[:, ["class", "condition", *frame.columns.drop(["class", "condition"])]]
    if "value" in frame:
        frame = frame.sort_values("value", key=np.abs, ascending=False, kind="stable")
    return frame.dropna(axis="columns", how="all")


def _rows(record: ReadoutRecord) -> pd.DataFrame:
    names = record.mean.names
    if names == LENS:
        return pd.DataFrame(lens_rows(record))
    if names in DIRECT:
        return pd.DataFrame(direct_rows(record))
    return of_true_class(record, record.mean).to_pandas()


def map_facts(shown: ReadoutSet) -> pd.DataFrame:
    """Return figures of the mean map of each class and condition.

    Returns:
        Columns `class, condition, images`; `positive, negative` (sums over the map), `largest` (the value of largest
        magnitude) and its `row` and `column`.
    """
    return pd.DataFrame(list(_facts(shown)))


def _facts(shown: ReadoutSet) -> Iterator[dict[str, object]]:
    for name, records in shown.by_class.items():
        for condition, record in records.items():
            found = map_of(record, record.mean)
            if found is None:
                continue
            values = found.values.astype(np.float64)
            row, column = np.unravel_index(np.abs(values).argmax(), values.shape)
            yield {
                "class": name,
                "condition": condition,
                "images": len(record.images),
                "positive": float(values.clip(min=0).sum()),
                "negative": float(values.clip(max=0).sum()),
                "largest": float(values[row, column]),
                "row": int(row),
                "column": int(column),
            }
