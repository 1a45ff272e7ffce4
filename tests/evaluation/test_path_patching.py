"""Paths compared with a brute-force forward that recomputes one receiver at a time, and with exact patching."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from circuitstore.discovery import score_edges
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs, head_to_head, patch_path
from circuitstore.models import load_model
from torch import nn

from ..reference import LABELS, logit, logits_of, relative

PATHS = {
    "split": ("a0.h1", "a2.h0<q>", "m2"),
    "head": ("input", "a0.h2", "m0", "a1.h3", "logits"),
    "attention": ("m0", "a1.in", "a1.h2", "m1", "a2.in"),
    "block": ("input", "m0", "a1", "logits"),
}


def by_definition(brute, graph, edges, base_stream, other_stream):
    """Recompute each receiver on the path from the base run with one contribution replaced, then the rest."""
    base, other = (brute.run(stream, lambda _, value: value)[1] for stream in (base_stream, other_stream))
    moved = other[graph.edge_sender[edges[0]]]
    for edge, following in pairwise(edges):
        _, sent = brute.run(
            base_stream,
            lambda e, _: moved if e == edge else base[graph.edge_sender[e]],  # noqa: B023
        )
        moved = sent[graph.edge_sender[following]]
    return brute.run(base_stream, lambda e, value: moved if e == edges[-1] else value)[0]


def edges_of(graph, path):
    named = pairwise(path)
    names = [f"{a.partition('<')[0]}->{b}" for a, b in named if (a, b) not in graph.structural_links]
    return [graph.index_of(name) for name in names]


@pytest.mark.parametrize("direction", ["noising", "denoising"])
@pytest.mark.parametrize(("form", "path"), PATHS.items())
def test_a_path_is_its_receivers_recomputed_one_after_the_other(toy_vit, images, brute_force, form, path, direction):
    model = toy_vit(2, qk_norm=True, init_values=0.3)
    graph, x, y = model.graph(form), images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    found = patch_path(model, pairs, path, form=form, direction=direction, execution=Execution(batch_size=1))
    streams = (model.embed(x), model.embed(y))[:: 1 if direction == "noising" else -1]
    edges = edges_of(graph, path)
    expected = by_definition(brute_force(model.module, graph), graph, edges, *streams)
    subtracted = logits_of(model, x, y)
    assert relative(found.patched, logit(LABELS)(expected).numpy(), of=subtracted) < 1e-12
    assert found.edges == tuple(graph.edge_names[e] for e in edges)
    same = patch_path(model, pairs, found.edges, form=form, direction=direction)
    assert relative(same.per_image, found.per_image, of=subtracted) < 1e-12
    assert abs(found.mean) > 1e-6


@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_a_path_of_one_edge_is_exact_patching(toy_vit, images, direction):
    model = toy_vit()
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    exact = score_edges(model, pairs, "exact", direction=direction)
    for edge in np.random.default_rng(0).choice(exact.graph.n_edges, 6, replace=False):
        found = patch_path(model, pairs, [exact.graph.edge_names[edge]], direction=direction)
        assert relative(found.per_image, exact.per_image[:, edge], of=logits_of(model, x, y)) < 1e-12


def test_paths_of_a_linear_model_sum_to_the_difference(toy_module, images):
    """With equal attention, no norms and no activations, the paths from `input` to `logits` account for everything."""
    module = toy_module(norm_layer=nn.Identity, act_layer=nn.Identity, depth=2)
    with torch.no_grad():
        for block in module.blocks:
            block.attn.qkv.weight[:32].zero_()
            block.attn.qkv.bias[:32].zero_()
    model = load_model(module, dtype="float64")
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    nodes = ["a0", "m0", "a1", "m1"]
    chosen = [[n for i, n in enumerate(nodes) if mask >> i & 1] for mask in range(16)]
    effects = [patch_path(model, pairs, ["input", *middle, "logits"], form="block") for middle in chosen]
    total = logit(LABELS)(model.logits(x) - model.logits(y))
    subtracted = [effect.base for effect in effects]
    assert relative(sum(effect.per_image for effect in effects), total.numpy(), of=subtracted) < 1e-11


@pytest.mark.slow
def test_all_pairs_of_two_layers(toy_vit, images):
    model = toy_vit(1)
    x, y = images(model, 3, 1), images(model, 3, 2)
    pairs = ImagePairs.of(model, x, y, [0, 1, 2])
    table = head_to_head(model, pairs, 0, 2, execution=Execution(batch_size=2))
    exact = score_edges(model, pairs, "exact")
    assert len(table) == 4 * 4 * 3
    assert table.facts["images"] == 3
    rounding = 1e-12 * np.abs(logits_of(model, x, y)).max()
    for row in table:
        index = exact.graph.index_of(f"{row['sender']}->{row['receiver']}<{row['port']}>")
        assert row["effect"] == pytest.approx(exact.mean[index], rel=0, abs=rounding)
        assert row["effect_std"] == pytest.approx(exact.per_image[:, index].std(ddof=1), rel=0, abs=rounding)
    last = list(table)[-1]
    path = [last["sender"], f"{last['receiver']}<{last['port']}>", "logits"]
    assert last["direct"] == pytest.approx(patch_path(model, pairs, path).mean, rel=0, abs=rounding)
    assert len(head_to_head(model, pairs, 0, 1, form="head")) == 16


def test_invalid_paths_raise(toy_vit, images):
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 1, 1), images(model, 1, 2), [0])
    for path, message in (
        (["a0.h1"], "has no edge"),
        ("a0.h1", "expected components or edges in order"),
        (["a1.h1", "a0.h1<q>"], "unknown edge of the split form"),
        (["a0.h1", "a2.h1", "logits"], "a0.h1->a2.h1<"),
        (["a0.h1->m0", "m1->logits"], "the next edge must leave m0"),
        (["m1->logits", "m1->logits"], "the path ends at logits"),
    ):
        with pytest.raises(InputError, match=message):
            patch_path(model, pairs, path)
    with pytest.raises(InputError, match="expected 0 ≤ sender_layer < receiver_layer ≤ 2, got 2 and 1"):
        head_to_head(model, pairs, 2, 1)
