"""Conversion of example images to Arrow tables and back: a row per value of a pixel, a column per view."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from ..circuits import ClassInfo, Condition, Example, ExampleImages, ModelInfo, SeenImage, Selection
from ..circuits.recipe import identity_fields
from .encoding import Header, check_identity, column, to_table

VIEWS = ("clean", "attacked")


def examples_to_table(images: ExampleImages, created_ms: int) -> pa.Table:
    """Return the table of example images."""
    views = {name: seen for i, example in enumerate(images.examples) for name, seen in _views(i, example)}
    header: Header = {
        "kind": "example",
        "id": images.id,
        "sha256": images.sha256,
        "created_ms": created_ms,
        "model": identity_fields(images.model),
        "target_class": identity_fields(images.target_class),
        "condition": images.condition.to_dict(),
        "selection": identity_fields(images.selection),
        "count": images.count,
        "checks": dict(images.checks),
        "images": [[example.hash, example.file] for example in images.examples],
        "predictions": {name: [seen.predicted, seen.probability] for name, seen in views.items()},
        "shape": list(images.examples[0].clean.pixels.shape),
    }
    return to_table(header, {name: np.ascontiguousarray(seen.pixels).ravel() for name, seen in views.items()})


def _views(number: int, example: Example) -> Iterator[tuple[str, SeenImage]]:
    """Yield the views of an image with the names of their columns."""
    for view in VIEWS:
        if (seen := getattr(example, view)) is not None:
            yield f"{view}_{number}", seen


def examples_from_table(header: Header, table: pa.Table) -> ExampleImages:
    """Inverse of `examples_to_table`.

    Raises:
        StoreDamaged: an array, or the whole, does not match its checksum.
    """

    def seen(view: str, number: int) -> Any:
        name = f"{view}_{number}"
        if name not in header["predictions"]:
            return None
        return SeenImage(column(header, table, name).reshape(header["shape"]), *header["predictions"][name])

    images = ExampleImages(
        model=ModelInfo(**header["model"]),
        target_class=ClassInfo(**header["target_class"]),
        condition=Condition.from_dict(header["condition"]),
        selection=Selection(**header["selection"]),
        count=header["count"],
        examples=tuple(
            Example(hash_, file, *(seen(view, i) for view in VIEWS)) for i, (hash_, file) in enumerate(header["images"])
        ),
        checks=header["checks"],
    )
    check_identity(header, images)
    return images
