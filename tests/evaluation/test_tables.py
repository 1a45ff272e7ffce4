"""Logic gates and a planted circuit: exact patching in both directions, EAP and EAP-IG."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from circuitstore.discovery import METHODS, discover, score_edges
from circuitstore.evaluation import Execution, ImagePairs, evaluate

from ..planted import PLANTED, gate_model, planted_model
from ..reference import logits_of

pytestmark = pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")

GATES = {
    ("exact", "noising"): {"AND": 1.0, "OR": 0.0, "ADD": 1.0},
    ("exact", "denoising"): {"AND": 0.0, "OR": 1.0, "ADD": 1.0},
    ("eap", "noising"): {"AND": 1.0, "OR": 0.0, "ADD": 1.0},
    ("eap", "denoising"): {"AND": 0.0, "OR": 1.0, "ADD": 1.0},
    ("eap-ig", "noising"): {"AND": 0.5, "OR": 0.5, "ADD": 1.0},
}
"""What each branch of a gate scores."""


@pytest.mark.parametrize("gate", ["AND", "OR", "ADD"])
@pytest.mark.parametrize(("method", "direction"), GATES)
def test_branches_of_a_logic_gate(gate, method, direction):
    model = gate_model(gate)
    x, y = torch.zeros(2, 1, 3, 1, 1, dtype=torch.float64)
    x[:, 0], y[:, 0] = 1, 1e-9  # off the kink of ADD
    params = {"steps": 4} if method == "eap-ig" else {}
    scores = score_edges(model, ImagePairs.of(model, x, y, [0]), method, direction=direction, **params)
    branches = scores.mean[[scores.graph.index_of(f"a0.h{head}->m0") for head in (0, 1)]]
    assert branches == pytest.approx([GATES[method, direction][gate]] * 2, abs=1e-6)
    distracting = [i for i, name in enumerate(scores.graph.edge_names) if "h2" in name]
    assert len(distracting) == 5
    assert not scores.mean[distracting].any()


def auroc(strength, planted):
    """Return how often a planted edge ranks above another edge; ties count half."""
    above = np.sign(strength[planted][:, None] - strength[~planted][None])
    return float((above + 1).mean() / 2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("method", "direction"), GATES)
def test_a_planted_circuit_is_found_exactly(images, seed, method, direction):
    """All other edges score 0, and the circuit is exactly faithful."""
    model = planted_model(seed)
    x, y = images(model, 8, seed), images(model, 8, seed + 10)
    pairs = ImagePairs.of(model, x, y, [0] * 8)
    scores = score_edges(model, pairs, method, direction=direction)
    strength = np.abs(scores.per_image).max(axis=0)
    assert {scores.graph.edge_names[i] for i in np.flatnonzero(strength)} == PLANTED
    assert auroc(strength, np.isin(scores.graph.edge_names, list(PLANTED))) == 1
    circuit = scores.top(3, absolute=True)
    assert set(circuit.edges) == PLANTED
    found = evaluate(model, pairs, circuit)
    gap, size = found.metric_full - found.metric_empty, np.abs(logits_of(model, x, y)).max()
    assert found.metric_circuit - found.metric_empty == pytest.approx(gap, rel=0, abs=1e-12 * size)
    assert abs(gap) > 1


@pytest.mark.parametrize("method", [key for key, m in METHODS.items() if not m.selects and key != "flow-routes"])
def test_every_method_puts_the_planted_edges_first(images, method):
    """All except information-flow routes, which use no contrast and treat noise as signal."""
    model = planted_model(0)
    pairs = ImagePairs.of(model, images(model, 4, 0), images(model, 4, 10), [0] * 4)
    params = {"steps": 60 if method == "ugs" else 2} if "steps" in METHODS[method].params else {}
    scores = score_edges(model, pairs, method, **params)
    assert auroc(np.abs(scores.mean), np.isin(scores.graph.edge_names, list(PLANTED))) == 1


def test_vi_cd_finds_the_planted_circuit_between_off_and_on_effect(images):
    """In the `attention` form, where a0.in feeds every head of its layer; beyond the on-effect an edge is lost."""
    model = planted_model(0)
    pairs = ImagePairs.of(model, images(model, 8, 0), images(model, 8, 10), [0] * 8)
    exact = score_edges(model, pairs, "exact", form="attention")
    planted = np.isin(exact.graph.edge_names, ["input->a0.in", "a0.h1->m1", "m1->logits"])
    on, off = float(np.abs(exact.mean[planted]).min()), float(np.abs(exact.mean[~planted]).max())
    assert off < 1e-12 < 0.01 < on

    def members(threshold):
        return discover(model, pairs, METHODS.resolve("vi-cd", {"threshold": threshold}), form="attention").members

    for threshold in (1e-9, on / 2, 0.999 * on):
        assert (members(threshold) == planted).all()
    assert members(1.001 * on).sum() < 3


@pytest.mark.slow
def test_the_first_decision_that_differs_removes_at_the_larger_threshold(toy_vit, images):
    """Earlier decisions are equal; later ones may differ in any way, since the loop is greedy."""
    model = toy_vit(1, depth=2)
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), [1, 3])
    methods = [METHODS.resolve("vi-cd", {"threshold": float(threshold)}) for threshold in np.geomspace(1e-3, 2, 8)]
    execution = Execution(batch_size=12)
    found = [discover(model, pairs, method, form="attention", execution=execution) for method in methods]
    order, apart = np.array(found[0].trace["order"]), 0
    for smaller, greater in pairwise(found):
        kept, effects = (
            [values[order] for values in pair]
            for pair in ((smaller.members, greater.members), (smaller.scores.mean, greater.scores.mean))
        )
        first = np.append(np.flatnonzero(kept[0] != kept[1]), len(order))[0]
        assert effects[0][: first + 1] == pytest.approx(effects[1][: first + 1], rel=1e-9, abs=1e-12)
        if first < len(order):
            apart += 1
            assert kept[0][first] and not kept[1][first]
    assert apart > 3
