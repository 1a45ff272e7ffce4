"""The affine lens: least squares with a penalty, and what it reads; the divergence of a lens."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from circuitstore.errors import InputError
from circuitstore.evaluation import (
    READOUTS,
    Execution,
    ImagePairs,
    fit_affine_lens,
    lens_divergence,
    logit_lens,
    measure,
)
from circuitstore.evaluation.readouts.logit_lens import points_of
from circuitstore.models import capture, load_model

from ...readout_models import load
from ...reference import relative

pytestmark = pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")


def tokens_of(model, images, count):
    """Return the stream at every point, at the tokens that the classifier reads: `[point, row, d_model]`."""
    return torch.stack(points_of(capture(model, images)))[:, :, :count].flatten(1, 2).numpy()


@pytest.mark.parametrize(
    ("name", "count"),
    [("plain", 1), ("average pooling, fc_norm", None), ("map pooling", None), ("DeiT, distilled", 2), ("CLIP", 1)],
)
@pytest.mark.parametrize("ridge", [0.001, 1.0])
def test_each_translation_solves_its_least_squares_problem(name, count, ridge, images):
    model = load(name)
    x = images(model, 9)
    lens = fit_affine_lens(model, x, ridge=ridge, execution=Execution(batch_size=4))
    streams = tokens_of(model, x, count)
    last = streams[-1]
    penalty = np.sqrt(ridge * last.var(axis=0).mean() * len(last)) * np.eye(model.d_model)
    for point, stream in enumerate(streams):
        centred, added = stream - stream.mean(axis=0), last - stream
        rows = np.concatenate([centred, penalty]), np.concatenate([added - added.mean(axis=0), 0 * penalty])
        expected = np.linalg.lstsq(*rows, rcond=None)[0]
        assert np.abs(lens.matrices[point].numpy() - expected).max() < 1e-8
        bias = added.mean(axis=0) - stream.mean(axis=0) @ expected
        assert np.abs(lens.biases[point].numpy() - bias).max() < 1e-8
        translated = lens.translated(torch.from_numpy(streams[:, :, None]))[point, :, 0].numpy()
        assert ((translated - last) ** 2).sum() <= ((stream - last) ** 2).sum() * (1 + 1e-12)
    assert not lens.matrices[-1].any() and not lens.biases[-1].any()


@pytest.mark.parametrize("name", ["plain", "SigLIP", "CLIP", "DINOv2 of transformers"])
def test_at_the_last_point_it_is_the_model(name, images):
    model = load(name)
    x, y = images(model, 4, 1), images(model, 3, 2)
    found = fit_affine_lens(model, x).read(model, y)
    assert relative(found.values[:, -1], model.logits(y).numpy()) < 1e-14
    divergence = lens_divergence(found)
    assert divergence.names == ("image", "point") and divergence.unit == "nats"
    assert np.abs(divergence.values[:, -1]).max() < 1e-14 and divergence.values.min() > -1e-14


def test_with_a_large_ridge_only_the_mean_is_translated(toy_vit, images):
    model = toy_vit()
    x = images(model, 5)
    lens = fit_affine_lens(model, x, ridge=1e12)
    assert lens.matrices.abs().max() < 1e-9
    streams = torch.from_numpy(tokens_of(model, x, 1))
    assert torch.allclose(lens.biases, (streams[-1] - streams).mean(dim=1), rtol=0, atol=1e-9)


def test_constant_additions_are_translated_exactly(toy_module, images):
    module = toy_module()
    for block in module.blocks:  # every block adds the same to every image
        block.attn.proj.weight.data.zero_()
        block.mlp.fc2.weight.data.zero_()
    model = load_model(module, dtype="float64")
    x, y = images(model, 4, 1), images(model, 3, 2)
    assert lens_divergence(logit_lens(model, y)).values[:, 0].min() > 1e-3
    found = fit_affine_lens(model, x).read(model, y)
    assert np.abs(lens_divergence(found).values).max() < 1e-9


def test_the_divergence_is_that_of_torch(toy_vit, images):
    model = toy_vit()
    lens = logit_lens(model, images(model, 3), tokens="each")
    with pytest.raises(InputError, match="expected a read-out with the last axes point and class"):
        lens_divergence(lens)
    lens = logit_lens(model, images(model, 3))
    logs = torch.from_numpy(lens.values).log_softmax(dim=-1)
    expected = F.kl_div(logs, logs[:, -1:].expand_as(logs), log_target=True, reduction="none").sum(dim=-1)
    assert np.allclose(lens_divergence(lens).values, expected.numpy(), rtol=0, atol=1e-12)


def test_the_kind_reads_each_half_with_the_lens_of_the_other(toy_vit, images):
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 5, 1), images(model, 5, 2), [0, 1, 2, 3, 4])
    use = READOUTS.resolve("affine-lens", {"ridge": 0.1})
    found = READOUTS["affine-lens"].read(model, measure(model, pairs, "logit"), use)
    assert found.use == use and len(found.axis("image")) == 5
    even, odd = pairs.clean[::2], pairs.clean[1::2]
    assert np.array_equal(found.values[1::2], fit_affine_lens(model, even, ridge=0.1).read(model, odd).values)
    assert np.array_equal(found.values[::2], fit_affine_lens(model, odd, ridge=0.1).read(model, even).values)
    with pytest.raises(InputError, match="at least two images, half of them for the fit, got 1"):
        READOUTS["affine-lens"].read(model, measure(model, pairs[:1], "logit"), use)


def test_bad_input_names_what_was_expected(toy_vit, images):
    model, other = toy_vit(0), toy_vit(1)
    lens = fit_affine_lens(model, images(model, 3))
    with pytest.raises(InputError, match=r"the lens was fitted for .+; fit one for this model"):
        lens.read(other, images(model, 3))
    with pytest.raises(InputError, match="ridge: expected a number above 0, got 0"):
        fit_affine_lens(model, images(model, 3), ridge=0.0)
    with pytest.raises(InputError, match="images: expected a tensor"):
        fit_affine_lens(model, images(model, 3)[:, :, 1:])
