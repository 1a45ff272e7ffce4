"""Deletion and insertion curves on models that are worked out by hand; share and pointing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore import evaluate_map, patch_attribution
from circuitstore.circuits import Axis, Readout, ReadoutUse
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs, MapEvaluation

from ...reference import relative
from .linear_vit import linear_vit

LABELS = [1, 3, 0]


def some_pairs(model, images, **keywords):
    return ImagePairs.of(model, images(model, 3, 1), images(model, 3, 2), LABELS, **keywords)


def map_of(values) -> Readout:
    values = np.asarray(values, np.float64)
    names = zip(("image", "patch_row", "patch_column"), values.shape, strict=True)
    return Readout(ReadoutUse.of("occlusion"), tuple(Axis(name, tuple(range(n))) for name, n in names), values)


def probability(model, images):
    return model.logits(images).softmax(dim=1)[torch.arange(len(images)), LABELS[: len(images)]].numpy()


def test_curves_end_at_the_image_and_at_the_baseline(toy_vit, images):
    model = toy_vit()
    pairs = some_pairs(model, images)
    found = evaluate_map(model, pairs, patch_attribution(model, pairs, "random-map"), baseline="corrupted")
    ends = np.stack([probability(model, pairs.clean), probability(model, pairs.corrupted)], axis=1)
    assert found.curves.names == ("image", "curve", "patches") and found.curves.axis("patches").labels == (
        0,
        1,
        2,
        3,
        4,
    )
    assert np.abs(found.curves.select(curve="deletion").values[:, [0, 4]] - ends).max() < 1e-12
    assert np.abs(found.curves.select(curve="insertion").values[:, [4, 0]] - ends).max() < 1e-12
    assert found.share_inside is None and found.pointing is None


def test_a_step_fills_the_patches_of_the_largest_values(toy_vit, images):
    model = toy_vit()
    pairs = some_pairs(model, images)
    found = evaluate_map(model, pairs, map_of([[[3, 1], [2, 4]]] * 3), baseline="corrupted").curves
    mixed = pairs.clean.clone()
    mixed[:, :, 4:, 4:], mixed[:, :, :4, :4] = pairs.corrupted[:, :, 4:, 4:], pairs.corrupted[:, :, :4, :4]
    assert np.abs(found.select(curve="deletion", patches=2).values - probability(model, mixed)).max() < 1e-12
    other = torch.where(mixed == pairs.clean, pairs.corrupted, pairs.clean)
    assert np.abs(found.select(curve="insertion", patches=2).values - probability(model, other)).max() < 1e-12


def test_insertion_is_deletion_of_the_opposite_map_backwards(toy_vit, images):
    model = toy_vit()
    pairs = some_pairs(model, images)
    values = patch_attribution(model, pairs, "random-map").values
    found, opposite = (evaluate_map(model, pairs, map_of(sign * values)) for sign in (1, -1))
    backwards = opposite.curves.select(curve="deletion").values[:, ::-1]
    assert np.abs(found.curves.select(curve="insertion").values - backwards).max() < 1e-12
    assert np.abs(found.insertion - opposite.deletion).max() < 1e-12


def test_in_a_linear_model_no_order_is_better_than_the_effects(images):
    model = linear_vit()
    pairs = some_pairs(model, images)
    effects = patch_attribution(model, pairs, "occlusion")
    best = evaluate_map(model, pairs, effects, measured_by="metric")
    for seed in range(20):
        order = patch_attribution(model, pairs, "random-map", seed=seed)
        other = evaluate_map(model, pairs, order, measured_by="metric")
        assert (other.deletion >= best.deletion - 1e-12).all() and (other.insertion <= best.insertion + 1e-12).all()
    whole = model.logits(pairs.clean)[torch.arange(3), LABELS].numpy()
    falling = np.sort(effects.values.reshape(3, 6))[:, ::-1].cumsum(axis=1)
    curve = best.curves.select(curve="deletion").values
    assert relative(curve[:, 1:], whole[:, None] - falling) < 1e-10
    assert relative(best.deletion, (curve[:, :-1] + curve[:, 1:]).mean(axis=1) / 2) < 1e-12
    assert best.curves.unit == "logit"


def test_fewer_steps_fill_several_patches_at_a_time(images):
    model = linear_vit()
    pairs, order = some_pairs(model, images), map_of(np.arange(18).reshape(3, 2, 3))
    every, some = (evaluate_map(model, pairs, order, steps=steps).curves for steps in (64, 4))
    assert some.axis("patches").labels == (0, 2, 3, 4, 6)
    assert np.array_equal(some.values, every.select(patches=[0, 2, 3, 4, 6]).values)
    singly = evaluate_map(model, pairs, order, execution=Execution(batch_size=1))
    assert np.abs(singly.curves.values - every.values).max() < 1e-12


def test_the_class_is_the_one_that_the_metric_raises(images):
    model = linear_vit()
    order = map_of(np.arange(18).reshape(3, 2, 3))
    attacked = some_pairs(model, images, targets=[2, 2, 1])
    plain = ImagePairs.of(model, attacked.clean, attacked.corrupted, [2, 2, 1])
    found = evaluate_map(model, attacked, order, metric="logit-diff").curves
    assert np.abs(found.values - evaluate_map(model, plain, order).curves.values).max() < 1e-12
    assert "logit-diff raises" in found.unit


def test_share_and_pointing_by_hand(toy_vit, images):
    model = toy_vit(depth=1)
    region = torch.zeros(3, 8, 8, dtype=torch.bool)
    region[0, :4, :4], region[1, 4:, :], region[2, :, 4:] = True, True, True
    maps = map_of([[[3, 1], [-5, 0]], [[1, 1], [2, 0]], [[-1, -2], [-1, 0]]])
    pairs = some_pairs(model, images)
    found = evaluate_map(model, pairs, maps, region=region)
    assert found.share_inside[:2].tolist() == [0.75, 0.5] and np.isnan(found.share_inside[2])
    assert found.pointing.tolist() == [True, True, True]
    same = evaluate_map(model, pairs, maps, region=region[0].numpy())
    assert same.share_inside[:2].tolist() == [0.75, 0.25] and same.pointing.tolist() == [True, False, False]
    table = found.to_pandas()
    assert table.columns.tolist() == ["image", "deletion", "insertion", "share_inside", "pointing"] and len(table) == 3
    assert "share_inside 0.625" in repr(found)


def test_a_random_map_has_the_share_of_the_area(toy_vit, images):
    model = toy_vit(depth=1, img_size=64)
    x = images(model, 60, 1)
    pairs = ImagePairs.of(model, x, -x, [0] * 60)
    region = torch.zeros(64, 64, dtype=torch.bool)
    region[40:, :20] = True
    found = evaluate_map(model, pairs, patch_attribution(model, pairs, "random-map"), region=region, steps=1)
    assert abs(found.share_inside.mean() - region.double().mean()) < 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": "white"}, "baseline.*white"),
        ({"measured_by": "loss"}, "measured_by.*loss"),
        ({"steps": 0}, "steps: expected a whole number of at least 1, got 0"),
        ({"region": np.zeros((4, 4), bool)}, r"mask: expected booleans \[image, 8, 8\]"),
        ({"region": np.zeros((8, 8))}, "mask: expected booleans"),
        ({"region": np.zeros((2, 8, 8), bool)}, r"region: expected a mask for each of 3 images, or one for all, got 2"),
        ({"metric": "logit-diff"}, "needs a target class per image"),
        ({"patch_map": map_of(np.zeros((2, 2, 2)))}, r"patch_map: expected .* sizes \(3, 2, 2\), got"),
        ({"patch_map": map_of(np.zeros((3, 1, 4)))}, r"patch_map: expected .* sizes \(3, 2, 2\), got"),
    ],
)
def test_bad_requests_raise(toy_vit, images, changes, message, unchecked):
    model = toy_vit(depth=1)
    options = {"patch_map": map_of(np.zeros((3, 2, 2))), **changes}
    with pytest.raises(InputError, match=message):
        evaluate_map(model, some_pairs(model, images), **options)


def test_areas_by_hand():
    axes = (Axis("image", (0,)), Axis("curve", ("deletion", "insertion")), Axis("patches", (0, 1, 4)))
    curves = Readout(ReadoutUse.of("deletion-insertion"), axes, np.array([[[1, 0.5, 0], [0, 1, 1]]]))
    found = MapEvaluation(curves)
    assert found.deletion.tolist() == [0.375] and found.insertion.tolist() == [0.875]
