"""Patterns, rollout, flow, relevance and attention times gradient, compared with unfused attention and definitions."""

import networkx as nx
import numpy as np
import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.evaluation import (
    READOUTS,
    Execution,
    ImagePairs,
    attention_flow,
    attention_patterns,
    attention_relevance,
    attention_rollout,
    attention_times_gradient,
    measure,
)
from circuitstore.evaluation.readouts.attention_flow import flows
from circuitstore.models import load_model
from hypothesis import given, settings
from hypothesis import strategies as st

from ...readout_models import LINEAR, NAMES, NOT_LINEAR, load
from ...reference import LABELS, logit, relative

pytestmark = pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")


def unfused(model, images, change=None):
    """Return the attention of every layer, with its graph, and the logits; `change` edits a layer's attention."""
    kept, hooks = [], []
    for layer, block in enumerate(model.module.blocks):
        block.attn.fused_attn = False

        def keep(_, args, layer=layer):
            kept.append(args[0] if change is None else change(layer, args[0]))
            return (kept[-1],)

        hooks.append(block.attn.attn_drop.register_forward_pre_hook(keep))
    stream = model.embed(images).requires_grad_()
    with torch.enable_grad():
        logits = model.readout(model.through_blocks(stream))
    for hook, block in zip(hooks, model.module.blocks, strict=True):
        hook.remove()
        block.attn.fused_attn = True
    return kept, logits


def pairs_of(model, images, count=2):
    return ImagePairs.of(model, images(model, count, 1), images(model, count, 2), (LABELS * count)[:count])


@pytest.mark.parametrize("name", NAMES)
def test_patterns_are_those_of_unfused_attention(name, images):
    model = load(name)
    x = images(model, 2)
    found = attention_patterns(model, x, queries="each")
    expected = torch.stack(unfused(model, x)[0], dim=1).detach().numpy()
    assert relative(found.values, expected) < 1e-12
    assert np.allclose(found.values.sum(axis=-1), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LINEAR)
def test_without_queries_the_row_is_that_of_the_pooled_tokens(name, images):
    model = load(name)
    x = images(model, 2)
    prefix, rows = model.module.num_prefix_tokens, attention_patterns(model, x, queries="each").values
    found = attention_patterns(model, x).values
    if model.module.global_pool == "avg":
        assert relative(found, rows[:, :, :, prefix:].mean(axis=3)) < 1e-12
    elif name not in ("distillation token", "DeiT, distilled", "DINOv2 of transformers"):
        assert relative(found, rows[:, :, :, 0]) < 1e-12
    assert np.allclose(found.sum(axis=-1), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "second"),
    [("distillation token", lambda rows: rows[1]), ("DINOv2 of transformers", lambda rows: rows[1:].mean(axis=0))],
)
def test_two_vectors_that_are_pooled_count_half_each(name, second, images):
    model = load(name)
    rows = attention_rollout(model, images(model, 1), queries="each").values[0]
    expected = (rows[0] + second(rows)) / 2
    assert relative(attention_rollout(model, images(model, 1)).values[0], expected) < 1e-12


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_map_pooling_needs_all_rows(name, images):
    model = load(name)
    x = images(model, 1)
    for function in (attention_patterns, attention_rollout):
        with pytest.raises(InputError, match=r"pools its tokens by 'map'.+queries='each' returns the rows of all"):
            function(model, x)
        assert function(model, x, queries="each").names[-2:] == ("query", "token")
    with pytest.raises(InputError, match="a flow needs a class token or average pooling"):
        attention_flow(model, x)
    with pytest.raises(InputError, match="queries='each'"):
        attention_relevance(model, ImagePairs.of(model, x, -x, [1]))


def rolled_out(attention, heads, residual, discard):
    """Return rollout [image, query, token], image by image and row by row."""
    found = []
    for layers in attention:
        total = np.eye(layers.shape[-1])
        for heads_of in layers:
            joined = getattr(heads_of, heads)(axis=0).copy()
            flat = joined.reshape(-1)
            flat[np.argsort(flat)[: int(discard * flat.size)]] = 0
            step = (1 - residual) * joined + residual * np.eye(len(joined))
            total = np.stack([row / row.sum() for row in step]) @ total
        found.append(total)
    return np.stack(found)


