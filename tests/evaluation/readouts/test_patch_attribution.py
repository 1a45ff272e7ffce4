"""Attribution to patches: a linear model worked out by hand, sums, captum, and independence of batches."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from circuitstore import patch_attribution, patch_stream, zero_outputs
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.evaluation import Execution, ImagePairs, measure, on_patches
from circuitstore.evaluation.readouts import patch_maps
from circuitstore.evaluation.readouts.baseline_images import BASELINES, against
from circuitstore.evaluation.readouts.patch_attribution import ATTRIBUTIONS
from circuitstore.evaluation.readouts.rise import random_masks
from circuitstore.models import load_model

from ...families import FAMILIES, build
from ...reference import logits_of, relative
from .linear_vit import linear_vit, logit_gradient, on_grid

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of captum's own imports
    import captum.attr as captum

LABELS = [1, 3, 0]


def some_pairs(model, images, count=3, **keywords):
    labels = keywords.pop("labels", [label % model.n_classes for label in LABELS[:count]])
    return ImagePairs.of(model, images(model, count, 1), images(model, count, 2), labels, **keywords)


@pytest.fixture(scope="module")
def linear(images):
    model = linear_vit()
    return model, some_pairs(model, images), torch.stack([logit_gradient(model, label) for label in LABELS])


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("integrated-gradients", {"steps": 3}),
        ("integrated-gradients", {"steps": 1, "rule": "left"}),
        ("input-x-gradient", {}),
        ("smoothgrad", {"samples": 2, "noise": 0.5}),
        ("occlusion", {}),
    ],
)
def test_in_a_linear_model_methods_agree(linear, baseline, method, params):
    model, pairs, gradient = linear
    start = against(model, measure(model, pairs, "logit"), baseline).corrupted
    found = patch_attribution(model, pairs, method, baseline=baseline, **params)
    assert found.names == ("image", "patch_row", "patch_column") and found.values.shape == (3, 2, 3)
    assert relative(found.values, on_grid((pairs.clean - start) * gradient).numpy()) < 1e-10


def test_maps_over_pixels_sum_to_those_over_patches(linear):
    model, pairs, gradient = linear
    for method in ("integrated-gradients", "input-x-gradient", "smoothgrad", "saliency"):
        pixels = patch_attribution(model, pairs, method, by="pixel")
        assert pixels.names == ("image", "pixel_row", "pixel_column") and pixels.values.shape == (3, 8, 12)
        patches = patch_attribution(model, pairs, method)
        assert relative(on_grid(torch.from_numpy(pixels.values)[:, None]).numpy(), patches.values) < 1e-12
    per_unit = (gradient / torch.tensor(model.preprocess.std, dtype=torch.float64).view(3, 1, 1)).abs().sum(dim=1)
    assert relative(patch_attribution(model, pairs, "saliency", by="pixel").values, per_unit.numpy()) < 1e-10


def test_baselines(linear):
    model, pairs, _ = linear
    measured = measure(model, pairs, "logit")
    found = {name: against(model, measured, name).corrupted for name in BASELINES}
    views = np.zeros((1, 8, 12, 3), np.uint8)
    assert torch.allclose(found["black"], model.preprocess.normalise(views).double().expand(3, -1, -1, -1), atol=1e-6)
    pixels = found["grey"] * torch.tensor(model.preprocess.std).view(3, 1, 1)
    assert torch.allclose(pixels + torch.tensor(model.preprocess.mean).view(3, 1, 1), torch.tensor(0.5).double())
    assert torch.equal(found["mean"][0], found["mean"][2]) and torch.allclose(found["mean"][0], pairs.clean.mean(0))
    assert found["corrupted"] is pairs.corruption
    assert 0 < found["blur"].std() < pairs.clean.std()
    flat = against(
        model, measure(model, ImagePairs.of(model, pairs.clean * 0 + 1, pairs.clean, LABELS), "logit"), "blur"
    )
    assert torch.allclose(flat.corrupted, torch.ones(()).double())


@pytest.mark.parametrize("keep", [0.5, 0.2])
def test_rise_is_the_share_of_the_effect_that_masks_do_not_show(linear, keep):
    model, pairs, _ = linear
    effects = patch_attribution(model, pairs, "occlusion").values.reshape(3, 6)
    found = patch_attribution(model, pairs, "rise", keep=keep, masks=400).values.reshape(3, 6)
    kept = random_masks(measure(model, pairs, "logit"), 400, 6, keep, 0).double().numpy()
    given = np.einsum("rip,riq->ipq", kept, kept) / kept.sum(axis=0)[..., None]  # share of masks of p that keep q
    expected = np.einsum("ipq,iq->ip", given - kept.mean(axis=0)[:, None], effects)
    assert relative(found, expected) < 1e-10
    assert relative(found, (1 - keep) * effects) < 0.5
    assert np.abs(found - (1 - keep) * effects).max() < 5 * np.abs(effects).sum() / 400**0.5


@pytest.mark.parametrize(("rule", "falls"), [("midpoint", 4), ("left", 2), ("right", 2)])
def test_the_residual_falls_when_steps_double(toy_vit, images, rule, falls):
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 2, 1) * 0.2, images(model, 2, 2) * 0.2, [1, 3])
    found = [
        patch_attribution(model, pairs, steps=steps, rule=rule, baseline="corrupted").facts["residual_absolute"]
        for steps in (64, 128)
    ]
    assert found[1] > 0 and abs(found[0] / found[1] - falls) < 0.15 * falls


def test_the_residual_is_stored_and_warned_of(toy_vit, images):
    model = toy_vit()
    pairs = some_pairs(model, images)
    with pytest.warns(CircuitStoreWarning, match="differ from the change of its metric by .* use more steps"):
        found = patch_attribution(model, pairs, steps=1, rule="left")
    measured = against(model, measure(model, pairs, "logit"), "black")
    change = measured.values(model.logits(measured.clean)) - measured.values(model.logits(measured.corrupted))
    off = np.abs(found.values.sum(axis=(1, 2)) - change.numpy()).mean()
    assert found.facts["residual_absolute"] == pytest.approx(off)
    assert found.facts["residual"] == pytest.approx(off / change.abs().mean().item())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert patch_attribution(model, pairs, steps=400).facts["residual"] < 0.01


@pytest.mark.parametrize(("rule", "theirs"), [("midpoint", "middle"), ("left", "left"), ("right", "right")])
def test_integrated_gradients_equal_captums(toy_vit, images, rule, theirs):
    model = toy_vit()
    pairs = some_pairs(model, images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CircuitStoreWarning)
        found = patch_attribution(model, pairs, steps=20, rule=rule, baseline="corrupted", by="pixel")
    expected = captum.IntegratedGradients(model.module).attribute(
        pairs.clean, pairs.corrupted, target=pairs.labels, n_steps=20, method=f"riemann_{theirs}"
    )
    assert relative(found.values, expected.sum(dim=1).detach().numpy()) < 1e-6  # captum's weights are float32


@pytest.mark.parametrize("window", [1, 2])
def test_occlusion_equals_captums(toy_vit, images, window):
    model = toy_vit(img_size=(12, 16))
    pairs = some_pairs(model, images)
    found = patch_attribution(model, pairs, "occlusion", window=window, baseline="corrupted").values
    expected = captum.Occlusion(model.logits).attribute(
        pairs.clean, (3, 4 * window, 4 * window), (3, 4, 4), pairs.corrupted, target=pairs.labels
    )
    assert found.shape == (3, 3, 4)
    assert relative(found, expected[:, 0, ::4, ::4].numpy()) < 1e-6


def test_gradients_equal_captums(toy_vit, images):
    """With mean and deviation ½, grey is 0 in normalised pixels: captum's baseline."""
    model = toy_vit()
    pairs = some_pairs(model, images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum sets gradients on the input
        products = captum.InputXGradient(model.module).attribute(pairs.clean.clone(), target=pairs.labels)
        magnitudes = captum.Saliency(model.module).attribute(pairs.clean.clone(), target=pairs.labels)
    found = patch_attribution(model, pairs, "input-x-gradient", baseline="grey", by="pixel").values
    assert relative(found, products.sum(dim=1).detach().numpy()) < 1e-10
    found = patch_attribution(model, pairs, "saliency", by="pixel").values
    assert relative(found, magnitudes.sum(dim=1).detach().numpy() * 2) < 1e-10
    smooth = patch_attribution(model, pairs, "smoothgrad", noise=0, baseline="grey", by="pixel").values
    assert relative(smooth, products.sum(dim=1).detach().numpy()) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, "CLIP"])
