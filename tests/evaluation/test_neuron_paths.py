"""Neuron paths and their scores, compared with a literal search in plain torch, planted networks and identities."""

import numpy as np
import pytest
import torch
from circuitstore.evaluation import (
    SEARCHES,
    Activation,
    Execution,
    Exhaustive,
    InfluencePattern,
    Integral,
    PathSearch,
    PerLayer,
    neuron_paths,
    score_paths,
)
from circuitstore.evaluation.neurons.candidates import Alone, Together
from circuitstore.evaluation.neurons.explained import Explained
from circuitstore.evaluation.neurons.prefix import Prefix
from circuitstore.images import image_pairs
from circuitstore.models import in_dtype, load_model, neuron_run
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers.mlp import SwiGLU

from ..families import build
from ..planted_neurons import additive, blank, chain
from ..reference import VARIANTS
from . import literal_neurons as literal

READS_CLASS = {name: VARIANTS[name] for name in VARIANTS if name not in ("average pooling, fc_norm", "map pooling")} | {
    "SwiGLU, norm in the MLP": {"mlp_layer": SwiGLU, "scale_mlp_norm": True}
}
LABELS = [1, 3, 0]


def probability(model, images, labels, paths, scale):
    """F at a scale, with all other neurons live."""

    def change(layer, values):
        values = values.clone()
        for image, neurons in enumerate(paths[:, layer]):
            values[image, :, neurons] = scale * clean[layer][image][:, neurons]
        return values

    clean = neuron_run(model, model.embed(images)).neurons
    logits = neuron_run(model, model.embed(images), "class", change).logits
    return logits.softmax(dim=1)[torch.arange(len(labels)), labels].detach().numpy()


@pytest.mark.parametrize("others", ["frozen", "live"])
@pytest.mark.parametrize("name", READS_CLASS)
def test_the_search_is_the_literal_one(toy_vit, images, name, others):
    """The same candidates' scores, path, JAS and parts, for every option of timm's model."""
    model = toy_vit(depth=3, **READS_CLASS[name])
    batch = images(model, 2)
    for score, rule in (("jas", "left"), ("ig", "midpoint")):
        search = PathSearch(score=score, steps=3, rule=rule, others=others, nodes=None)
        found = neuron_paths(model, batch, LABELS[:2], search)
        for image, label in enumerate(LABELS[:2]):
            given = model.module, model.embed(batch[image : image + 1]), label
            path, _ = literal.search(*given, *search.points, others, score)
            assert found.paths[image, :, 0].tolist() == path
            jas, parts = literal.path_scores(*given, path, *search.points, others)
            assert found.jas[image] == pytest.approx(jas, rel=1e-10, abs=1e-13)
            assert np.allclose(found.parts[image, :, 0], parts, rtol=1e-9, atol=1e-13)
            assert found.scores[image] == (found.jas if score == "jas" else found.ig)[image]


@pytest.mark.parametrize("others", ["frozen", "live"])
def test_candidates_scores_are_the_literal_ones(toy_vit, images, others):
    model = toy_vit(1, init_values=0.5)
    batch, search = images(model, 1), PathSearch(steps=4, nodes=None, others=others)
    _, expected = literal.search(model.module, model.embed(batch), 2, *search.points, others)
    explained = Explained.of(model, batch, torch.tensor([2]), "class")
    for kind in (Prefix, Together):
        candidates = kind(explained, search, "jas", 3)
        for scores in expected:
            found = candidates.scores()
            assert torch.allclose(found[0], scores, rtol=1e-10, atol=1e-12)
            candidates.take(torch.tensor([0]), found.argmax(dim=1)[:, None])


