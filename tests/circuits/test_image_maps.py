"""Read-outs as maps over patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.circuits import Axis, MethodUse, Readout, ReadoutRecord, ReadoutUse, readout_use
from circuitstore.circuits.image_maps import added_axes, map_of, maps_of, on_grid
from circuitstore.testing.factories import make_item, readout_item
from hypothesis import given
from hypothesis import strategies as st

LAYERS, HEADS, TOKENS = Axis("layer", (0, 1)), Axis("head", (0, 1, 2)), Axis("token", tuple(range(7)))


def record_of(kind: str, *axes: Axis) -> ReadoutRecord:
    """Return a read-out of two images with numbers of each; the images have two rows of three patches."""
    item = readout_item(make_item())
    item = replace(item, recipe=replace(item.recipe, method=MethodUse.of(kind)))
    every = (Axis("image", (0, 1)), *axes)
    values = np.random.default_rng(0).normal(size=[len(axis) for axis in every])
    found = Readout(readout_use(item), every, values)
    return ReadoutRecord.of(item, ("a", "b"), found, per_image=True, provenance={"patches": [2, 3]})


@given(rows=st.integers(1, 5), columns=st.integers(1, 5), prefix=st.integers(0, 3), images=st.integers(1, 2))
def test_the_last_tokens_are_the_patches_row_by_row(rows: int, columns: int, prefix: int, images: int) -> None:
    tokens = prefix + rows * columns
    values = np.arange(images * tokens, dtype=float).reshape(images, tokens)
    axes = (Axis("image", tuple(range(images))), Axis("token", tuple(range(tokens))))
    grid = Axis("patch_row", tuple(range(rows))), Axis("patch_column", tuple(range(columns)))
    found = on_grid(Readout(ReadoutUse("x"), axes, values), grid)
    assert found.names == ("image", "patch_row", "patch_column")
    for row in range(rows):
        for column in range(columns):
            assert np.array_equal(found.values[:, row, column], values[:, prefix + row * columns + column])


def test_each_head_has_its_map_and_maps_of_parts_that_add_up_are_summed() -> None:
    record = record_of("attention-times-gradient", LAYERS, HEADS, TOKENS)
    maps, one = maps_of(record, record.mean), map_of(record, record.mean)
    assert maps is not None and maps.names == ("layer", "head", "patch_row", "patch_column")
    assert np.array_equal(maps.select(layer=1, head=2).values, record.mean.values[1, 2, 1:].reshape(2, 3))
    assert added_axes(maps) == ("layer", "head")
    assert one is not None and one.values == pytest.approx(maps.values.sum(axis=(0, 1)), rel=1e-5)


def test_maps_of_images_average_to_the_mean_map() -> None:
    record = record_of("attention-patterns", LAYERS, HEADS, TOKENS)
    assert record.per_image is not None
    each, mean = maps_of(record, record.per_image), maps_of(record, record.mean)
    assert each is not None and mean is not None
    assert each.mean("image").values == pytest.approx(mean.values, rel=1e-5)
    assert map_of(record, record.mean) is None  # heads of attention do not add up


@pytest.mark.parametrize(
    "axes", [(Axis("point", ("p", "q")),), (Axis("token", (1, 2, 3)),), (Axis("token", tuple(range(4))),), (HEADS,)]
)
def test_numbers_of_other_places_are_no_maps(axes: tuple[Axis, ...]) -> None:
    record = record_of("stream-patching", *axes)
    assert maps_of(record, record.mean) is None
    assert map_of(record, record.mean) is None
