"""Sequential patching compared with a loop that removes one edge at a time, in plain torch; logic gates; resuming."""

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS
from circuitstore.discovery import METHODS, discover
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.evaluation import Execution, ImagePairs, evaluate, journal
from circuitstore.models import PatchedRuns, capture, load_model

from ..planted import PLANTED, gate_model, planted_model
from ..reference import LABELS, VARIANTS, blind, logit, unseen
from .removal_loop import absolute, held, loop, question, signed, values


@pytest.mark.slow
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_variant_decides_as_the_loop(toy_vit, images, brute_force, changes):
    """With one run of all images at a time, and with up to six runs ahead of the decisions."""
    model = toy_vit(depth=2, **changes)
    pairs, streams, graph, metric, threshold = question(model, images)
    expected = loop(brute_force(model.module, graph), streams, graph, metric, absolute(threshold))
    use = METHODS.resolve("vi-cd", {"threshold": threshold})
    for size in (2, 12):
        held(discover(model, pairs, use, form="attention", execution=Execution(batch_size=size)), expected)


@pytest.mark.parametrize("form", FORMS)
def test_acdc_decides_as_the_loop_in_every_form(toy_vit, images, brute_force, form):
    """Image by image, and with eight runs ahead; with two layers the split form has 99 edges."""
    model = toy_vit(1, depth=2, num_heads=2, init_values=0.2)
    pairs, streams, graph, metric, threshold = question(model, images, form=form, share=0.02)
    expected = loop(brute_force(model.module, graph), streams, graph, metric, signed(threshold))
    use = METHODS.resolve("acdc", {"threshold": threshold})
    for size in (1, 16):
        held(discover(model, pairs, use, form=form, execution=Execution(batch_size=size)), expected)