@pytest.mark.parametrize("heads", ["mean", "max", "min"])
@pytest.mark.parametrize(("residual", "discard"), [(0.5, 0.0), (0.5, 0.9), (0.2, 0.5), (0.0, 0.0), (1.0, 0.0)])
def test_rollout_is_the_product_of_the_layers(toy_vit, images, heads, residual, discard):
    model = toy_vit()
    x = images(model, 3)
    attention = attention_patterns(model, x, queries="each").values
    found = attention_rollout(model, x, heads=heads, residual=residual, discard=discard, queries="each")
    assert relative(found.values, rolled_out(attention, heads, residual, discard)) < 1e-12
    assert np.allclose(found.values.sum(axis=-1), 1, rtol=0, atol=1e-12)
    row = attention_rollout(model, x, heads=heads, residual=residual, discard=discard)
    assert relative(row.values, found.values[:, 0]) < 1e-12


@pytest.mark.parametrize("residual", [0.0, 0.3, 0.5])
def test_rollout_of_uniform_attention_is_known(toy_module, images, residual):
    module = toy_module(depth=3)
    for block in module.blocks:  # no queries: every token is read equally
        block.attn.qkv.weight.data[:16] = 0
        block.attn.qkv.bias.data[:16] = 0
    model = load_model(module, dtype="float64")
    found = attention_rollout(model, images(model, 2), residual=residual, queries="each").values
    expected = residual**3 * np.eye(5) + (1 - residual**3) / 5
    assert relative(found, np.stack([expected] * 2)) < 1e-12


def test_discarding_without_a_residual_raises(toy_vit, images):
    model = toy_vit()
    with pytest.raises(InputError, match="discard: expected a residual above 0"):
        attention_rollout(model, images(model), residual=0.0, discard=0.9)
    with pytest.raises(InputError, match="discard: expected a number from 0 to below 1, got 1"):
        attention_rollout(model, images(model), discard=1.0)
    with pytest.raises(InputError, match="heads: expected mean or max or min, got 'median'"):
        attention_rollout(model, images(model), heads="median")


def by_networkx(capacities, source):
    """Return the maximum flow to each token of the first layer."""
    layers, tokens, _ = capacities.shape
    graph = nx.DiGraph()
    for layer, query, token in np.ndindex(capacities.shape):
        graph.add_edge((layer + 1, query), (layer, token), capacity=float(capacities[layer, query, token]))
    for token in range(tokens):
        graph.add_edge("source", (layers, token), capacity=float(source[token]))
    return np.array([nx.maximum_flow_value(graph, "source", (0, token)) for token in range(tokens)])


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 999), st.booleans())
def test_flow_is_the_maximum_flow_of_networkx(layers, tokens, seed, one_source):
    rng = np.random.default_rng(seed)
    capacities = rng.dirichlet(np.full(tokens, 0.5), size=(layers, tokens))
    source = np.eye(tokens)[0] if one_source else np.full(tokens, 1 / tokens)
    found = flows(capacities, source)
    assert np.abs(found - by_networkx(capacities, source)).max() < 3e-8
    assert (found <= np.minimum(1, capacities[0].sum(axis=0)) + 3e-8).all()
    widest = capacities[0]  # of the best path to each token, its narrowest edge
    for step in capacities[1:]:
        widest = np.minimum(step[:, :, None], widest[None]).max(axis=1)
    assert (found >= np.minimum(widest, source[:, None]).max(axis=0) - 3e-8).all()


@pytest.mark.parametrize("changes", [{}, {"global_pool": "avg", "class_token": False, "img_size": 12}], ids=str)
def test_the_flow_of_a_model_is_that_of_its_rollout_steps(toy_vit, images, changes):
    model = toy_vit(**changes)
    x = images(model, 2)
    attention = attention_patterns(model, x, queries="each").values.mean(axis=2)
    steps = 0.5 * attention + 0.5 * np.eye(model.n_tokens)
    source = np.full(model.n_tokens, 1 / model.n_tokens) if changes else np.eye(model.n_tokens)[0]
    found = attention_flow(model, x)
    assert found.names == ("image", "token") and found.unit == "flow"
    for image in range(2):
        assert np.abs(found.values[image] - by_networkx(steps[image], source)).max() < 3e-8


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("metric", ["logit", "logit-over-mean"])
def test_the_gradient_at_the_attention_is_that_of_unfused_attention(name, metric, images):
    model = load(name)
    pairs = pairs_of(model, images)
    measured = measure(model, pairs, metric)
    attention, logits = unfused(model, pairs.clean)
    gradients = torch.autograd.grad(measured.values(logits).sum(), attention)
    expected = torch.stack([a * g for a, g in zip(attention, gradients, strict=True)], dim=1).detach().numpy()
    found = attention_times_gradient(model, pairs, metric=metric, queries="each")
    assert relative(found.values, expected) < 1e-10
    assert relative(attention_times_gradient(model, pairs, metric=metric).values, expected.sum(axis=3)) < 1e-10
    assert found.metric.kind == metric
    relevance = np.stack([np.eye(model.n_tokens)] * len(pairs))
    for layer in range(model.n_layers):
        relevance = (np.eye(model.n_tokens) + np.maximum(expected[:, layer], 0).mean(axis=1)) @ relevance
    assert relative(attention_relevance(model, pairs, metric=metric, queries="each").values, relevance) < 1e-10


