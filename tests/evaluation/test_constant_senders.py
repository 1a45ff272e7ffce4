"""Evaluation of circuits, nodes and paths with constant senders: zero and mean ablation."""

from functools import partial

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS, Circuit
from circuitstore.discovery import score_edges
from circuitstore.errors import InputError
from circuitstore.evaluation import (
    METRICS,
    Execution,
    ImagePairs,
    completeness,
    evaluate,
    evaluate_many,
    head_to_head,
    magnitude_scores,
    patch_edges,
    patch_nodes,
    patch_path,
    reference,
)
from circuitstore.evaluation.metrics import MetricInput
from circuitstore.models import capture, constant_run, mean_outputs, zero_outputs

from ..reference import relative

LABELS = [0, 1, 2, 3, 4]


@pytest.fixture
def question(toy_vit, images):
    """A model, five images, three images that are averaged, and pairs with constants."""

    def build(kind, **changes):
        model = toy_vit(**changes)
        x, averaged = images(model, 5, 1), images(model, 3, 2)
        constants = zero_outputs(model) if kind == "zero" else mean_outputs(model, [averaged])
        return model, x, averaged, ImagePairs.of(model, x, constants, LABELS, targets=[1, 2, 3, 4, 0])

    return build


def constants(brute, model, kind, averaged):
    """Return each sender's constant, by brute force."""
    means = [sent.mean(0, keepdim=True) for sent in brute.run(model.embed(averaged), lambda _, value: value)[1]]
    return [mean * 0 for mean in means] if kind == "zero" else means


def masked(brute, model, x, old, mask):
    sender = brute.graph.edge_sender
    closed = lambda e, value: value if mask[e] else old[sender[e]].expand_as(value)  # noqa: E731
    return brute.run(model.embed(x), closed)[0].detach()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["zero", "mean"])
@pytest.mark.parametrize("metric", ["logit", "logit-diff", "kl", "logit-over-rival"])
def test_random_circuits_equal_brute_force(question, brute_force, form, kind, metric):
    """Pruned or not: an edge out of a component that reads only constants carries what the component computes."""
    model, x, averaged, pairs = question(kind, init_values=0.2)
    graph, rng = model.graph(form), np.random.default_rng(0)
    masks = [np.zeros(graph.n_edges, bool), *(rng.random(graph.n_edges) < share for share in (0.05, 0.3, 0.9, 1.1))]
    brute, size = brute_force(model.module, graph), Execution(batch_size=2)
    old = constants(brute, model, kind, averaged)
    read = MetricInput(pairs.labels, pairs.targets, model.logits(x))
    near = partial(pytest.approx, rel=1e-10, abs=1e-11)
    for found, mask in zip(
        evaluate_many(model, pairs, [Circuit(graph, m) for m in masks], metric=metric, execution=size),
        masks,
        strict=True,
    ):
        full, empty, own = (masked(brute, model, x, old, m) for m in (masks[-1], masks[0], mask))
        expected = [METRICS[metric].values(logits, read).mean().item() for logits in (full, empty, own)]
        assert [found.metric_full, found.metric_empty, found.metric_circuit] == near(expected)


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_the_whole_circuit_is_the_model_and_the_empty_one_has_only_constants(question, kind):
    model, x, _, pairs = question(kind)
    graph, rows = model.graph("split"), range(5)
    ends = [Circuit(graph, np.full(graph.n_edges, value)) for value in (True, False)]
    whole, none = (found.metric_circuit for found in evaluate_many(model, pairs, ends))
    assert whole == pytest.approx(model.logits(x)[rows, LABELS].mean().item(), rel=1e-12)
    constant = constant_run(model, pairs.corruption, 5).logits
    assert none == pytest.approx(constant[rows, LABELS].mean().item(), rel=1e-12)
    assert (constant == constant[0]).all()
    again = ImagePairs.of(model, x.flip(0), pairs.corruption, LABELS[::-1])
    assert evaluate(model, again, ends[0]).metric_circuit == pytest.approx(whole, rel=1e-12)


def test_single_images_and_odd_batches_give_the_same(question):
    model, _, _, pairs = question("mean")
    circuit = score_edges(model, pairs, "eap").greedy(30)
    found = [evaluate(model, pairs, circuit, execution=Execution(batch_size=n)).metric_circuit for n in (1, 3, 5)]
    assert found == pytest.approx([found[0]] * 3, rel=1e-12)


