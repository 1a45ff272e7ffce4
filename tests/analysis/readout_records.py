"""Stored read-outs of two classes, natural and attacked, with example images of the same content hashes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from circuitstore.circuits import Axis, ExampleImages, MethodUse, Readout, ReadoutRecord, WorkItem, readout_use
from circuitstore.testing.factories import make_examples, readout_item

from ..toy_studies import effect_items

ITEMS = [readout_item(item) for item in effect_items(2)]
EXAMPLES = [make_examples(item, 2) for item in ITEMS]

TOKENS = Axis("token", tuple(range(7)))
"""A prefix token, and two rows of three patches."""

CLASSES = Axis("class", ("class-0", "class-1"))
GRID = Axis("patch_row", (0, 1)), Axis("patch_column", (0, 1, 2))


def record_of(
    item: WorkItem, examples: ExampleImages, kind: str, *axes: Axis, per_image: bool = False
) -> ReadoutRecord:
    """Return a read-out of the example images and of a third image; numbers depend on kind, class and condition."""
    asked = replace(item, recipe=replace(item.recipe, method=MethodUse.of(kind, {"version": len(axes)})))
    hashes = (*(example.hash for example in examples.examples), "third")
    rng = np.random.default_rng([len(kind), item.target_class.class_index, len(item.condition.text)])
    every = (Axis("image", (0, 1, 2)), *axes)
    found = Readout(readout_use(asked), every, rng.normal(size=[len(axis) for axis in every]))
    return ReadoutRecord.of(asked, hashes, found, per_image=per_image, provenance={"patches": [2, 3], "device": "cpu"})


def records(kind: str, *axes: Axis, per_image: bool = False) -> list[ReadoutRecord]:
    """Return a read-out of each class and condition."""
    return [record_of(i, e, kind, *axes, per_image=per_image) for i, e in zip(ITEMS, EXAMPLES, strict=True)]
