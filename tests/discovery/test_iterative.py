"""Iterative pruning and expansion: sums are conserved, planted circuits are found, and the order is total."""

import numpy as np
import pytest
import torch
from circuitstore.discovery import METHODS, discover, score_edges
from circuitstore.discovery.gated_images import GatedImages
from circuitstore.discovery.method import Task
from circuitstore.discovery.methods.iterative_pruning import sizes
from circuitstore.evaluation import ImagePairs, Journal, measure
from circuitstore.models import PatchedRuns, capture

from ..planted import PLANTED, planted_model
from ..reference import logits_of

BOTH = ["iterative-pruning", "iterative-expansion"]


@pytest.fixture
def task(toy_vit, images):
    """A task of two similar pairs; the metric is the logit of the true class."""
    model = toy_vit(3)
    x = images(model, 2, 1)
    pairs = measure(model, ImagePairs.of(model, x, x + 0.3 * images(model, 2, 2), [1, 3]), "logit")
    return Task(model, "attention", "noising", pairs, 1, Journal(), lambda done, total: None)


def test_gains_between_two_circuits_sum_to_the_metric_s_difference(task):
    """In the limit: doubling the steps quarters the error."""
    images, n = GatedImages(task), task.graph.n_edges
    small = np.random.default_rng(0).random((2, n)) < np.array([[0.3], [0.6]])
    start, end = (torch.from_numpy(mask).double() for mask in (small[0], small[0] | small[1]))
    model, pairs = task.model, task.pairs

    def metric(mask):
        runs = PatchedRuns(model, model.embed(pairs.clean), capture(model, pairs.corrupted))
        return float(pairs.values(runs.logits(task.graph, mask.numpy() > 0)).mean())

    total = metric(end) - metric(start)
    found = float(images.metric(end).mean() - images.metric(start).mean())
    assert found == pytest.approx(
        total, rel=0, abs=1e-12 * np.abs(logits_of(model, pairs.clean, pairs.corrupted)).max()
    )
    errors = [abs(float(((end - start) * images.gains(start, end, steps)).sum()) - total) for steps in (8, 16)]
    assert 3.3 < errors[0] / errors[1] < 4.7


def test_distance_and_its_gradient(task):
    images, n = GatedImages(task), task.graph.n_edges
    ones = torch.ones(2, n, dtype=torch.float64)
    rounding = 1e-12 * float(images.full.abs().max()) / images.gap
    assert images.distance(ones)[0] < rounding
    assert images.distance(0 * ones)[0] == pytest.approx(1, rel=0, abs=rounding)
    gates = torch.rand(2, n, generator=torch.Generator().manual_seed(0)).double()
    value, slopes = images.distance(gates)
    direction = torch.rand(2, n, generator=torch.Generator().manual_seed(1)).double()
    moved = [images.distance(gates + sign * 1e-6 * direction)[0] for sign in (1, -1)]
    assert (moved[0] - moved[1]) / 2e-6 == pytest.approx(float((slopes * direction).sum()), rel=1e-6)
    off = torch.stack([images.full[i] - images.metric(gates[i])[i] for i in range(2)])
    assert value == pytest.approx(float(off.abs().mean()) / images.gap, rel=0, abs=rounding)


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("rank", ["magnitude", "signed"])
def test_every_edge_has_its_own_position(toy_vit, images, method, rank):
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), [1, 3])
    found = discover(model, pairs, METHODS.resolve(method, {"steps": 2, "rank": rank}), form="block")
    n = found.graph.n_edges
    assert sorted(np.round(found.scores.mean * n)) == list(range(1, n + 1))


@pytest.mark.parametrize("method", BOTH)
def test_the_planted_circuit_is_dropped_last_and_taken_first(images, method):
    model = planted_model(1)
    pairs = ImagePairs.of(model, images(model, 4, 0), images(model, 4, 10), [0] * 4)
    found = discover(model, pairs, METHODS.resolve(method, {"steps": 1, "fraction": 0.4}))
    assert set(found.scores.top(3).edges) == PLANTED


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "gradient"), [("magnitude", "plain"), ("signed", "relp")])
def test_the_first_round_is_gate_ig_over_the_whole_graph(task, rank, gradient):
    """The first edge of expansion is gate-IG's best; pruning drops gate-IG's lowest first."""
    model, pairs, n = task.model, task.pairs, task.graph.n_edges
    scores = score_edges(model, pairs, "gate-ig", form="attention", steps=3, gradient=gradient).mean
    images, closed = GatedImages(task), torch.zeros(n, dtype=torch.float64)
    gains = images.gains(closed, torch.ones_like(closed), 3, gradient).numpy()
    assert np.abs(gains - scores).max() < 1e-11 * np.abs(scores).max()
    value = np.abs(scores) if rank == "magnitude" else scores
    params = {"steps": 3, "rank": rank, "gradient": gradient}
    expansion = METHODS.resolve("iterative-expansion", params | {"fraction": 1.0})
    grown = discover(model, pairs, expansion, form="attention")
    assert grown.scores.mean.argmax() == value.argmax()
    assert grown.trace["taken"][:2] == [0, 1]
    rounding = 1e-12 * np.abs(scores).sum()
    assert grown.trace["missing"][0] == pytest.approx(scores.sum(), rel=0, abs=rounding)
    pruning = METHODS.resolve("iterative-pruning", params | {"fraction": 0.3})
    shrunk = discover(model, pairs, pruning, form="attention")
    left = sizes(n, 0.3)[0]
    first = np.argsort(shrunk.scores.mean)[: n - left]
    assert value[first] == pytest.approx(np.sort(value)[: n - left], rel=0, abs=rounding)  # some are 0, and tie
    assert shrunk.trace["gain"][0] == pytest.approx(scores.sum(), rel=0, abs=rounding)


def test_edges_on_no_path_score_exactly_zero(task):
    """If no path is left, no run is made, and the order is that of the previous round, then of the graph."""
    pruning = METHODS.resolve("iterative-pruning", {"steps": 2, "fraction": 0.3})
    found = discover(task.model, task.pairs, pruning, form="attention")
    left = [found.scores.mean > 1 - n / found.graph.n_edges + 1e-9 for n in found.trace["left"]]
    joined = [bool(found.graph.prune(members).any()) for members in left]
    assert [gain != 0 for gain in found.trace["gain"]] == joined and not all(joined)
    scattered = left[joined.index(False)]
    *_, last = (found.graph.prune(members) for members, on in zip(left, joined, strict=True) if on)
    order = [i for i in np.argsort(found.scores.mean) if scattered[i]]
    assert [last[i] for i in order] == sorted(last[order])  # edges that were on no path before go first


def test_gains_near_all_open_gates_equal_eap(task):
    images = GatedImages(task)
    ones = torch.ones(task.graph.n_edges, dtype=torch.float64)
    near = images.gains((1 - 1e-7) * ones, ones, 1).numpy()
    eap = score_edges(task.model, task.pairs, "eap", form="attention").mean
    assert np.abs(near - eap).max() < 1e-6 * np.abs(eap).max()


def test_rounds_end_with_nothing_left():
    assert sizes(10, 0.5) == [5, 3, 1, 0]
    assert sizes(3, 0.01) == [2, 1, 0]
    assert len(sizes(9163, 0.2)) < 50
