"""Effects of heads as read-outs equal those of nodes and edges."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore import head_to_head, patch_edges, patch_head_pairs, patch_heads, patch_nodes
from circuitstore.errors import InputError
from circuitstore.evaluation import READOUTS, ImagePairs, measure


@pytest.fixture(scope="module")
def made(toy_vit, images):
    model = toy_vit()
    return model, ImagePairs.of(model, images(model, 3, 1), images(model, 3, 2), [0, 1, 3])


@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_heads_are_nodes_and_pairs_are_edges(made, direction):
    model, pairs = made
    heads = patch_heads(model, pairs, direction=direction)
    nodes = patch_nodes(model, pairs, nodes=["a1.h3", "a2.h0"], direction=direction)
    assert heads.names == ("image", "layer", "head") and heads.values.shape == (3, 3, 4)
    assert np.abs(heads.values[:, [1, 2], [3, 0]] - nodes.per_image).max() < 1e-13
    sent = patch_head_pairs(model, pairs, direction=direction)
    edges = patch_edges(model, pairs, ["a0.h1->a2.h3", "a1.h0->a2.h2"], form="head", direction=direction)
    found = [sent.select(sender=s, receiver=r).values for s, r in (("a0.h1", "a2.h3"), ("a1.h0", "a2.h2"))]
    assert np.abs(np.stack(found, axis=1) - edges.per_image).max() < 1e-13
    table = head_to_head(model, pairs, 0, 1, form="head", direction=direction).to_pandas()
    means = sent.mean().select(sender=["a0.h0", "a0.h3"], receiver="a1.h2").values
    rows = table[table["receiver"] == "a1.h2"].set_index("sender")["effect"][["a0.h0", "a0.h3"]]
    assert np.abs(means - np.array(rows)).max() < 1e-12


def test_there_is_no_edge_to_the_same_or_an_earlier_layer(made):
    model, pairs = made
    values = patch_head_pairs(model, pairs).values
    layer = np.arange(12) // 4
    assert not values[:, layer[:, None] >= layer].any() and values[:, layer[:, None] < layer].all()


def test_kinds_return_the_same(made):
    model, pairs = made
    for key, function in (("head-patching", patch_heads), ("head-pairs", patch_head_pairs)):
        kind, measured = READOUTS[key], measure(model, pairs, "logit-over-mean")
        read = kind.read(model, measured, kind.use(direction="denoising"))
        direct = function(model, pairs, metric="logit-over-mean", direction="denoising")
        assert np.array_equal(read.values, direct.values) and (read.use, read.metric) == (direct.use, direct.metric)


def test_a_model_of_one_layer_has_no_pairs(toy_vit, images):
    model = toy_vit(depth=1)
    pairs = ImagePairs.of(model, images(model, 1, 1), images(model, 1, 2), [0])
    with pytest.raises(InputError, match="two layers"):
        patch_head_pairs(model, pairs)
    assert patch_heads(model, pairs).values.shape == (1, 1, 4)
