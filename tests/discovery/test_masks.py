"""Learned masks: properties of the samplers, planted circuits, and resuming from a journal."""

import os
import subprocess

import numpy as np
import pytest
import torch
from circuitstore.discovery import METHODS, discover, score_edges
from circuitstore.discovery.methods import edge_pruning as hard_concrete
from circuitstore.discovery.methods import ugs
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs, Journal
from circuitstore.evaluation import journal as journals

from ..planted import PLANTED, planted_model

GRID = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
"""Uniform numbers in place of random ones."""

LEARNED = [("ugs", {"steps": 60}), ("edge-pruning", {"steps": 90, "keep": 3 / 262})]


@pytest.fixture(scope="module")
def planted(images):
    model = planted_model(0)
    return model, ImagePairs.of(model, images(model, 4, 0), images(model, 4, 10), [0] * 4)


@pytest.mark.parametrize("theta", [0.02, 0.5, 0.9])
def test_ugs_masks_have_mean_theta_and_a_gradient_that_is_uniform(theta):
    probability = torch.tensor([theta], dtype=torch.float64, requires_grad=True)
    masks = ugs.sample(probability, GRID[:, None])
    assert float(masks.detach().mean()) == pytest.approx(theta, abs=1e-6)
    (slope,) = torch.autograd.grad(masks.pow(3).mean(), probability)
    assert float(slope) == pytest.approx(1.0, abs=1e-3)  # ∫ d(g³)/dg dg from 0 to 1


@pytest.mark.parametrize("log_alpha", [-2.0, 0.0, 3.0])
def test_hard_concrete_gates_are_closed_and_open_with_the_stated_probability(log_alpha):
    parameter = torch.tensor([log_alpha], dtype=torch.float64)
    gates = hard_concrete.sample(parameter, GRID[:, None])
    assert float((gates > 0).double().mean()) == pytest.approx(
        float(hard_concrete.open_probability(parameter)), abs=1e-4
    )
    mirrored = hard_concrete.sample(-parameter, GRID[:, None])
    assert float((gates == 1).double().mean()) == pytest.approx(float((mirrored == 0).double().mean()), abs=1e-4)
    assert float(gates.mean()) == pytest.approx(1 - float(mirrored.mean()), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "params"), LEARNED)
def test_the_planted_circuit_is_learned(planted, method, params):
    found = discover(*planted, METHODS.resolve(method, params), seed=1)
    best = np.argsort(-found.scores.mean)[:3]
    assert {found.graph.edge_names[i] for i in best} == PLANTED
    assert not found.scores.signed
    assert not found.scores.additive
    assert found.trace["losses"][-1] < 0.2 * max(found.trace["losses"])
    if found.members is not None:
        assert set(found.circuit.edges) == PLANTED


def test_without_a_penalty_probabilities_stay_up(planted):
    found = discover(*planted, METHODS.resolve("ugs", {"steps": 30, "penalty": 0.0}))
    assert found.scores.mean.min() >= 1 / (1 + np.exp(-ugs.START)) - 1e-9
    best = np.argsort(-found.scores.mean)[:3]
    assert {found.graph.edge_names[i] for i in best} == PLANTED


@pytest.mark.parametrize("keep", [0.1, 0.5, 1.0])
def test_edge_pruning_selects_the_requested_share(toy_vit, images, keep):
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), [1, 3])
    found = discover(model, pairs, METHODS.resolve("edge-pruning", {"steps": 6, "keep": keep}), form="block")
    assert found.members.sum() == found.trace["edges"] == round(keep * found.graph.n_edges)
    assert found.circuit.n_edges == found.trace["edges_pruned"]
    assert found.scores.mean[found.members].min() >= found.scores.mean[~found.members].max(initial=0)


@pytest.mark.parametrize("method", ["ugs", "edge-pruning"])
def test_results_depend_on_the_seed_and_not_on_batches(toy_vit, images, method):
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 3, 1), images(model, 3, 2), [1, 3, 0])

    def scores(seed, batch_size):
        execution = Execution(batch_size=batch_size)
        return score_edges(model, pairs, method, form="block", seed=seed, execution=execution, steps=4).mean

    assert np.array_equal(scores(0, 3), scores(0, 3))
    assert np.abs(scores(0, 3) - scores(0, 2)).max() < 1e-9
    assert np.abs(scores(0, 3) - scores(1, 3)).max() > 1e-3