def test_occlusion_of_one_patch_is_patching_of_the_first_stream(images, family):
    model = load_model(build(family), dtype="float64")
    pairs = some_pairs(model, images, 2)
    occluded = patch_attribution(model, pairs, "occlusion", baseline="corrupted")
    patched = on_patches(model, patch_stream(model, pairs, points=["resid_pre.0"]).select(point="resid_pre.0"))
    assert patched.axes == occluded.axes
    assert relative(patched.values, occluded.values, of=logits_of(model, pairs.clean)) < 1e-11


@pytest.mark.parametrize("method", ATTRIBUTIONS)
def test_neither_the_batch_nor_the_order_changes_a_map(toy_vit, images, method):
    model, steps = toy_vit(depth=1), {"integrated-gradients": {"steps": 200}, "rise": {"masks": 20}}
    pairs = some_pairs(model, images)
    found = patch_attribution(model, pairs, method, **steps.get(method, {}))
    reports = []
    one = Execution(batch_size=1, progress=lambda *done: reports.append(done))
    singly = patch_attribution(model, pairs, method, execution=one, **steps.get(method, {}))
    assert relative(singly.values, found.values) < 1e-12 and reports == [(1, 3), (2, 3), (3, 3)]
    back = ImagePairs.of(model, pairs.clean.flip(0), pairs.corrupted.flip(0), pairs.labels.flip(0))
    turned = patch_attribution(model, back, method, **steps.get(method, {}))
    assert relative(turned.values[::-1], found.values) < 1e-12