@pytest.mark.parametrize("others", ["frozen", "live"])
def test_a_candidate_alone_is_the_path_that_ends_with_it(toy_vit, images, others):
    model = toy_vit(1, mlp_ratio=5 / 16)
    batch, search = images(model, 1), PathSearch(steps=4, nodes=None, others=others)
    explained = Explained.of(model, batch, torch.tensor([2]), "class")
    kinds, path = {score: Alone(explained, search, score, 7) for score in ("jas", "ig")}, []
    for _ in range(3):
        given = [(model.module, model.embed(batch), 2, [*path, b], *search.points, others) for b in range(5)]
        expected = [literal.path_scores(*each) for each in given]
        jas, ig = (kinds[score].scores()[0] for score in ("jas", "ig"))
        assert np.allclose(jas, [score for score, _ in expected], rtol=1e-10, atol=1e-13)
        assert np.allclose(ig, [float(parts.sum()) for _, parts in expected], rtol=1e-10, atol=1e-13)
        path.append(int(ig.argmax()))
        for kind in kinds.values():
            kind.take(torch.tensor([0]), torch.tensor([[path[-1]]]))


@pytest.mark.parametrize("others", ["frozen", "live"])
@pytest.mark.parametrize("family", ["DINOv2", "DINOv3", "EVA-02", "SigLIP", "CLIP"])
@pytest.mark.parametrize(("tokens", "score"), [("all", "ig"), ("patches", "ig"), ("all", "jas")])
def test_at_several_tokens_the_kept_run_scores_as_whole_runs_do(images, family, tokens, score, others):
    model = load_model(build(family), dtype="float64")
    search = PathSearch(score=score, tokens=tokens, steps=3, others=others)
    explained = Explained.of(model, images(model, 2), torch.tensor([0, 2]), tokens)
    kinds = [Prefix(explained, search, "ig", 2), Together(explained, search, "ig", 100)]
    for _ in range(model.n_layers):
        found, expected = (kind.scores() for kind in kinds)
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-13)
        for kind in kinds:
            kind.take(torch.arange(2), expected.topk(2).indices)
    paths = neuron_paths(model, images(model, 2), [0, 2], search)
    scored = score_paths(model, images(model, 2), [0, 2], paths.paths, integral=search)
    assert np.array_equal(scored.jas, paths.jas) and np.array_equal(scored.parts, paths.parts)


def test_jas_at_several_tokens_is_a_sum_over_positions(toy_vit, images):
    """From the gradients of single runs, position by position."""
    model = toy_vit(depth=2)
    batch, integral = images(model, 1), Integral(tokens="all", steps=2, nodes=None, others="live")
    path = [3, 40]
    clean = neuron_run(model, model.embed(batch), "all").neurons
    slope = 0
    for a in (0.0, 0.5):

        def change(layer, values, a=a):
            new = values.clone()
            new[:, :, path[layer]] = a * clean[layer][:, :, path[layer]]
            return new if new.requires_grad else new.requires_grad_()

        with torch.enable_grad():
            run = neuron_run(model, model.embed(batch), "all", change)
            found = torch.autograd.grad(run.logits.softmax(dim=1)[0, 1], run.neurons)
        slope = slope + torch.stack([g[0, :, b] for g, b in zip(found, path, strict=True)]) / 2
    values = torch.stack([w[0, :, b] for w, b in zip(clean, path, strict=True)])
    scored = score_paths(model, batch, [1], np.array(path)[:, None], integral=integral)
    assert scored.jas[0] == pytest.approx(float((values.sum(0) * slope.sum(0)).sum()), rel=1e-12)
    assert np.allclose(scored.parts[0, :, 0], (values * slope).sum(1), rtol=1e-12)