@pytest.mark.slow
def test_the_demo_model_decides_as_a_loop_of_whole_runs():
    """In float32, the first decision that differs, if any, is within rounding of the threshold."""
    exact = load_model("digits", dtype="float64")
    x, y = torch.randn(2, 4, 3, *exact.image_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels, graph = exact.logits(x).argmax(dim=1), exact.graph("attention")
    read, runs = logit(labels), PatchedRuns(exact, exact.embed(x), capture(exact, y))
    threshold = 0.01 * float((read(exact.logits(x)) - read(exact.logits(y))).mean())

    class Whole:
        def masked(self, _, __, members):
            return runs.logits(graph, members)

    expected = loop(Whole(), (None, None), graph, read, absolute(threshold))
    use = METHODS.resolve("vi-cd", {"threshold": threshold})
    found = discover(exact, ImagePairs.of(exact, x, y, labels), use, form="attention")
    held(found, expected)
    model = load_model("digits", dtype="float32")
    single = discover(model, ImagePairs.of(model, x.float(), y.float(), labels), use, form="attention")
    order = np.array(found.trace["order"])
    flips = order[(single.members != found.members)[order]]
    assert len(flips) == 0 or abs(abs(found.scores.mean[flips[0]]) - threshold) < 1e-4 * threshold


@pytest.mark.slow
def test_a_decision_that_float32_takes_otherwise_is_within_rounding(toy_module, images, brute_force):
    """At thresholds equal to the effect of some edge; each decision is compared with the loop after equal decisions."""
    module = toy_module(1, depth=2).float().double()
    exact, single = load_model(module, dtype="float64"), load_model(module, dtype="float32")
    pairs = ImagePairs.of(single, images(exact, 2, 1).float(), images(exact, 2, 2).float(), LABELS)
    x, y = pairs.clean.double(), pairs.corrupted.double()
    exact_pairs = ImagePairs.of(exact, x, y, LABELS)
    graph, read, flips = exact.graph("attention"), values("logit", exact.logits(x)), 0
    rounding = 100 * np.finfo(np.float32).eps * float(exact.logits(x).abs().max())
    brute, streams = brute_force(exact.module, graph), (exact.embed(x), exact.embed(y))
    for near in np.geomspace(0.003, 1, 10):
        use = METHODS.resolve("vi-cd", {"threshold": float(near)})
        found = discover(exact, exact_pairs, use, form="attention")
        sizes = np.abs(found.scores.mean)
        threshold = float(sizes[np.abs(sizes - near).argmin()])  # no other effect in between
        found = discover(single, pairs, METHODS.resolve("vi-cd", {"threshold": threshold}), form="attention")
        decided = iter(~found.members[found.trace["order"]])
        members, effects, _ = loop(brute, streams, graph, read, lambda loss: (next(decided), 0.0))  # noqa: B023
        assert (members == found.members).all()
        assert np.abs(found.scores.mean - effects).max() < rounding
        flipped = (np.abs(effects) < threshold) == found.members
        assert (np.abs(np.abs(effects[flipped]) - threshold) < rounding).all()
        flips += flipped.sum()
    assert flips > 0


@pytest.mark.parametrize("metric", ["logit-over-mean", "logit-over-rival", "kl"])
def test_every_metric_and_the_other_order(toy_vit, images, brute_force, metric):
    model = toy_vit(2, depth=2)
    pairs, streams, graph, read, threshold = question(model, images, metric)
    brute = brute_force(model.module, graph)
    expected = loop(brute, streams, graph, read, absolute(threshold), first_first=True)
    use = METHODS.resolve("vi-cd", {"threshold": threshold, "order": "first first"})
    found = discover(model, pairs, use, form="attention", metric=metric)
    held(found, expected)
    order = np.array(found.trace["order"])
    assert (np.diff(graph.edge_receiver[order]) <= 0).all()
    same = np.diff(graph.edge_receiver[order]) == 0
    assert (np.diff(order)[same] == 1).all()


def test_the_trace_counts_edges_before_and_after_pruning(toy_vit, images):
    model = toy_vit(depth=2)
    pairs, _, graph, _, threshold = question(model, images, share=0.3)
    found = discover(model, pairs, METHODS.resolve("vi-cd", {"threshold": threshold}), form="attention")
    assert found.trace["edges_before_pruning"] == found.members.sum() == found.circuit.size_requested
    assert found.trace["edges_after_pruning"] == found.circuit.n_edges < found.members.sum()
    assert sorted(found.trace["order"]) == list(range(graph.n_edges))
    assert found.trace["threshold"] == threshold


@pytest.mark.parametrize(("threshold", "kept"), [(1e300, 0), (-1.0, 1)])
def test_a_negative_threshold_keeps_all_edges_and_a_huge_one_none(toy_vit, images, threshold, kept):
    model = toy_vit(depth=2)
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), LABELS)

    def ask(method, metric="logit", **params):
        use = METHODS.resolve(method, {"threshold": threshold} | params)
        return discover(model, pairs, use, form="attention", metric=metric)

    for found in (ask("vi-cd"), ask("acdc", metric="kl"), ask("acdc", absolute=True)):
        assert found.members.mean() == kept
        assert found.circuit.n_edges == kept * len(found.members)


@pytest.mark.parametrize(("order", "last"), [("last first", 0), ("first first", 1)])
def test_of_two_branches_that_back_each_other_up_the_last_tried_stays(order, last):
    """OR, where noising scores zero; with AND and ADD both stay; the distractor is removed."""
    x, y = torch.zeros(2, 1, 3, 1, 1, dtype=torch.float64)
    x[:, 0] = 1
    use = METHODS.resolve("acdc", {"threshold": 0.1, "order": order})
    for gate in ("AND", "OR", "ADD"):
        model = gate_model(gate)
        found = discover(model, ImagePairs.of(model, x, y, [0]), use, form="head")
        branches = [f"a0.h{head}->m0" in found.circuit.edges for head in range(2)]
        assert branches == [gate != "OR" or head == last for head in range(2)]
        assert not any("h2" in edge for edge in found.circuit.edges)


def test_a_planted_circuit_is_found_exactly(images):
    model = planted_model(0)
    pairs = ImagePairs.of(model, images(model, 8, 0), images(model, 8, 10), [0] * 8)
    found = discover(model, pairs, METHODS.resolve("acdc", {"absolute": True, "threshold": 1e-3}), form="split")
    assert set(found.circuit.edges) == PLANTED


class Killed(BaseException):
    pass


def killed_after(decisions):
    def progress(done, total):
        if done >= decisions:
            raise Killed

    return progress


