"""Patching of the stream compared with a plain forward pass in which the stream is replaced; key positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore import key_positions, patch_nodes, patch_stream, zero_outputs
from circuitstore.circuits import Axis, Readout, ReadoutUse
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.evaluation import READOUTS, Execution, ImagePairs, measure, on_patches
from circuitstore.models import load_model
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ...families import FAMILIES, build
from ...reference import LABELS, VARIANTS, logit, logits_of, relative

VALUES = logit(LABELS)


def pairs_of(model, images, **keywords):
    return ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), LABELS, **keywords)


def streams(model, images):
    """Return the stream at every point of a plain forward pass."""
    stream = model.embed(images)
    found = [stream]
    for block in model.module.blocks:
        stream = stream + block.ls1(block.attn(block.norm1(stream)))
        found.append(stream)
        stream = stream + block.ls2(block.mlp(block.norm2(stream)))
        found.append(stream)
    return found


@torch.no_grad()
def continued(model, stream, point):
    """Return the metric of the run that continues from a stream at a point."""
    for part in range(point, 2 * model.n_layers):
        block = model.module.blocks[part // 2]
        if part % 2:
            stream = stream + block.ls2(block.mlp(block.norm2(stream)))
        else:
            stream = stream + block.ls1(block.attn(block.norm1(stream)))
    return VALUES(model.module.forward_head(model.module.norm(stream)))


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_every_point_and_token_equals_plain_torch(toy_vit, images, changes, direction):
    model = toy_vit(depth=2, **changes)
    pairs = pairs_of(model, images)
    x, y = pairs.clean, pairs.corrupted
    base, other = (x, y) if direction == "noising" else (y, x)
    sign = 1 if direction == "noising" else -1
    with torch.no_grad():
        own, received = streams(model, base), streams(model, other)
    expected = torch.empty(2, 5, model.n_tokens, dtype=torch.float64)
    for point in range(5):
        for token in range(model.n_tokens):
            stream = own[point].clone()
            stream[:, token] = received[point][:, token]
            expected[:, point, token] = sign * (VALUES(model.logits(base)) - continued(model, stream, point))
    found = patch_stream(model, pairs, direction=direction)
    assert found.names == ("image", "point", "token") and found.axis("token").labels == tuple(range(model.n_tokens))
    assert relative(found.values, expected.numpy(), of=logits_of(model, x, y)) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, "CLIP"])
def test_all_tokens_have_the_whole_effect_at_every_point(images, family):
    model = load_model(build(family), dtype="float64")
    pairs = pairs_of(model, images)
    whole = (VALUES(model.logits(pairs.clean)) - VALUES(model.logits(pairs.corrupted))).numpy()
    for direction in ("noising", "denoising"):
        found = patch_stream(model, pairs, tokens=None, direction=direction)
        assert found.axis("point").labels[0] == "resid_pre.0" and len(found.axis("point")) == 2 * model.n_layers + 1
        assert relative(found.values, whole[:, None], of=logits_of(model, pairs.clean, pairs.corrupted)) < 1e-11


def test_at_the_last_point_only_the_class_token_has_an_effect(toy_vit, images):
    model = toy_vit()
    pairs = pairs_of(model, images)
    last = patch_stream(model, pairs, points=["resid_post.2"]).values[:, 0]
    whole = patch_stream(model, pairs, points=["resid_post.2"], tokens=None).values
    assert relative(last[:, :1], whole, of=logits_of(model, pairs.clean, pairs.corrupted)) < 1e-12
    assert not last[:, 1:].any()
    average = toy_vit(global_pool="avg")
    assert (patch_stream(average, pairs_of(average, images), points=["resid_post.2"]).values[:, 0, 1:] != 0).all()


def test_the_first_point_is_the_node_input(toy_vit, images):
    model = toy_vit(reg_tokens=1)
    pairs = pairs_of(model, images)
    found = patch_stream(model, pairs, points=["resid_pre.0"], tokens=[5, 0, 2])
    nodes = patch_nodes(model, pairs, nodes=["input"], tokens=[5, 0, 2])
    assert found.axis("token").labels == (5, 0, 2)
    assert np.abs(found.values[:, 0] - nodes.per_image[:, 0]).max() < 1e-13


def test_what_is_equal_in_both_images_has_no_effect_at_all(toy_vit, images):
    model = toy_vit()
    x = images(model, 2, 1)
    y = x.clone()
    y[0, :, :4, 4:] += 1  # the second patch of the first image
    with pytest.warns(CircuitStoreWarning, match="1 of 2 images equal"):
        pairs = ImagePairs.of(model, x, y, LABELS)
    found = patch_stream(model, pairs, points=["resid_pre.0", "resid_mid.0", "resid_mid.2"]).values
    assert not found[1].any() and not np.delete(found[0, 0], 2).any() and found[0, 0, 2] != 0
    assert found[0, 1].all()


def test_progress_batches_and_kinds(toy_vit, images):
    model = toy_vit(depth=2)
    pairs, reports = pairs_of(model, images), []
    execution = Execution(batch_size=1, progress=lambda *done: reports.append(done))
    found = patch_stream(model, pairs, tokens=[1, 4], execution=execution)
    assert reports[-1] == (10, 10) and reports == sorted(reports)
    assert relative(found.values, patch_stream(model, pairs).values[:, :, [1, 4]]) < 1e-11
    kind, measured = READOUTS["stream-patching"], measure(model, pairs, "logit")
    for tokens, expected in (("each", "each"), ("all", None)):
        read = kind.read(model, measured, kind.use(tokens=tokens, direction="denoising"))
        direct = patch_stream(model, pairs, tokens=expected, direction="denoising")
        assert np.array_equal(read.values, direct.values) and read.use == direct.use


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": ["resid_pre.1"]}, "label of axis 'point'.*resid_pre.1"),
        ({"tokens": [0, 5]}, "tokens 0 to 4, got 5"),
        ({"metric": "logit-diff"}, "needs a target class"),
        ({"direction": "sideways"}, "direction.*sideways"),
    ],
)
def test_bad_requests_raise(toy_vit, images, options, message, unchecked):
    model = toy_vit(depth=2)
    with pytest.raises(InputError, match=message):
        patch_stream(model, pairs_of(model, images), **options)


def test_constant_senders_have_no_run_to_restore_in(toy_vit, images):
    model = toy_vit(depth=2)
    pairs = ImagePairs.of(model, images(model, 2), zero_outputs(model), LABELS)
    assert patch_stream(model, pairs).values.shape == (2, 5, 5)
    with pytest.raises(InputError, match="denoising restores clean values"):
        patch_stream(model, pairs, direction="denoising")


def effects_of(values):
    values = np.asarray(values, np.float64)
    axes = (Axis("point", tuple(range(values.shape[0]))), Axis("token", tuple(range(values.shape[1]))))
    return Readout(ReadoutUse.of("stream-patching"), axes, values)


def test_key_positions_by_hand():
    found = key_positions(effects_of([[5, 3, 1, 1, -9], [0, 0, 0, -1, -2], [1, 1, 1, 1, 0]]), share=0.8)
    assert found.values.tolist() == [[1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 0]]
    columns = key_positions(effects_of([[9, 0], [1, 4], [0, 1]]), axis="point")
    assert columns.values.tolist() == [[1, 0], [0, 1], [0, 1]]
    for share in (0, 1.1):
        with pytest.raises(InputError, match="share: expected a number over 0"):
            key_positions(effects_of([[1]]), share=share)
    with pytest.raises(InputError, match="axis of stream-patching"):
        key_positions(effects_of([[1]]), axis="head")


@given(
    arrays.arrays(np.float64, (3, 6), elements=st.floats(-10, 10)),
    st.floats(0.05, 1),
)
def test_key_positions_are_enough_and_the_fewest(values, share):
    found = key_positions(effects_of(values), share=share).values.astype(bool)
    positive = values.clip(min=0)
    for chosen, effects in zip(found, positive, strict=True):
        wanted = share * effects.sum() * (1 - 1e-9)
        assert effects[chosen].sum() >= wanted and (effects[chosen] > 0).all()
        fewer = np.sort(effects)[::-1][: max(0, chosen.sum() - 1)].sum()
        assert fewer < wanted or not chosen.any()


def test_tokens_become_patches(toy_vit, images):
    model = toy_vit(depth=1, img_size=(8, 12), reg_tokens=2)
    effects = patch_stream(model, pairs_of(model, images))
    found = on_patches(model, effects)
    assert found.names == ("image", "point", "patch_row", "patch_column") and found.values.shape == (2, 3, 2, 3)
    assert np.array_equal(found.values.reshape(2, 3, 6), effects.values[:, :, 3:])
    averaged = on_patches(model, effects.mean())
    assert np.array_equal(averaged.std.reshape(3, 6), effects.mean().std[:, 3:])
    for wrong in (effects.select(token=[0, 1]), found):
        with pytest.raises(InputError, match=r"expected all 9 tokens|axis of stream-patching"):
            on_patches(model, wrong)