@pytest.mark.parametrize("others", ["frozen", "live"])
@pytest.mark.parametrize("candidates", ["together", "alone"])
@pytest.mark.parametrize("score", ["jas", "ig"])
def test_an_additive_network_is_worked_out_by_hand(others, candidates, score):
    """p = logistic(Σ c·w): the sums of both scores are known, and so are the neurons."""
    values, weights = [[0.5, 2.0, 0.5], [1.0, 0.5, 0.5], [0.5, 0.5, 1.5]], [[0, 0.5, 0], [1.5, 0, 0], [0, 0, 0.25]]
    model = additive(values, weights)
    search = PathSearch(score=score, candidates=candidates, others=others, steps=20_000, rule="midpoint", nodes=30)
    found = neuron_paths(model, blank(model), [0], search)
    assert found.nodes(0) == ("m0.n1", "m1.n0", "m2.n2")
    w, c = np.array([2.0, 1.0, 1.5]), np.array([0.5, 1.5, 0.25])
    total = float(w @ c)
    gain = 1 / (1 + np.exp(-total)) - 0.5
    assert found.jas[0] == pytest.approx(w.sum() * c.sum() * gain / total, rel=1e-8)
    assert np.allclose(found.parts[0, :, 0], w * c * gain / total, rtol=1e-8)
    assert probability(model, blank(model), [0], found.paths, 0.0) == pytest.approx(0.5)
    assert probability(model, blank(model), [0], found.paths, 2.0) == pytest.approx(1 / (1 + np.exp(-2 * total)))


@pytest.mark.parametrize(("candidates", "others"), [("together", "frozen"), ("together", "live"), ("alone", "frozen")])
@pytest.mark.parametrize("score", ["jas", "ig"])
def test_a_chain_is_found_but_only_its_last_link_has_a_part(others, candidates, score):
    """The search sees through later layers, which are live; in the path itself every link is held at its value.

    Where candidates are alone and others live, the next link follows the one before, so by the path integral all
    candidates score the same.
    """
    model = chain(4)
    found = neuron_paths(model, blank(model), [0], score=score, candidates=candidates, others=others)
    assert found.nodes(0) == ("m0.n0", "m1.n1", "m2.n2", "m3.n3")
    assert (found.parts[0, :3] == 0).all() and found.parts[0, 3, 0] > 0.1
    clean = neuron_run(model, model.embed(blank(model)))
    assert clean.logits.softmax(dim=1)[0, 0] > 0.9
    for removed in range(4):

        def change(layer, values, removed=removed):
            return torch.where(torch.arange(5) == removed, 0.0, values) if layer == removed else values

        run = neuron_run(model, model.embed(blank(model)), "class", change)
        assert run.logits.softmax(dim=1)[0, 0] == 0.5


@pytest.mark.slow
@settings(max_examples=25)
@given(st.data())
def test_random_additive_networks_are_worked_out_by_hand(data):
    """Candidates of a layer differ by c·w only, so these decide a search for the path integral."""
    numbers = lambda low: st.lists(st.floats(low, 2.0).map(lambda x: round(x, 3)), min_size=3, max_size=3)  # noqa: E731
    values, weights = ([data.draw(numbers(low)) for _ in range(3)] for low in (0.1, -2.0))
    model, products = additive(values, weights), np.array(values) * np.array(weights)
    search = PathSearch(score="ig", steps=20_000, rule="midpoint", nodes=24)
    found = neuron_paths(model, blank(model), [0], search)
    best, path = products.max(axis=1), found.paths[0, :, 0]
    assert np.allclose(products[np.arange(3), path], best)
    logistic = lambda s: 1 / (1 + np.exp(-s))  # noqa: E731
    change = logistic(products.sum()) - logistic(products.sum() - best.sum())
    assert found.ig[0] == pytest.approx(change, rel=1e-6, abs=1e-9)
    if abs(best.sum()) > 1e-3:
        sums = [np.array(part)[np.arange(3), path].sum() for part in (values, weights)]
        assert found.jas[0] == pytest.approx(np.prod(sums) * change / best.sum(), rel=1e-5, abs=1e-9)


