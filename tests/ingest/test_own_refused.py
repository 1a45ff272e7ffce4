"""A user's own results that do not fit together, or that contradict the store, are errors and change nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import circuitstore as cs
import numpy as np
import pytest
import torch
from circuitstore.circuits import Circuit, EdgeScores
from circuitstore.errors import InputError
from circuitstore.ingest import index, parse_spec
from circuitstore.ingest.own import OwnResult
from circuitstore.store import open_store

from .own_world import SPEC, World


def refused(tmp_path: Path, results: Any, run_name: Any = "mine") -> str:
    """Return the error message, and check that nothing was written."""
    with pytest.raises(InputError) as caught:
        cs.store_results(run_name, results, location=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    return str(caught.value)


def wrong_images(**changes: Any) -> Callable[[World], OwnResult]:
    return lambda w: w.result(3, True, images=w.images(3, True, **changes))


def wrong(**changes: Any) -> Callable[[World], OwnResult]:
    return lambda w: w.result(3, True, **changes)


def of_circuits(make: Callable[[EdgeScores], list[Any]], **changes: Any) -> Callable[[World], OwnResult]:
    def build(w: World) -> OwnResult:
        scores = w.scores(0)
        return w.result(3, **{"scores": scores, "circuits": make(scores), **changes})

    return build


def unpruned(scores: EdgeScores) -> list[Circuit]:
    members = np.zeros(scores.graph.n_edges, bool)
    members[scores.graph.index_of("input->m0")] = True
    return [Circuit(scores.graph, members)]


TOO_SMALL = cs.ComputationGraph(2, 2)
REFUSED: list[tuple[Callable[[World], Any], str]] = [
    (lambda w: "three", "expected an OwnResult, got str"),
    (wrong(model="digits"), "model: expected a loaded model, got str; load it: cs.load_model(module)"),
    (wrong(method="my-gradients"), "method: circuitstore has no 'my-gradients'; a kind of your own needs a version"),
    (wrong(method="eap-gi"), "did you mean 'eap-ig'"),
    (wrong(method={"kind": "eap-ig", "version": 3}), "'eap-ig' is a kind of circuitstore and has its own version"),
    (wrong(method={"kind": "eap-ig", "step": 3}), "method 'eap-ig': unknown parameter 'step'"),
    (wrong(method={"kind": "mine", "version": 0}), "method: version: expected a whole number of at least 1, got 0"),
    (wrong(method={"kind": "my method", "version": 1}), "method: expected the name of a kind"),
    (wrong(method={"version": 1}), "method: expected the name of a kind"),
    (wrong(method={"kind": "mine", "version": 1, "a": [1]}), "method: a: expected a text, a finite number"),
    (wrong(method={"kind": "mine", "version": 1, "a": float("nan")}), "method: a: expected a text, a finite number"),
    (wrong(method="flow-routes"), "scores of 'flow-routes' are signed=False, shares=True, these are signed=True"),
    (wrong(metric="logits"), "metric: circuitstore has no 'logits'; did you mean 'logit'"),
    (wrong(metric="logit-diff"), "target: the metric logit-diff needs a target class, got none"),
    (wrong(metric={"kind": "logit-diff", "target": "three"}), "target: class 3 is the class itself"),
    (wrong(direction="forward"), "unknown direction 'forward'"),
    (wrong(seed=-1), "seed: expected a whole number of at least 0, got -1"),
    (wrong(scores=None, circuits=[]), "scores, circuits: expected scores, circuits, or both, got neither"),
    (wrong(scores=np.zeros(3)), "scores: expected EdgeScores, got ndarray"),
    (wrong(provenance={"torch": "2"}), "provenance: torch is reserved by circuitstore"),
    (wrong(provenance={"x": float("inf")}), "provenance: expected JSON values by name"),
    (wrong(report=(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8))), "clean: expected"),
    (
        wrong(metric={"kind": "my-metric", "version": 1}, report=(torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64))),
        "report: circuits cannot be evaluated with your own metric 'my-metric'; give their evaluations",
    ),
    (
        lambda w: w.result(3, report=(w.clean(3)[:4], w.clean(7)[:4])),
        "report: image 0 is also image 0 of `images`",
    ),
    (
        lambda w: w.result(3, scores=w.scores(0, count=5), circuits=[]),
        "scores: expected scores of the 12 images, got",
    ),
    (
        lambda w: w.result(3, scores=EdgeScores(TOO_SMALL, np.zeros(TOO_SMALL.n_edges)), circuits=[]),
        "scores: their graph has 2 layers of 2 heads, digits has 4 of 4",
    ),
    (of_circuits(lambda s: [s]), "circuits: expected Circuit, or (Circuit, Evaluation), got EdgeScores"),
    (of_circuits(unpruned), "circuits: edge input->m0 is on no path through the block form"),
    (of_circuits(lambda s: [s.top(9), s.top(9)]), "circuits: two have the extraction top(n=9); give one another name"),
    (
        of_circuits(lambda s: [s.top(9), s.top(8)], scores=None),
        "circuits: without scores, expected at most one circuit",
    ),
    (
        of_circuits(lambda s: [replace(s, mean=s.mean + 1).top(9)]),
        "circuits: top(n=9) was extracted from other scores",
    ),
    (
        lambda w: w.result(3, circuits=[cs.Circuit.from_edges(w.model.graph("split"), ["input->logits"])]),
        "circuits: expected form block, got split",
    ),
    (of_circuits(lambda s: [replace(s.top(9), extraction="by hand!")]), "expected a name, such as my-cut"),
    (wrong_images(class_name="drei"), "class_name: 'drei' is not a class"),
    (wrong_images(class_index=10), "class_index: digits has classes 0 to 9, got 10"),
    (wrong_images(class_name=" three"), "class_name: expected 1 to 200 printable characters"),
    (wrong_images(dataset=""), "dataset: expected 1 to 200 printable characters"),
    (wrong_images(dataset="a\ud800"), "dataset: expected 1 to 200 printable characters"),
    (wrong_images(word="a\nb"), "word: expected 1 to 200 printable characters"),
    (wrong_images(against="eight"), "against: expected a list of names"),
    (wrong_images(target="acht"), "target: 'acht' is not a class"),
    (wrong_images(target="three"), "target: class 3 is the class itself"),
    (wrong_images(condition="natural", corruption="unattacked-twin"), "corruption: unattacked-twin contrasts natural"),
    (wrong_images(condition="typografic"), "condition: circuitstore has no 'typografic'; did you mean 'typographic'"),
    (wrong_images(images=[]), "images: expected at least one image, got none"),
    (wrong_images(images="three.png"), "images: expected pixels, a list of files or of hashes, got str"),
    (wrong_images(images=["three.png"]), "images: expected the SHA-256 of an image (64 digits"),
    (wrong_images(images=[Path("nowhere.png")]), "images: nowhere.png cannot be read (No such file or directory)"),
    (wrong_images(images=torch.zeros(12)), "images: expected pixels with one image per row"),
    (wrong_images(images=torch.full((12, 3, 2, 2), torch.nan)), "images: NaN or infinite pixels in image 0"),
    (wrong_images(images=torch.zeros(12, 3, 2, 2)), "images: 0 and 1 (counted from 0) are the same image"),
    (wrong_images(attacked=torch.zeros(3, 3, 2, 2)), "attacked: expected one for each of 12 images, got 3"),
    (wrong_images(files=["a.png"]), "files: expected a name for each of 12 images, got 1"),
]


@pytest.mark.parametrize(("make", "said"), REFUSED, ids=[said[:50] for _, said in REFUSED])
def test_invalid_results_are_errors_before_anything_is_written(
    world: World, tmp_path: Path, make: Callable[[World], Any], said: str
) -> None:
    message = refused(tmp_path, [make(world)])
    assert message.startswith("result 0: ") and said in message, message


def test_a_run_without_name_or_results_is_an_error(world: World, tmp_path: Path) -> None:
    for name in ("", " mine", "a\nb", "x" * 201, 5):
        assert "run: expected 1 to 200 printable characters" in refused(tmp_path, [world.result(3)], name)
    assert "results: expected at least one OwnResult, got none" in refused(tmp_path, [])
    said = refused(tmp_path, [world.result(3), world.result(7), world.result(3, circuits=[])])
    assert said.startswith("results 0 and 2 answer the same question (digits, mine 'three', natural)")


@pytest.fixture
def stored(world: World, tmp_path: Path) -> Iterator[Path]:
    cs.store_results("mine", world.results(), location=tmp_path / "data")
    yield tmp_path / "data"


def unchanged(folder: Path, act: Callable[[], object]) -> str:
    """Return the error message, and check that the store is unchanged."""

    def content() -> list[tuple[str, str]]:
        with open_store(folder) as store:
            return sorted(zip(store.circuits()["id"], store.circuits()["sha256"], strict=True))

    before = content()
    with pytest.raises(InputError) as caught:
        act()
    assert content() == before
    return str(caught.value)


def test_another_answer_to_the_same_question_is_an_error(world: World, stored: Path) -> None:
    other = world.scores(99)
    results = [world.result(8), world.result(7, scores=other, circuits=[other.greedy(12)])]
    said = unchanged(stored, lambda: cs.store_results("mine", results, location=stored))
    assert said.startswith("result 1: the store has another answer to this question (digits, mine 'seven', natural, ")
    assert "raise its version" in said


def test_other_edges_of_the_same_extraction_are_an_error(world: World, stored: Path) -> None:
    scores = world.scores(30)
    result = world.result(3, scores=scores, circuits=[replace(scores.greedy(14), extraction="greedy(n=12)")])
    said = unchanged(stored, lambda: cs.store_results("mine", [result], location=stored))
    assert "the store has other edges for edges(n=12) of this result" in said


def test_the_same_computation_on_another_machine_keeps_the_first(world: World, stored: Path) -> None:
    scores = world.scores(30)
    moved = EdgeScores.from_images(scores.graph, scores.per_image * np.float32(1 + 1e-6))
    done = cs.store_results("mine", [world.result(3, scores=moved, circuits=[])], location=stored)
    assert (done.done, done.skipped) == (0, 1) and "the first result was kept" in done.notices[0]


def test_more_circuits_of_a_stored_result_are_added(world: World, stored: Path) -> None:
    scores = world.scores(30)
    done = cs.store_results("more", [world.result(3, circuits=[scores.greedy(20)], scores=scores)], location=stored)
    assert (done.done, done.skipped, done.circuits) == (0, 1, 1)
    with open_store(stored) as store:
        assert len(store.circuits("more")) == 1 and len(store.circuits()) == 9


def test_names_have_one_meaning(world: World, stored: Path) -> None:
    other = replace(world.model, computation="f" * 64)
    said = unchanged(stored, lambda: cs.store_results("mine", [world.result(8, model=other)], location=stored))
    assert "the store has another model named 'digits'" in said
    images = world.images(3, class_name="seven", class_index=3)
    said = unchanged(stored, lambda: cs.store_results("mine", [world.result(3, images=images)], location=stored))
    assert said.startswith("class_index: the store has mine 'seven' as class 7 of digits, here it is 3")


def test_own_results_of_a_sample_are_not_another_data_set(world: World, computed: Path, tmp_path: Path) -> None:
    """Own images with the name of an indexed data set do not mean that its folder is a different one."""
    folder = shutil.copytree(computed, tmp_path / "data")
    results = [world.result(d, images=world.images(d, dataset="digits")) for d in range(10)]
    results += [world.result(d, True, images=world.images(d, True, dataset="digits")) for d in range(10)]
    cs.store_results("mine", results, location=folder)
    assert index(parse_spec(SPEC), location=folder, progress=False).skipped == 2