def test_the_gradient_at_the_attention_is_the_change_of_the_metric(toy_vit, images):
    model = toy_vit(depth=2)
    pairs = pairs_of(model, images, 1)
    found = attention_times_gradient(model, pairs, queries="each")
    attention = attention_patterns(model, pairs.clean, queries="each").values
    for layer, head, query, token in [(0, 1, 2, 3), (1, 0, 0, 4)]:
        ends = []
        for step in (1e-5, -1e-5):

            def moved(at, value, step=step):
                value = value.clone()
                value[:, head, query, token] += step * (at == layer)  # noqa: B023
                return value

            ends.append(logit(LABELS[:1])(unfused(model, pairs.clean, moved)[1]).item())
        slope = (ends[0] - ends[1]) / 2e-5
        expected = slope * attention[0, layer, head, query, token]
        assert found.values[0, layer, head, query, token] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_relevance_of_a_constant_metric_is_the_identity(toy_module, images):
    module = toy_module()
    module.head.weight.data.zero_()
    model = load_model(module, dtype="float64")
    found = attention_relevance(model, pairs_of(model, images), queries="each").values
    assert np.array_equal(found, np.stack([np.eye(5)] * 2))
    assert np.abs(attention_times_gradient(model, pairs_of(model, images)).values).max() == 0


def test_a_metric_with_a_target_needs_targets(toy_vit, images, unchecked):
    model = toy_vit()
    for function in (attention_relevance, attention_times_gradient):
        with pytest.raises(InputError, match="targets: the metric 'logit-diff' needs a target class per image"):
            function(model, pairs_of(model, images), metric="logit-diff")
        with pytest.raises(InputError, match="pairs: expected ImagePairs"):
            function(model, images(model))


CALLS = {
    "attention-patterns": {},
    "attention-rollout": {"discard": 0.5},
    "attention-flow": {},
    "attention-relevance": {},
    "attention-times-gradient": {},
}


@pytest.mark.parametrize("key", CALLS)
def test_batches_of_odd_sizes_give_the_same_and_kinds_read_them(toy_vit, images, key):
    model = toy_vit(img_size=(12, 4))
    measured = measure(model, pairs_of(model, images, 3), "logit")
    kind, use = READOUTS[key], READOUTS.resolve(key, CALLS[key])
    whole = kind.read(model, measured, use)
    parts = [kind.read(model, measured[i : i + 1], use).values for i in range(3)]
    assert whole.use == use and whole.names[0] == "image" and (whole.metric is not None) == kind.reads_metric
    assert relative(np.concatenate(parts), whole.values) < 1e-12
    reports = []
    again = kind.read(model, measured, use, Execution(batch_size=2, progress=lambda *done: reports.append(done)))
    assert reports == [(2, 3), (3, 3)] and relative(again.values, whole.values) < 1e-12


def test_rollout_is_the_same_for_every_class_and_relevance_is_not(toy_vit, images):
    model = toy_vit()
    pairs = pairs_of(model, images, 2)
    others = ImagePairs.of(model, pairs.clean, pairs.corrupted, [0, 2])
    use = READOUTS.resolve("attention-rollout")
    first, second = (
        READOUTS["attention-rollout"].read(model, measure(model, p, "logit"), use) for p in (pairs, others)
    )
    assert np.array_equal(first.values, second.values)
    assert relative(attention_relevance(model, others).values, attention_relevance(model, pairs).values) > 1e-3
