"""The logit lens of every supported model, compared with the model and with plain torch."""

import numpy as np
import pytest
import torch
from circuitstore.circuits import Axis
from circuitstore.errors import InputError
from circuitstore.evaluation import READOUTS, Execution, logit_lens
from circuitstore.models import load_model
from torch import nn

from ...readout_models import NAMES, load
from ...reference import relative

pytestmark = pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")


def streams(model, images):
    """Return the stream at every point, block by block in plain torch."""
    stream = model.embed(images)
    found = [stream]
    with torch.no_grad():
        for block in model.module.blocks:
            stream = stream + block.ls1(block.attn(block.norm1(stream)))
            found.append(stream)
            stream = stream + block.ls2(block.mlp(block.norm2(stream)))
            found.append(stream)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_lens_is_the_read_out_of_every_point_and_the_model_at_the_last(name, images):
    model = load(name)
    x = images(model, 3)
    lens = logit_lens(model, x)
    assert relative(lens.values[:, -1], model.logits(x).numpy()) < 1e-14
    with torch.no_grad():
        expected = torch.stack([model.module.forward_head(model.module.norm(s)) for s in streams(model, x)], dim=1)
    assert relative(lens.values, expected.numpy()) < 1e-12
    last = model.n_layers - 1
    assert lens.axis("point").labels[:2] == ("resid_pre.0", "resid_mid.0")
    assert lens.axis("point").labels[-2:] == (f"resid_mid.{last}", f"resid_post.{last}")


@pytest.mark.parametrize("name", NAMES)
def test_without_norm_the_head_reads_the_stream_itself(name, images):
    model = load(name)
    x = images(model, 2)
    module, points = model.module, streams(model, x)
    lens = logit_lens(model, x, norm=False)
    norm, module.fc_norm = module.fc_norm, nn.Identity()
    with torch.no_grad():
        expected = torch.stack([module.forward_head(s) for s in points], dim=1)
    module.fc_norm = norm
    assert relative(lens.values, expected.numpy()) < 1e-12
    differs = relative(lens.values[:, -1], model.logits(x).numpy()) > 1e-3
    assert differs == (name != "no norms at all")


@pytest.mark.parametrize("name", NAMES)
def test_the_lens_of_a_token_is_that_of_a_stream_with_this_token_everywhere(name, images):
    model = load(name)
    x = images(model, 2)
    lens = logit_lens(model, x, tokens="each")
    assert lens.names == ("image", "point", "token", "class") and len(lens.axis("token")) == model.n_tokens
    for point, stream in enumerate(streams(model, x)):
        for token in (0, model.n_tokens - 1):
            with torch.no_grad():
                expected = model.readout(stream[:, token : token + 1].expand_as(stream).contiguous())
            assert relative(lens.values[:, point, token], expected.numpy()) < 1e-12


@pytest.mark.parametrize("name", ["plain", "register tokens", "RMSNorm", "CLIP", "rotary, learnt and per head"])
def test_the_row_of_a_pooled_class_token_is_the_lens(name, images):
    model = load(name)
    x = images(model, 2)
    each, pooled = logit_lens(model, x, tokens="each"), logit_lens(model, x)
    assert relative(each.select(token=0).values, pooled.values) < 1e-14


@pytest.mark.parametrize("prefix", [{}, {"reg_tokens": 2}, {"class_token": False}])
def test_with_norm_mean_and_linear_head_the_lens_is_the_mean_over_patches(toy_vit, images, prefix):
    model = toy_vit(depth=2, global_pool="avg", fc_norm=False, final_norm=True, **prefix)
    x = images(model, 2)
    patches = logit_lens(model, x, tokens="each").values[:, :, model.module.num_prefix_tokens :]
    assert relative(patches.mean(axis=2), logit_lens(model, x).values) < 1e-14


def test_batches_and_progress_do_not_change_the_lens(toy_vit, images):
    model = toy_vit(img_size=12)  # 9 patches
    x, reports = images(model, 5), []
    execution = Execution(batch_size=2, progress=lambda *done: reports.append(done))
    lens = logit_lens(model, x, tokens="each", execution=execution)
    assert reports == [(2, 5), (4, 5), (5, 5)]
    assert relative(lens.values, logit_lens(model, x, tokens="each").values) < 1e-14
    one = logit_lens(model, x[3:4])
    assert one.axis("image") == Axis("image", (0,)) and one.mean().std is None
    assert relative(one.values[0], lens.values[3, :, 0]) < 1e-14


def test_classes_have_their_names_and_equal_names_their_index(toy_module, images):
    module = toy_module()
    model = load_model(module, dtype="float64", labels=["crane", "hen", "crane", "cock", "drake"])
    lens = logit_lens(model, images(model, 1))
    assert lens.axis("class").labels == ("crane (0)", "hen", "crane (2)", "cock", "drake")
    unnamed = load_model(module, dtype="float64")
    assert logit_lens(unnamed, images(unnamed, 1)).axis("class").labels == (0, 1, 2, 3, 4)


def test_bad_input_names_what_was_expected(toy_vit, images, unchecked):
    model = toy_vit()
    x = images(model, 2)
    with pytest.raises(InputError, match=r"read-out 'logit-lens': tokens: expected .each., or left out .+ got 'all'"):
        logit_lens(model, x, tokens="all")
    with pytest.raises(InputError, match=r"images: expected a tensor \[image, 3, 8, 8\] .+ got \(2, 3, 8, 7\)"):
        logit_lens(model, x[..., :7])
    with pytest.raises(InputError, match="images: expected at least one image"):
        logit_lens(model, x[:0])
    with pytest.raises(InputError, match="unknown label of axis 'point' 'resid_post9'; did you mean"):
        logit_lens(model, x).select(point="resid_post9")


def test_it_is_a_kind_of_the_registry(digits_model, digits):
    import circuitstore as cs

    pairs = cs.image_pairs(digits, digits_model, "three", n=3)
    measured = cs.evaluation.measure(digits_model, pairs, "logit")
    use = READOUTS.resolve("logit-lens", {"norm": False})
    found = READOUTS["logit-lens"].read(digits_model, measured, use)
    assert found.use == use and found.use.text == "logit-lens(norm=False)"
    assert np.array_equal(found.values, logit_lens(digits_model, pairs.clean, norm=False).values)