class Stopped(Exception):
    """The run was killed."""


PARAMS = {
    "ugs": {"steps": 7},
    "edge-pruning": {"steps": 7},
    "iterative-pruning": {"steps": 1, "fraction": 0.4},
    "iterative-expansion": {"steps": 1, "fraction": 0.7},
}


@pytest.mark.parametrize("method", PARAMS)
def test_a_killed_run_resumes_where_it_stopped(toy_vit, images, tmp_path, monkeypatch, method):
    monkeypatch.setattr(journals, "EVERY_S", 0.0)
    model, path = toy_vit(), tmp_path / "journal.npz"
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), [1, 3])

    def ask(journal, progress=None):
        use, execution = METHODS.resolve(method, PARAMS[method]), Execution(progress=progress, journal=journal)
        return discover(model, pairs, use, form="block", execution=execution)

    whole, done = ask(None), []

    def stop(at, total):
        if at == 5:
            raise Stopped

    with pytest.raises(Stopped):
        ask(path, stop)
    resumed = ask(path, lambda at, total: done.append((at, total)))
    assert done[0][0] == 5  # only the step that was not saved is repeated
    assert done[-1][0] == done[-1][1]
    assert np.array_equal(resumed.scores.mean, whole.scores.mean)
    assert dict(resumed.trace) == dict(whole.trace)
    with pytest.raises(InputError, match="another question"):
        Journal(path, "other").read()


def test_a_journal_damaged_anywhere_is_started_again_or_raises(tmp_path, monkeypatch, caplog):
    """Damaged content is never read: every byte is changed once, and the file is cut at every length."""
    monkeypatch.setattr(journals, "EVERY_S", 0.0)
    path = tmp_path / "[unfinished]"
    Journal(path, "q").save({"losses": np.arange(3.0), "ahead": np.array(2)})
    whole = path.read_bytes()
    assert Journal(path, "q").read()["losses"].tolist() == [0, 1, 2]
    head = whole.index(b"\n") + 1

    def read(content):
        caplog.clear()
        path.write_bytes(content)
        return Journal(path, "q").read(), caplog.text

    for place, byte in enumerate(whole):
        content = whole[:place] + bytes([byte ^ (1 << place % 8)]) + whole[place + 1 :]
        if place < head:
            with pytest.raises(InputError, match=r"expected a journal.*remove the file"):
                read(content)
            assert path.read_bytes() == content
        else:
            state, logged = read(content)
            assert state == {} and "unfinished]: damaged; its progress is lost" in logged, place
    for length in range(0, len(whole), 7):
        state, logged = read(whole[:length])
        assert state == {} and ("damaged" in logged) == (length > 0)
    for content in (bytes(len(whole)), b"\0", b"another file"):
        path.write_bytes(content)
        caplog.clear()
        assert Journal(path, "q", own=True).read() == {} and "damaged" in caplog.text
    path.write_bytes(whole)
    assert Journal(path, "another", own=True).read() == {}
    assert Journal(path, "q", own=True).read()["ahead"] == 2


def test_a_question_with_a_damaged_journal_is_answered_from_the_beginning(toy_vit, images, tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "EVERY_S", 0.0)
    model, path = toy_vit(depth=1), tmp_path / "journal"
    pairs = ImagePairs.of(model, images(model, 1, 1), images(model, 1, 2), [1])

    def ask(journal):
        return score_edges(model, pairs, "ugs", form="block", execution=Execution(journal=journal), steps=2).mean

    ask(path)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert np.array_equal(ask(path), ask(None))
    assert path.read_bytes() != content[:-1]


def test_temporary_files_of_killed_processes_are_removed_and_those_of_living_processes_kept(tmp_path):
    path, dead = tmp_path / "[unfinished].npz", subprocess.Popen(["true"])
    dead.wait()
    left, ours, others = (
        tmp_path / name
        for name in (f"{path.name}.{dead.pid}.tmp", f"{path.name}.{os.getpid()}.tmp", f"more.npz.{dead.pid}.tmp")
    )
    for file in (left, ours, others):
        file.write_bytes(b"half of an arch")
    assert Journal(path, "q").read() == {}
    assert not left.exists() and ours.exists() and others.exists()
