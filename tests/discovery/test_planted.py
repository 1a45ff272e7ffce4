"""The planted models of the benchmarks have their stated properties."""

import numpy as np
import pytest
import torch
from circuitstore.benchmarks.planted import plant
from circuitstore.circuits import Circuit
from circuitstore.discovery import score_edges
from circuitstore.evaluation import ImagePairs, evaluate

KINDS = [(gate, distractors) for gate in ("chain", "and", "or") for distractors in (False, True)]


@pytest.mark.parametrize(("gate", "distractors"), KINDS)
def test_the_planted_circuit_is_exactly_faithful(gate, distractors):
    made = plant(gate, distractors=distractors)
    pairs = ImagePairs.of(made.model, *made.images(4, 0), [0] * 4)
    circuit = Circuit.from_edges(made.model.graph("split"), sorted(made.edges))
    assert circuit.n_edges == len(made.edges)
    found = evaluate(made.model, pairs, circuit)
    assert found.metric_full == pytest.approx(1, abs=1e-12)
    assert found.metric_empty == pytest.approx(0, abs=1e-12)
    assert found.metric_circuit == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("gate", "noising", "denoising"), [("and", 1, 0), ("or", 0, 1)])
def test_branches_back_each_other_up_or_need_each_other(gate, noising, denoising):
    made = plant(gate, distractors=False)
    pairs = ImagePairs.of(made.model, *made.images(2, 0), [0, 0])
    for direction, expected in (("noising", noising), ("denoising", denoising)):
        scores = score_edges(made.model, pairs, "exact", direction=direction)
        index = [scores.graph.index_of(f"a0.h{head}->m1") for head in range(2)]
        assert scores.mean[index] == pytest.approx([expected] * 2, abs=1e-9)
        alive = {scores.graph.edge_names[i] for i in np.flatnonzero(np.abs(scores.mean) > 1e-12)}
        assert alive <= made.edges


def test_distractors_change_the_metric_singly_but_not_together():
    made = plant("chain", distractors=True)
    pairs = ImagePairs.of(made.model, *made.images(4, 0), [0] * 4)
    scores = score_edges(made.model, pairs, "exact")
    up, down = (scores.per_image[:, scores.graph.index_of(f"a1.h{head}->logits")] for head in (2, 3))
    assert np.abs(up).min() > 1e-3
    assert np.abs(up + down).max() < 1e-12 * np.abs(up).max()
    assert torch.equal(made.images(4, 0)[0], pairs.clean)
