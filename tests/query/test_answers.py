"""Named queries give the same answers as plain Python on the records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from circuitstore.query import ask, named_queries, run
from pandas.testing import assert_frame_equal

from . import circuit_oracles, study_oracles  # noqa: F401  # they enter their answers in ORACLES
from .conftest import CIRCUITS, MODELS, Library
from .oracles import ATTACK, ORACLES, feeds

MAIN = {
    "model": "toy-3x2",
    "dataset": "toys",
    "form": "split",
    "method": "eap-ig(rule=midpoint, steps=5)",
    "metric": "logit",
    "direction": "noising",
    "corruption": "other-class",
    "extraction": "edges(n=24)",
}
MANY = {**MAIN, "dataset": "many"}
PAIRED = {k: v for k, v in {**MAIN, "dataset": "models"}.items() if k != "model"}
BASE, TUNED = (id[:10] for id in MODELS.values())
WEAK = {**MAIN, "dataset": "weak"}
ATTENTION = {**MAIN, "form": "attention", "extraction": "edges(n=12)"}
CLASSES = [f"class-{i}" for i in range(10)]
NEW = {**MAIN, "extraction": "edges(n=40)"}
QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("studies", {}),
    ("circuits-of-class", {"class": "class-7"}),
    ("jaccard-of-two", {"a": 0, "b": 2}),
    ("jaccard-of-two", {"a": 5, "b": 5}),
    ("difference-of-two", {"a": 0, "b": 3}),
    ("difference-of-two", {"a": 4, "b": 4}),
    ("circuits-containing-edge", {"edge": "m0->logits"}),
    ("circuits-containing-edge", {"edge": "a0.h1->a1.h0<v>"}),
    ("circuits-containing-edge", {"edge": "no such edge"}),
    *[("top-edges", {"circuit": i}) for i in (0, 75)],
    ("top-edges", {"circuit": 0, "limit": 3}),
    *[("edges-of-circuit", {"circuit": i}) for i in (0, 75)],
    *[("edges-of-node", {"circuit": 1, "node": node}) for node in ("m0", "a1.h0", "logits", "input")],
    *[("node-books", {"circuit": i}) for i in (0, 1, 75)],
    *[("unstable-edges", {"circuit": i}) for i in (0, 3)],
    *[("nearest-circuits", {"circuit": i}) for i in (0, 250, 255)],
    ("nearest-circuits", {"circuit": 250, "measure": "dice"}),
    ("unstable-edges", {"circuit": 3, "below": 0.3}),
    *[("paths", {"circuit": i, "longest": longest}) for i in (1, 75) for longest in (1, 2, 4)],
    *[("paths", {"circuit": i}) for i in (1, 75)],
    *[
        (name, {**p, **more})
        for name in ("consensus-edges", "shared-by-all-classes", "component-usage", "edges-by-layer", "usage-by-depth")
        for p in (MAIN, NEW, MANY, ATTENTION)
        for more in ({}, {"condition": ATTACK})
    ],
    ("consensus-edges", {**MANY, "share": 0.3}),
    ("consensus-edges", {**MAIN, "share": 0.7}),
    *[("edges-shared-by", {**p, "classes": ["class-1", "class-4"]}) for p in (MAIN, NEW, MANY, ATTENTION)],
    ("edges-shared-by", {**NEW, "classes": CLASSES}),
    *[("edges-only-in", {**p, "class": name}) for p in (NEW, MANY) for name in CLASSES[:5]],
    *[(name, {**p, "class": "class-2"}) for name in ("gained-and-lost", "score-shift") for p in (MAIN, NEW, ATTENTION)],
    *[("gained-and-lost", {**MANY, "class": "class-2", "share": share}) for share in (0.2, 0.5)],
    ("score-shift", {**MANY, "class": "class-2"}),
    *[("attack-reuse", {**p, "share": 0.1}) for p in (MAIN, MANY, ATTENTION)],
    ("attack-reuse", {**MAIN, "share": 0.6, "natural_share": 0.5}),
    *[(name, p) for name in ("faithfulness", "sizes") for p in (MAIN, MANY, ATTENTION)],
    *[(name, WEAK) for name in ("consensus-edges", "shared-by-all-classes", "component-usage", "faithfulness")],
    *[(name, {**PAIRED, "model": m}) for name in ("consensus-edges", "sizes") for m in (BASE, TUNED)],
    ("gained-and-lost", {**PAIRED, "model": TUNED, "class": "class-1"}),
    *[
        (name, {**PAIRED, **of_class, "before": before, "after": after, **more})
        for name, of_class in (("gained-and-lost-between-models", {"class": "class-1"}), ("changes-between-models", {}))
        for before, after in ((BASE, TUNED), (TUNED, BASE))
        for more in ({}, {"condition": ATTACK})
    ],
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "params"), QUESTIONS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(QUESTIONS)])
def test_the_answer_is_that_of_plain_python(library: Library, name: str, params: dict[str, Any]) -> None:
    params = {k: library.records[v].id[:20] if k in ("circuit", "a", "b") else v for k, v in params.items()}
    expected = ORACLES[name](library, **params)
    table = run(library.store, name, params)
    assert list(table.frame.columns) == list(named_queries()[name].columns)
    given = [tuple(row.values()) for row in table]
    if name == "paths":  # the order of paths is not defined
        given, expected = sorted(given), sorted(expected)
    assert len(given) == len(expected)
    for row, wanted in zip(given, expected, strict=True):
        assert [_plain(v) for v in row] == [_near(v) for v in wanted]


PACKED = [(n, p) for n, p in QUESTIONS if named_queries()[n].packed]


@pytest.mark.parametrize(("name", "params"), PACKED, ids=[f"{n}-{i}" for i, (n, _) in enumerate(PACKED)])
def test_texts_for_one_engine_give_the_same_rows_and_keep_the_limit(
    library: Library, name: str, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(library.store, name, _with_ids(library, params))
    values = whole.facts["parameters"]
    plain = {query.name: replace(query, packed={}) for query in named_queries().values()}
    for cap in {1, len(whole) - 1, len(whole), len(whole) + 1, 10_000} - {-1, 0}:
        given = run(library.store, name, values, max_rows=cap)
        with monkeypatch.context() as patch:
            patch.setattr(ask, "get_named", plain.__getitem__)
            common = run(library.store, name, values, max_rows=cap)
        assert_frame_equal(given.frame, common.frame, rtol=1e-12)
        assert given.notes == common.notes


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value


def _near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-5, abs=1e-6) if isinstance(value, float) else value


OF_NEURONS = {"neurons-of-class", "neurons-shared", "neuron-in-edge-circuits"}
"""Queries about paths of neurons, which the library does not have; tests/store/test_neuron_paths.py asks them."""

ASKED_OF_THE_GRAPH = {name for name, query in named_queries().items() if query.answer is None} - OF_NEURONS - {"notes"}
"""Queries about circuits of the library; test_notes.py asks for notes."""


def test_every_named_query_is_asked() -> None:
    assert {name for name, _ in QUESTIONS} == ASKED_OF_THE_GRAPH == set(ORACLES)


@pytest.mark.slow
def test_questions_have_answers(library: Library) -> None:
    """Almost all: a query that finds nothing would agree with an oracle that finds nothing."""
    answered = {name for name, p in QUESTIONS if ORACLES[name](library, **_with_ids(library, p))}
    assert answered == ASKED_OF_THE_GRAPH


def _with_ids(library: Library, params: dict[str, Any]) -> dict[str, Any]:
    return {k: library.records[v].id if k in ("circuit", "a", "b") else v for k, v in params.items()}


def test_the_library_is_large_and_has_parallel_edges_and_structural_links(library: Library) -> None:
    assert len(library.records) == CIRCUITS
    parallel = [r for r in library.records if len({(f.sender, f.receiver) for f in feeds(r)}) < r.circuit.n_edges]
    assert len(parallel) > 100
    assert sum(bool(r.circuit.links) for r in library.records) > 15