def test_random_choices_depend_on_the_content_and_the_seed(toy_vit, images):
    model = toy_vit(depth=1)
    pairs = some_pairs(model, images, hashes=["a", "b", "c"])
    twins = ImagePairs.of(model, images(model, 3, 5), pairs.corrupted, pairs.labels, hashes=["a", "b", "d"])
    found, other = (patch_attribution(model, each, "random-map").values for each in (pairs, twins))
    assert np.array_equal(found[:2], other[:2]) and not np.array_equal(found[2], other[2])
    assert not np.array_equal(found, patch_attribution(model, pairs, "random-map", seed=1).values)
    assert len(np.unique(found)) == found.size and 0 <= found.min() < found.max() < 1


def test_a_metric_with_targets_is_attributed(toy_vit, images):
    model = toy_vit()
    pairs = some_pairs(model, images, targets=[0, 0, 2])
    found = patch_attribution(model, pairs, "occlusion", metric="logit-diff")
    parts = [
        patch_attribution(model, some_pairs(model, images, labels=labels), "occlusion").values
        for labels in ([0, 0, 2], LABELS)
    ]
    assert relative(found.values, parts[0] - parts[1], of=parts) < 1e-12
    assert found.unit == "logit-diff" and found.metric == measure(model, pairs, "logit-diff").metric


def test_maps_over_pixels_that_are_too_large_raise(toy_vit, images, monkeypatch):
    model = toy_vit(depth=1)
    monkeypatch.setattr(patch_maps, "MAX_BYTES", 2 * 8 * 8 * 8)
    patch_attribution(model, some_pairs(model, images, 2), "saliency", by="pixel")
    with pytest.raises(InputError, match=r"pixels of 3 images take .* \(3 × 8 × 8 numbers of 8 bytes\)"):
        patch_attribution(model, some_pairs(model, images), "saliency", by="pixel")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gradcam"}, "method of attribution to patches.*gradcam"),
        ({"baseline": "white"}, "baseline: expected black or grey or mean or blur or corrupted, got 'white'"),
        ({"method": "saliency", "baseline": "black"}, "not contrasted with a baseline; leave it out"),
        ({"method": "occlusion", "by": "pixel"}, "fills whole patches"),
        ({"method": "occlusion", "window": 3}, "window: expected at most 2 patches.* 2 × 2"),
        ({"method": "rise", "keep": 1}, "keep: expected a number between 0 and 1"),
        ({"metric": "logit-diff"}, "needs a target class per image"),
        ({"steps": 0}, "steps: expected a whole number of at least 1"),
    ],
)
def test_bad_requests_raise(toy_vit, images, options, message):
    model = toy_vit(depth=1)
    with pytest.raises(InputError, match=message):
        patch_attribution(model, some_pairs(model, images), **options)


def test_a_baseline_without_images_raises(toy_vit, images):
    model = toy_vit(depth=1)
    ablated = ImagePairs.of(model, images(model, 2), zero_outputs(model), [0, 1])
    with pytest.raises(InputError, match="corrupted: expected images"):
        patch_attribution(model, ablated, "occlusion", baseline="corrupted")
    assert patch_attribution(model, ablated, "occlusion").values.shape == (2, 2, 2)
    with pytest.raises(InputError, match="mean of one image is the image itself"):
        patch_attribution(model, some_pairs(model, images, 1), "occlusion", baseline="mean")
    with pytest.raises(InputError, match=r"expected a tensor \[image, 3, 8, 8\]"):
        patch_attribution(model, some_pairs(toy_vit(img_size=12), images), "occlusion")