def both(toy_vit, images):
    """Pairs with one corrupted image for all, and with the mean over this image."""
    model = toy_vit(depth=2)
    x, y = images(model, 3, 1), images(model, 1, 2)
    contrasted = (y.repeat(3, 1, 1, 1), mean_outputs(model, [y.repeat(2, 1, 1, 1)]))
    return model, [ImagePairs.of(model, x, corrupted, [0, 1, 2]) for corrupted in contrasted]


def test_nodes_paths_and_removed_edges_equal_those_of_an_image_with_the_same_outputs(toy_vit, images):
    model, pairs = both(toy_vit, images)
    compute = {
        "nodes": lambda p: patch_nodes(model, p).per_image,
        "tokens": lambda p: patch_nodes(model, p, tokens="each").per_image,
        "edges": lambda p: patch_edges(model, p, ["input->m0", "a0.h1->a1.h2<q>", "m1->logits"]).per_image,
        "path": lambda p: patch_path(model, p, ["a0.h1", "a1.h0<v>", "logits"]).patched,
        "heads": lambda p: head_to_head(model, p, 0, 1).frame["effect"].to_numpy(),
        "magnitude": lambda p: magnitude_scores(model, p).per_image,
        "removed edges": lambda p: completeness(model, p, score_edges(model, p, "eap").greedy(40), draws=2).of_circuit,
        "the rest of the model": lambda p: completeness(model, p, score_edges(model, p, "eap").greedy(40)).of_model,
    }
    for name, of in compute.items():
        of_image, of_mean = (np.asarray(of(p)) for p in pairs)
        assert relative(of_mean, of_image) < 1e-9, name


@pytest.mark.parametrize("form", FORMS)
def test_a_node_s_patch_is_the_run_in_which_it_sends_its_constant(question, brute_force, form):
    model, x, averaged, pairs = question("mean", depth=2)
    graph = model.graph(form)
    brute = brute_force(model.module, graph)
    old, rows = constants(brute, model, "mean", averaged), range(5)
    full = model.logits(x)[rows, LABELS]
    found = patch_nodes(model, pairs, form=form).per_image
    for sender in range(graph.n_senders):
        logits = masked(brute, model, x, old, graph.edge_sender != sender)
        assert relative(found[:, sender], (full - logits[rows, LABELS]).numpy(), of=full.numpy()) < 1e-11


@pytest.mark.parametrize(
    "patch",
    [
        lambda m, p: patch_nodes(m, p, direction="denoising"),
        lambda m, p: patch_edges(m, p, ["input->m0"], direction="denoising"),
        lambda m, p: patch_path(m, p, ["input", "m0", "logits"], direction="denoising"),
        lambda m, p: head_to_head(m, p, 0, 1, direction="denoising"),
    ],
)
def test_denoising_raises(question, patch):
    model, _, _, pairs = question("zero", depth=2)
    with pytest.raises(InputError, match=r"direction: denoising restores clean values .* has no image; use 'noising'"):
        patch(model, pairs)


def test_pairs_without_images_raise_when_asked_for_them(question):
    model, x, _, pairs = question("zero")
    assert not pairs.has_images and len(pairs) == 5
    with pytest.raises(InputError, match="corrupted: expected images, but the corruption replaces every sender's"):
        pairs.corrupted  # noqa: B018
    part = pairs[1:3]
    assert part.clean.equal(x[1:3]) and part.corruption is pairs.corruption
    of_mean = ImagePairs.of(model, x, mean_outputs(model, [x]), LABELS)
    assert len({pairs.digest, part.digest, of_mean.digest}) == 3


def test_outputs_of_another_model_raise(question, toy_vit):
    _, x, _, pairs = question("zero")
    other = toy_vit(7)
    with pytest.raises(InputError, match="corrupted: these outputs of senders are of the model"):
        ImagePairs.of(other, x, pairs.corruption, LABELS)
    with pytest.raises(InputError, match="corrupted: these outputs of senders are of the model"):
        score_edges(other, pairs, "eap")


def test_the_reference_of_images_is_their_run(toy_vit, images):
    model, (of_image, of_mean) = both(toy_vit, images)
    assert reference(model, of_image).logits.equal(capture(model, of_image.corrupted).logits)
    assert torch.allclose(reference(model, of_mean).logits, reference(model, of_image).logits, rtol=1e-11)