@pytest.fixture(scope="module")
def classified_differently(toy_module, images):
    """A float32 model, and pairs of images that it assigns to different classes: four, and eight for selection."""
    model = load_model(toy_module(), dtype="float32")
    x, y = images(model, 60, 1).float(), images(model, 60, 2).float()
    classes = model.logits(x).argmax(dim=1)
    apart = torch.nonzero(classes != model.logits(y).argmax(dim=1)).flatten()[:12]
    assert len(apart) == 12
    pairs = ImagePairs.of(model, x[apart], y[apart], classes[apart])
    return model, pairs[:4], pairs[4:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "params", "batch_size"),
    [("acdc", {"threshold": 0.05}, 3), ("vi-cd", {"sweeps": 3, "retention": 0.6}, 8)],
)
def test_a_run_killed_anywhere_resumes_to_the_same_answer(
    classified_differently, tmp_path, monkeypatch, method, params, batch_size
):
    """Bitwise equal, in float32, with two batches of images or two runs ahead."""
    monkeypatch.setattr(journal, "EVERY_S", 0.0)
    model, pairs, selection = classified_differently
    use, path, reports = METHODS.resolve(method, params), tmp_path / "journal.npz", []

    def ask(journal=None, progress=None):
        execution = Execution(batch_size=batch_size, progress=progress, journal=journal)
        return discover(model, pairs, use, form="attention", selection=selection, execution=execution)

    whole = ask()
    for decisions in (1, 50) if method == "acdc" else (20, 120):
        with pytest.raises(Killed):
            ask(path, killed_after(decisions))
    again = ask(path, lambda done, total: reports.append((done, total)))
    assert reports[0][0] > decisions
    assert reports[-1][0] == reports[-1][1] == whole.graph.n_edges * params.get("sweeps", 1)
    assert (again.members == whole.members).all()
    assert (again.scores.per_image == whole.scores.per_image).all()
    assert again.trace == whole.trace


@pytest.mark.slow
def test_the_threshold_is_the_sparsest_that_keeps_the_retention(classified_differently):
    model, pairs, selection = classified_differently

    def ask(**params):
        return discover(model, pairs, METHODS.resolve("vi-cd", params), form="attention", selection=selection)

    found = ask(retention=0.6, sweeps=4)
    kept = [sweep for sweep in found.trace["sweeps"] if sweep["retention"] >= 0.6]
    assert len(found.trace["sweeps"]) == 4
    assert 0 < len(kept) < 4
    assert found.circuit.n_edges == min(sweep["edges"] for sweep in kept)
    assert evaluate(model, selection, found.circuit).retention >= 0.6
    for sweep in found.trace["sweeps"]:  # each equals a separate sweep, although it starts from another one
        separate = ask(threshold=sweep["threshold"])
        assert separate.circuit.n_edges == sweep["edges"]
        if sweep["threshold"] == found.trace["threshold"]:
            assert (separate.members == found.members).all()
            assert np.abs(separate.scores.per_image - found.scores.per_image).max() < 1e-5


def test_without_a_threshold_all_edges_are_kept_with_the_reason(classified_differently):
    model, pairs, selection = classified_differently
    turned = ImagePairs.of(model, selection.corrupted, selection.clean, selection.labels)
    with pytest.warns(CircuitStoreWarning, match="full model is not above the empty circuit"):
        found = discover(model, pairs, "vi-cd", form="attention", selection=turned)
    assert found.members.all()
    assert found.scores is None
    assert "not above" in found.trace["all_edges"]
    with pytest.warns(CircuitStoreWarning, match="none of 1 thresholds"):
        use = METHODS.resolve("vi-cd", {"sweeps": 1, "retention": 1.0})
        discover(model, pairs, use, form="attention", selection=selection)


def test_without_contrast_the_threshold_search_raises(toy_module, images):
    model = load_model(blind(toy_module(depth=1)), dtype="float64")
    x = images(model, 2)
    pairs = ImagePairs.of(model, x, unseen(x), LABELS)
    with pytest.raises(InputError, match="no edge matters"):
        discover(model, pairs, "vi-cd", form="attention", selection=pairs)


def test_a_threshold_search_without_selection_images_raises(classified_differently):
    model, pairs, _ = classified_differently
    with pytest.raises(InputError, match=r"selection images.* or set a threshold"):
        discover(model, pairs, "vi-cd", form="attention")
    with pytest.raises(InputError, match=r"form for method 'vi-cd'.*attention"):
        discover(model, pairs, "vi-cd")
