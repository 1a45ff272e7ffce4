"""Exact node patching compared with a plain torch forward pass in which a node's output is replaced."""

import numpy as np
import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs, patch_nodes

from ..reference import LABELS, VARIANTS, logit, logits_of, relative

VALUES = logit(LABELS)


def by_hand(brute, base, other, sender, token=slice(None)):
    """Return the metric with one node sending, at some tokens, its output in the run on `other`."""
    _, sent = brute.run(other, lambda _, value: value)

    def carried(edge, value):
        if brute.graph.edge_sender[edge] != sender:
            return value
        value = value.clone()
        value[:, token] = sent[sender][:, token]
        return value

    return VALUES(brute.run(base, carried)[0])


def expected(brute, clean, corrupted, direction, token=slice(None)):
    """Return effects [image, node] of all nodes."""
    base, other = (clean, corrupted) if direction == "noising" else (corrupted, clean)
    sign = 1 if direction == "noising" else -1
    start = VALUES(brute.run(base, lambda _, value: value)[0])
    senders = range(brute.graph.n_senders)
    return torch.stack([sign * (start - by_hand(brute, base, other, u, token)) for u in senders], dim=1).numpy()


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_variant_equals_plain_torch(toy_vit, images, brute_force, changes):
    model = toy_vit(depth=2, **changes)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    brute, streams = brute_force(model.module, model.graph("head")), (model.embed(x), model.embed(y))
    for direction in ("noising", "denoising"):
        found = patch_nodes(model, pairs, direction=direction)
        assert found.names == model.graph("head").senders
        assert relative(found.per_image, expected(brute, *streams, direction), of=logits_of(model, x, y)) < 1e-12


@pytest.mark.parametrize("form", ["head", "block"])
@pytest.mark.parametrize("batch_size", [1, 64])
def test_token_by_token_and_layer_by_layer(toy_vit, images, brute_force, form, batch_size):
    model = toy_vit(1, depth=2, qk_norm=True)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    brute, streams = brute_force(model.module, model.graph(form)), (model.embed(x), model.embed(y))
    reports = []
    execution = Execution(batch_size=batch_size, progress=lambda *done: reports.append(done))
    found = patch_nodes(model, pairs, form=form, tokens="each", execution=execution)
    assert found.tokens == tuple(range(5))
    subtracted = logits_of(model, x, y)
    for token in found.tokens:
        by_token = expected(brute, *streams, "noising", token)
        assert relative(found.per_image[:, :, token], by_token, of=subtracted) < 1e-12
    assert reports[-1] == (5 * len(found.names), 5 * len(found.names))
    some = patch_nodes(model, pairs, form=form, nodes=["m1", "input"], tokens=[3, 0])
    where = [found.names.index("m1"), found.names.index("input")]
    assert relative(some.per_image, found.per_image[:, where][:, :, [3, 0]], of=subtracted) < 1e-12
    frame = some.to_pandas()
    assert frame[["node", "token"]].values.tolist() == [["m1", 3], ["m1", 0], ["input", 3], ["input", 0]]
    assert np.allclose(frame["effect"], some.per_image.mean(axis=0).ravel())
    assert np.allclose(frame["std"], some.per_image.std(axis=0, ddof=1).ravel())


def test_input_carries_everything_and_the_last_block_only_matters_at_the_pooled_token(toy_vit, images):
    model = toy_vit()
    x, y = images(model, 3, 1), images(model, 3, 2)
    pairs = ImagePairs.of(model, x, y, [0, 1, 2])
    whole = patch_nodes(model, pairs, nodes=["input"]).per_image[:, 0]
    difference = (model.logits(x) - model.logits(y))[torch.arange(3), [0, 1, 2]]
    subtracted = logits_of(model, x, y)
    assert relative(whole, difference.numpy(), of=subtracted) < 1e-12
    last = patch_nodes(model, pairs, nodes=["a2.h0", "m2"], tokens="each").per_image
    assert np.abs(last[:, :, 0]).min() > 1e-6
    assert relative(last[:, :, 1:], 0, of=subtracted) < 1e-12


def test_unknown_nodes_and_tokens_raise(toy_vit, images):
    model = toy_vit(depth=2)
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), LABELS)
    with pytest.raises(InputError, match=r"sending node of the block form.*a0"):
        patch_nodes(model, pairs, form="block", nodes=["a0.h1"])
    with pytest.raises(InputError, match="tokens 0 to 4, got 5"):
        patch_nodes(model, pairs, tokens=[0, 5])
