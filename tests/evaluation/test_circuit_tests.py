"""The five hypothesis tests of a circuit."""

import numpy as np
import pytest
import torch
from circuitstore.benchmarks.planted import plant
from circuitstore.circuits import Circuit, random_circuit
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs, hypothesis_tests, outcomes
from circuitstore.evaluation import p_values as given
from circuitstore.evaluation.circuit_tests import HYPOTHESES

IDLE = ("input->a2.h1<v>", "a2.h1->m2", "m2->logits")


@pytest.fixture(scope="module")
def chain():
    """A planted model, pairs of images, and its circuit."""
    made = plant("chain", distractors=False)
    pairs = ImagePairs.of(made.model, *made.images(8, 0), [0] * 8)
    return made.model, pairs, Circuit.from_edges(made.model.graph("split"), sorted(made.edges))


@pytest.fixture(scope="module")
def noisy(toy_vit, images):
    """A toy model, pairs of images, and half of its edges."""
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 8, 1), images(model, 8, 2), [0, 1, 2, 3] * 2)
    return model, pairs, random_circuit(model.graph("block"), 14, seed=1)


def test_a_planted_circuit_passes_the_tests(chain):
    found = hypothesis_tests(*chain, draws=40)
    rejected = found.to_pandas().set_index("test")["rejected"].to_dict()
    assert not (rejected["equivalence"] or rejected["independence"] or rejected["minimality"])
    assert rejected["sufficiency"] and not found.unneeded and (found.edge_p_values == 1).all()
    assert found["equivalence"].found == "the same metric on every image"
    (note,) = found.notes  # random circuits that share an edge of a chain harm as much: these are not wins
    ties = int(note.removeprefix("partial-necessity: ").split()[0])
    assert 0 < ties < 20
    assert found["partial-necessity"].p_value == pytest.approx(given.beats_random(40 - ties, 40))


def test_edges_that_do_nothing_are_not_needed(chain):
    model, pairs, circuit = chain
    padded = Circuit.from_edges(circuit.graph, [*circuit.edges, *IDLE])
    found = hypothesis_tests(model, pairs, padded, tests=["minimality"], draws=40)
    assert set(found.unneeded) == set(IDLE) and found["minimality"].rejected
    assert found["minimality"].found == "3 of 6 edges are not needed"


def test_an_irrelevant_circuit_is_neither_sufficient_nor_necessary(chain):
    """It does as little as most random circuits, and its removal harms as little: neither is a win."""
    model, pairs, circuit = chain
    idle = Circuit.from_edges(circuit.graph, IDLE)
    found = hypothesis_tests(model, pairs, idle, tests=["sufficiency", "partial-necessity"], draws=40)
    assert found["sufficiency"].p_value == found["partial-necessity"].p_value == 1
    assert sum("give the same metric as the circuit" in note for note in found.notes) == 2


@pytest.mark.parametrize("classes", [1, 2], ids=["corrupted made from clean", "classes mixed"])
def test_independence_holds_for_an_exactly_faithful_circuit_although_m_of_x_prime_follows_m_of_x(classes):
    made = plant("chain", distractors=False)
    model, graph = made.model, made.model.graph("split")
    clean, corrupted = made.images(24, 0)
    signal = torch.linspace(0.5, 2, 24, dtype=torch.float64)[:, None, None]
    clean[:, 0], corrupted[:, 0] = signal, 0.4 * signal if classes == 1 else 0.1 * signal.flip(0)
    pairs = ImagePairs.of(model, clean, corrupted, [i % classes for i in range(24)])
    planted = Circuit.from_edges(graph, sorted(made.edges))
    full, empty, outside = (o.metric.numpy() for o in outcomes(model, pairs, [Circuit(graph, ~planted.members)]))
    assert np.abs(outside - empty).max() < 1e-12 < given.independence(empty, full) < 0.01
    assert hypothesis_tests(model, pairs, planted, tests=["independence"])["independence"].p_value == 1
    idle = Circuit.from_edges(graph, IDLE)  # all that the model does is outside
    assert hypothesis_tests(model, pairs, idle, tests=["independence"])["independence"].rejected


@pytest.mark.slow
def test_p_values_are_those_of_the_figures(noisy):
    model, pairs, circuit = noisy
    found = hypothesis_tests(*noisy, draws=30, seed=3)
    runs = outcomes(model, pairs, [circuit, Circuit(circuit.graph, ~circuit.members)])
    full, empty, inside, outside = (run.metric.numpy() for run in runs)
    assert found["equivalence"].p_value == given.equivalence(inside, full)
    p = found["independence"].p_value
    assert p == pytest.approx(given.independence(outside - empty, full), abs=0.1)
    assert found["minimality"].p_value == found.edge_p_values.min()
    assert list(found.to_pandas()["test"]) == list(HYPOTHESES) and len(found.edge_p_values) == circuit.n_edges


@pytest.mark.slow
def test_results_depend_on_the_seed_only_and_a_single_test_gives_the_same_result(noisy):
    first, again, other = (hypothesis_tests(*noisy, draws=8, seed=s).to_pandas() for s in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)
    reported = []
    execution = Execution(batch_size=4, progress=lambda *at: reported.append(at))
    hypothesis_tests(*noisy, draws=7, execution=execution)
    assert reported[-1] == (2 + 4 * 7 + 14, 2 + 4 * 7 + 14) and reported == sorted(reported)


@pytest.mark.slow
def test_random_circuits_are_rarely_sufficient_or_necessary(noisy):
    model, pairs, circuit = noisy
    tests, p = ["sufficiency", "partial-necessity"], []
    for seed in range(6):
        drawn = random_circuit(circuit.graph, 14, seed=1000 + seed)
        found = hypothesis_tests(model, pairs, drawn, tests=tests, draws=30, seed=seed)
        p += [verdict.p_value for verdict in found.verdicts]
    assert np.mean(np.array(p) <= 0.05) < 0.1


def test_too_few_draws_and_images_are_noted(noisy):
    model, pairs, circuit = noisy
    found = hypothesis_tests(model, pairs[:3], circuit, draws=10, null="uniform")
    notes = " ".join(found.notes)
    assert "10 random circuits are too few" in notes and "3 images are too few" in notes


def test_circuits_that_cannot_be_tested_raise(noisy):
    model, pairs, circuit = noisy
    with pytest.raises(InputError, match="all edges"):
        hypothesis_tests(model, pairs, Circuit(circuit.graph, np.ones(circuit.graph.n_edges, bool)))
    with pytest.raises(InputError, match="at least one edge"):
        hypothesis_tests(model, pairs, Circuit(circuit.graph, np.zeros(circuit.graph.n_edges, bool)))
    with pytest.raises(InputError, match="sufficiency"):
        hypothesis_tests(*noisy, tests=["suficiency"])
    with pytest.raises(InputError, match="draws"):
        hypothesis_tests(*noisy, draws=0)
    with pytest.raises(InputError, match="equivalence"):
        hypothesis_tests(*noisy, tests=["equivalence"])["equivalenc"]
