"""Completeness and minimality on models whose circuits are known."""

from functools import partial

import numpy as np
import pytest
from circuitstore.benchmarks.planted import plant
from circuitstore.circuits import Circuit
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs, completeness, evaluate, minimality

from ..reference import logits_of

IDLE = ("input->a2.h1<v>", "a2.h1->m2", "m2->logits")


def planted(gate: str, *more: str, without: str = "", distractors: bool = False):
    """A model, pairs of images, and a circuit of all planted edges except some, plus others."""
    made = plant(gate, distractors=distractors)
    edges = [e for e in sorted(made.edges) if not (without and without in e)]
    circuit = Circuit.from_edges(made.model.graph("split"), [*edges, *more])
    return made.model, ImagePairs.of(made.model, *made.images(4, 0), [0] * 4), circuit


@pytest.mark.parametrize("form", ["split", "attention"])
def test_the_whole_model_is_exactly_complete(toy_vit, images, form):
    model = toy_vit()
    graph = model.graph(form)
    whole = Circuit(graph, np.ones(graph.n_edges, bool))
    pairs = ImagePairs.of(model, images(model, 3, 1), images(model, 3, 2), [0, 1, 2])
    found = completeness(model, pairs, whole, draws=4, steps=2, candidates=2)
    assert found.worst == 0 and len(found.kinds) == 8
    assert np.ptp(found.of_model) > 0.1


def test_figures_equal_evaluations_of_the_remaining_edges(toy_vit, images):
    model = toy_vit()
    graph = model.graph("attention")
    circuit = Circuit(graph, np.random.default_rng(0).random(graph.n_edges) < 0.5)
    x, y = images(model, 5, 1), images(model, 5, 2)
    pairs, execution = ImagePairs.of(model, x, y, [0, 1, 2, 3, 4]), Execution(batch_size=2)
    found = completeness(model, pairs, circuit, draws=3, steps=2, candidates=3, seed=1, execution=execution)
    near = partial(pytest.approx, rel=0, abs=1e-12 * np.abs(logits_of(model, x, y)).max())
    for k, of_circuit, of_model in zip(found.removed, found.of_circuit, found.of_model, strict=True):
        assert not (k & ~circuit.members).any()
        assert of_circuit == near(evaluate(model, pairs, Circuit(graph, circuit.members & ~k)).metric_circuit)
        assert of_model == near(evaluate(model, pairs, Circuit(graph, ~k)).metric_circuit)
    whole = evaluate(model, pairs, circuit)
    assert found.full == near(whole.metric_full)
    assert found.empty == near(whole.metric_empty)
    greedy = found.to_pandas().query("kind == 'greedy'")
    assert greedy["n_removed"].tolist() == [1, 2]
    assert found.notes or found.share == pytest.approx(found.difference / (found.full - found.empty))


def test_a_planted_circuit_is_complete_and_necessary():
    found = completeness(*planted("chain"), draws=6, steps=3, candidates=3)
    assert found.worst < 1e-12 and abs(found.outside) < 1e-12 and not found.notes


def test_a_missing_backup_shows_when_the_edge_it_backs_up_is_removed():
    part = planted("or", without="a0.h1")
    assert evaluate(*part).faithfulness == pytest.approx(1)  # faithful, and yet:
    found = completeness(*part, draws=4, steps=1, candidates=3)
    assert found.difference[0] == pytest.approx(0, abs=1e-12)
    assert found.outside == pytest.approx(0, abs=1e-12)  # as m1->logits is in it
    assert found.worst == pytest.approx(1) and found.difference.max() == pytest.approx(1)
    assert found.kinds[int(found.difference.argmax())] in ("random", "greedy")


def test_the_greedy_search_finds_the_worst_edge_when_it_tries_all():
    part = planted("or", without="a0.h1")
    found = completeness(*part, draws=0, steps=1, candidates=part[2].n_edges)
    (row,) = found.to_pandas().query("kind == 'greedy'").to_dict("records")
    assert row["n_removed"] == 1 and row["difference"] == pytest.approx(1)
    assert not found.removed[-1][part[2].graph.index_of("m1->logits")]


def test_an_edge_that_does_nothing_is_not_minimal():
    found = minimality(*planted("chain", *IDLE), draws=3)
    effect = dict(zip(found.edges, found.largest, strict=True))
    assert [effect[e] for e in IDLE] == pytest.approx([0] * 3, abs=1e-12)
    assert [v for e, v in effect.items() if e not in IDLE] == pytest.approx([1] * 3)
    assert list(found.to_pandas()["share"]) == pytest.approx(list(found.largest))


def test_branches_that_back_each_other_up_matter_when_the_other_is_removed():
    found = minimality(*planted("or"), draws=12)
    rows = found.to_pandas().set_index("edge")
    branch = rows.drop(index="m1->logits")
    assert branch["alone"].to_numpy() == pytest.approx([0] * 4, abs=1e-12)
    assert branch["largest"].to_numpy() == pytest.approx([1] * 4)
    assert (branch["n_removed"] >= 1).all()
    assert rows.loc["m1->logits", "alone"] == pytest.approx(1) and rows.loc["m1->logits", "n_removed"] == 0


def test_the_seed_decides_the_result_and_progress_reaches_its_total():
    part, reported = planted("or", *IDLE), []
    options = {"draws": 1, "execution": Execution(batch_size=3, progress=lambda *at: reported.append(at))}
    first, again, other = (minimality(*part, **options, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.effects, again.effects) and not np.array_equal(first.removed, other.removed)
    assert reported[-1] == (18, 18) and reported[: len(reported) // 3] == sorted(reported[: len(reported) // 3])
    reported.clear()
    found = completeness(*part, steps=20, candidates=2, **options)
    assert reported[-1][0] == reported[-1][1] and len(found.kinds) == 2 + 1 + 8


def test_without_a_gap_shares_are_undefined_with_a_reason():
    model, pairs, circuit = planted("chain")
    swapped = ImagePairs.of(model, pairs.corrupted, pairs.clean, pairs.labels)
    found = completeness(model, swapped, circuit, draws=1, steps=0)
    assert np.isnan(found.share).all() and "not above" in found.notes[0]
    assert minimality(model, swapped, circuit, draws=0).to_pandas()["share"].isna().all()


def test_an_empty_circuit_and_numbers_out_of_range_raise():
    model, pairs, circuit = planted("chain")
    empty = Circuit(circuit.graph, np.zeros(circuit.graph.n_edges, bool))
    for function in (completeness, minimality):
        with pytest.raises(InputError, match="at least one edge"):
            function(model, pairs, empty)
        with pytest.raises(InputError, match="draws"):
            function(model, pairs, circuit, draws=-1)
    with pytest.raises(InputError, match="candidates"):
        completeness(model, pairs, circuit, candidates=0)