def test_jas_names_a_useless_neuron_and_the_path_integral_the_right_one():
    """A neuron that nothing reads, 20 times as active: the definition of JAS prefers it, not only the greedy search."""
    model = additive([[1.0, 20.0, 0.5]] * 3, [[1.0, 0.0, 0.0]] * 3)
    images, true = blank(model), ("m0.n0", "m1.n0", "m2.n0")
    for search in (PathSearch(score="ig"), Exhaustive(score="ig"), PerLayer()):
        assert neuron_paths(model, images, [0], search).nodes(0) == true
    clean = model.logits(images).softmax(dim=1)[0, 0]
    for layer in range(3):
        silent = [
            neuron_run(
                model,
                model.embed(images),
                "class",
                lambda at, v, mask=mask, layer=layer: v * (1 - mask * (at == layer)),
            )
            for mask in torch.eye(3, dtype=torch.float64)
        ]
        effects = [float(clean - run.logits.softmax(dim=1)[0, 0]) for run in silent]
        assert effects[0] > 0.01 and effects[1:] == [0, 0]
    for search in (PathSearch(), PathSearch(candidates="alone"), Exhaustive()):
        wrong = neuron_paths(model, images, [0], search)
        assert "m1.n1" in wrong.nodes(0) or "m2.n1" in wrong.nodes(0)
        right = score_paths(model, images, [0], np.zeros((3, 1), int))
        assert wrong.jas[0] > 2 * right.jas[0] and wrong.ig[0] < right.ig[0]


@pytest.mark.parametrize("score", ["jas", "ig"])
def test_parts_sum_to_the_change_of_the_probability(toy_vit, images, score):
    model = toy_vit(3, depth=2)
    batch, exact = images(model, 3), Integral(steps=20_000, rule="midpoint", nodes=40, others="live")
    paths = neuron_paths(model, batch, LABELS, PathSearch(score=score, k=2)).paths
    change = np.subtract(*(probability(model, batch, LABELS, paths, scale) for scale in (1.0, 0.0)))
    scored = score_paths(model, batch, LABELS, paths, integral=exact)
    assert np.abs(scored.ig - change).max() < 1e-8
    clean = model.logits(batch).softmax(dim=1)[torch.arange(3), LABELS].numpy()
    assert np.allclose(probability(model, batch, LABELS, paths, 1.0), clean, rtol=1e-12)


@pytest.mark.parametrize(("rule", "factor"), [("left", 2), ("midpoint", 4)])
def test_errors_fall_as_steps_double(toy_vit, images, rule, factor):
    model = toy_vit(3, depth=2)
    batch, paths = images(model, 2), np.array([[5], [9]])
    exact = score_paths(model, batch, [0, 1], paths, integral=Integral(steps=20_000, rule="midpoint", nodes=30))
    errors = []
    for steps in (16, 32, 64):
        found = score_paths(model, batch, [0, 1], paths, integral=Integral(steps=steps, rule=rule, nodes=None))
        errors.append([np.abs(found.ig - exact.ig), np.abs(found.jas - exact.jas)])
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    assert np.allclose(ratios, factor, rtol=0.15)


def test_nodes_replace_steps_without_a_change_of_the_numbers(toy_vit, images):
    model = toy_vit(3)
    batch = images(model, 3)
    every = neuron_paths(model, batch, LABELS, PathSearch(nodes=None))
    for nodes, error in ((4, 1e-2), (8, 1e-6), (16, 1e-12)):
        found = neuron_paths(model, batch, LABELS, PathSearch(nodes=nodes))
        assert np.array_equal(found.paths, every.paths)
        assert np.abs(found.jas / every.jas - 1).max() < error


@pytest.mark.slow
def test_the_demo_model_ranks_the_searches_as_measured(digits, digits_model):
    """8 nodes give the numbers of 20 steps; the best path integral is that of its own search, JAS's that of JAS's."""
    model = in_dtype(digits_model, "float64")
    pairs = [image_pairs(digits, model, name, n=2) for name in model.labels[::2]]
    batch, labels = torch.cat([p.clean for p in pairs]), torch.cat([p.labels for p in pairs])
    found = {key: neuron_paths(model, batch, labels, key) for key in SEARCHES if key != "exhaustive"}
    found["ig"] = neuron_paths(model, batch, labels, score="ig")
    every = neuron_paths(model, batch, labels, nodes=None)
    assert np.array_equal(every.paths, found["neuron-path"].paths)
    assert np.allclose(every.jas, found["neuron-path"].jas, rtol=1e-12)
    ig = {key: paths.ig.mean() for key, paths in found.items()}
    assert ig["ig"] > ig["neuron-path"] > ig["influence-pattern"] > ig["random"] and ig["ig"] > ig["activation"]
    assert abs(ig["ig"] - ig["per-layer"]) < 0.1 * ig["ig"] and abs(ig["random"]) < 0.1 * ig["ig"]
    assert found["neuron-path"].jas.mean() > found["ig"].jas.mean() > found["activation"].jas.mean()


@pytest.mark.slow
def test_renumbered_neurons_give_renumbered_paths(toy_module, images):
    module, changed = toy_module(), toy_module()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    mlp = changed.blocks[1].mlp
    with torch.no_grad():
        for tensor in (mlp.fc1.weight, mlp.fc1.bias):
            tensor.copy_(tensor[order].clone())
        mlp.fc2.weight.copy_(mlp.fc2.weight[:, order].clone())
    model, other = (load_model(m, dtype="float64") for m in (module, changed))
    batch = images(model, 3)
    assert torch.allclose(model.logits(batch), other.logits(batch), rtol=1e-12)
    for search in (PathSearch(), PathSearch(score="ig", k=3), Activation(), PerLayer(), InfluencePattern()):
        a, b = (neuron_paths(m, batch, LABELS, search) for m in (model, other))
        assert np.array_equal(a.paths[:, 1], order.numpy()[b.paths[:, 1]])
        assert np.array_equal(a.paths[:, [0, 2]], b.paths[:, [0, 2]])
        assert np.allclose(a.jas, b.jas, rtol=1e-9) and np.allclose(a.parts, b.parts, rtol=1e-9, atol=1e-14)


def test_one_neuron_of_one_layer_is_its_exact_effect(toy_vit, images):
    model = toy_vit(depth=1)
    batch = images(model, 2)
    exact = Integral(steps=20_000, rule="midpoint", nodes=30)
    for neuron in (0, 31):
        path = np.array([[neuron]])
        scored = score_paths(model, batch, [4, 4], path, integral=exact)
        every = np.tile(path, (2, 1, 1))
        effect = np.subtract(*(probability(model, batch, [4, 4], every, scale) for scale in (1.0, 0.0)))
        assert np.allclose(scored.ig, effect, rtol=1e-6, atol=1e-10) and np.allclose(scored.jas, scored.ig, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("score", ["jas", "ig"])
@pytest.mark.parametrize("candidates", ["together", "alone"])
def test_a_beam_of_all_paths_finds_the_best_of_all(toy_vit, images, score, candidates):
    model = toy_vit(depth=2, mlp_ratio=5 / 16)
    batch = images(model, 2)
    given = {"score": score, "steps": 4}
    best = neuron_paths(model, batch, [1, 2], Exhaustive(**given))
    wide = neuron_paths(model, batch, [1, 2], PathSearch(candidates=candidates, beam=25, **given))
    assert np.array_equal(wide.paths, best.paths)
    narrow = [neuron_paths(model, batch, [1, 2], PathSearch(candidates=candidates, beam=b, **given)) for b in (1, 3)]
    assert all((n.scores <= best.scores * (1 + 1e-12)).all() for n in narrow)


@pytest.mark.slow
def test_an_exhaustive_search_is_the_best_of_given_paths(toy_vit, images):
    model = toy_vit(depth=2, mlp_ratio=3 / 16)
    batch = images(model, 1)
    every = [[[a], [b]] for a in range(3) for b in range(3)]
    scores = [score_paths(model, batch, [0], np.array(path)).jas[0] for path in every]
    assert neuron_paths(model, batch, [0], "exhaustive").paths[0].tolist() == every[int(np.argmax(scores))]


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in SEARCHES if key != "exhaustive"])
def test_batches_do_not_change_the_answer(toy_vit, images, key):
    model = toy_vit()
    batch, reports = images(model, 3), []
    whole = neuron_paths(model, batch, LABELS, key, execution=Execution(progress=lambda *done: reports.append(done)))
    assert reports[-1] == (3, 3)
    for size in (1, 7):
        found = neuron_paths(model, batch, LABELS, key, execution=Execution(batch_size=size))
        assert np.array_equal(found.paths, whole.paths) and np.allclose(found.jas, whole.jas, rtol=1e-10)
    for image in range(3):
        own = neuron_paths(model, batch[image : image + 1], LABELS[image : image + 1], key)
        assert np.array_equal(own.paths[0], whole.paths[image])


def test_several_neurons_per_layer_begin_with_the_best(toy_vit, images):
    model = toy_vit()
    batch = images(model, 2)
    one, three = (neuron_paths(model, batch, [0, 1], PathSearch(k=k)) for k in (1, 3))
    assert three.paths.shape == (2, 3, 3) and np.array_equal(one.paths[:, 0, 0], three.paths[:, 0, 0])
    assert all(len(set(row)) == 3 for row in three.paths.reshape(-1, 3).tolist())


def test_paths_are_exported(toy_vit, images, tmp_path):
    model = toy_vit()
    found = neuron_paths(model, images(model, 2), [0, 1], PathSearch(k=2))
    frame = found.to_pandas()
    assert list(frame) == ["image", "label", "node", "layer", "neuron", "part", "jas", "ig"] and len(frame) == 12
    first = frame.iloc[0]
    assert first["node"] == found.nodes(0)[0] == f"m0.n{found.paths[0, 0, 0]}"
    assert frame["part"].to_numpy().reshape(2, -1).sum(axis=1) == pytest.approx(found.ig)
    found.to_parquet(tmp_path / "paths.parquet")
    assert (tmp_path / "paths.parquet").stat().st_size > 0 and len(found) == 2
    assert repr(found) == "NeuronPaths(2 images, 3 layers × 2 of 64 neurons, by jas search, candidates together)"


def test_bfloat16_and_float32_run(toy_module, images):
    for dtype in ("float32", "bfloat16"):
        model = load_model(toy_module().float(), dtype=dtype)
        found = neuron_paths(model, images(model, 2), [0, 1])
        assert np.isfinite(found.jas).all() and np.isfinite(found.parts).all()


@pytest.mark.slow
def test_the_kept_run_saves_most_passes(timm_vit, images):
    """Passes through MLPs on 12 layers, a tangent counted as one more forward; see `benchmarks/neuron_paths.py`.

    Per image, the authors' code takes 292 forwards, and partial backwards that add up to 1,343.
    """
    counts = {"forward": 0.0, "backward": 0.0}
    whole = timm_vit.n_tokens * timm_vit.d_model * timm_vit.n_layers

    def count(_, args, out):
        share = args[0].numel() / whole
        tangent = torch.autograd.forward_ad.unpack_dual(args[0]).tangent
        counts["forward"] += share * (1 if tangent is None else 2)
        if out.requires_grad:
            out.register_hook(lambda _: counts.update(backward=counts["backward"] + share))

    hooks = [block.mlp.register_forward_hook(count) for block in timm_vit.blocks]
    batch = images(timm_vit, 1)
    for nodes, saved in ((None, 6), (8, 15)):
        counts.update(forward=0.0, backward=0.0)
        neuron_paths(timm_vit, batch, [0], PathSearch(nodes=nodes))
        assert (292 + 1343) / sum(counts.values()) > saved, counts
    for hook in hooks:
        hook.remove()
