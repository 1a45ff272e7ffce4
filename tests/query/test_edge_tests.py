"""The named query `changed-edges`: rows of the test, members, controls and errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from circuitstore.circuits import Discovery, EdgeScores, changed_edges
from circuitstore.errors import InputError, NotComparable
from circuitstore.query import named_queries, run
from circuitstore.store import Store, open_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

from ..toy_studies import Answers, fill, of_model


def answer(item, shift: float = 0.0, edges: slice = slice(0), n_images: int = 18) -> Discovery:
    """The scores of the natural item on its images, with a change of some edges."""
    natural = make_discovery(n_images=n_images, item=make_item(n_layers=3, n_heads=2))
    change = np.zeros(natural.universe.n_edges, np.float32)
    change[edges] = shift
    scatter = 0.2 * np.random.default_rng(len(item.model.name)).normal(size=natural.scores.per_image.shape)
    moved = (natural.scores.per_image + change + scatter).astype(np.float32)
    return replace(natural, item=item, scores=EdgeScores.from_images(natural.universe, moved).rounded())


ITEM = make_item(n_layers=3, n_heads=2)
BASE, TUNED, CONTROL = (of_model(ITEM, name, id * 64) for name, id in (("b", "1"), ("tuned", "2"), ("control", "3")))
SMALL = of_model(ITEM, "small", "4" * 64)


@pytest.fixture(scope="module")
def answers() -> Answers:
    """A base model, a fine-tune that changes 20 edges much and 20 a little, a control that changes the latter only."""
    tuned = answer(TUNED, 2.0, slice(0, 20))
    change = np.zeros(tuned.universe.n_edges, np.float32)
    change[20:40] = 0.4
    tuned = replace(tuned, scores=EdgeScores.from_images(tuned.universe, tuned.scores.per_image + change).rounded())
    found = [answer(BASE), tuned, answer(CONTROL, 0.5, slice(20, 40)), answer(SMALL, n_images=9)]
    return Answers(found, [make_record(d, 30) for d in found])


@pytest.fixture(scope="module")
def store(answers: Answers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("changed") / "data"
    fill(folder, answers)
    with open_store(folder) as opened:
        yield opened


def values(answers: Answers, a: int, b: int, **more) -> dict:
    return {"a": answers.records[a].id[:20], "b": answers.records[b].id, **more}


def test_the_rows_are_those_of_the_test(store: Store, answers: Answers) -> None:
    table = run(store, "changed-edges", values(answers, 0, 1, level=1))
    expected = changed_edges(*answers.discoveries[:2])
    frame = table.to_pandas().set_index("edge").loc[list(expected.universe.edge_names)]
    for name in ("before", "after", "difference", "standardised", "low", "high", "p", "q"):
        np.testing.assert_array_equal(frame[name], getattr(expected, name))
    for name, record in zip(("in_a", "in_b"), answers.records, strict=False):
        np.testing.assert_array_equal(frame[name], record.circuit.members)
    assert list(table.frame) == list(named_queries()["changed-edges"].columns)
    assert frame["beyond_control"].isna().all()
    assert table.facts["design"] == "paired" and table.facts["images"] == 18
    assert table.facts["changed"] == expected.changed().sum()


def test_changed_edges_come_first_and_others_are_left_out(store: Store, answers: Answers) -> None:
    frame = run(store, "changed-edges", values(answers, 0, 1)).to_pandas()
    names = answers.discoveries[0].universe.edge_names
    assert set(names[:20]) <= set(frame["edge"]) and len(set(frame["edge"]) - set(names[:40])) <= 3
    assert frame["q"].is_monotonic_increasing and (frame["q"] <= 0.05).all()
    strict = run(store, "changed-edges", values(answers, 0, 1, correction="by")).to_pandas()
    assert set(strict["edge"]) < set(frame["edge"])


def test_a_control_marks_changes_that_are_larger_than_its_own(store: Store, answers: Answers) -> None:
    control = answers.records[2].id
    table = run(store, "changed-edges", values(answers, 0, 1, control=control))
    frame = table.to_pandas()
    beyond = set(frame.loc[frame["beyond_control"].astype(bool), "edge"])
    assert beyond == set(answers.discoveries[0].universe.edge_names[:20]) < set(frame["edge"])
    assert 0.4 < table.facts["control_quantile"] < 0.8


def test_too_few_images_and_other_graphs_raise_an_error(store: Store, answers: Answers) -> None:
    with pytest.raises(InputError, match="9 images are common to both sides"):
        run(store, "changed-edges", values(answers, 0, 3))
    with pytest.raises(InputError, match="correction"):
        run(store, "changed-edges", values(answers, 0, 1, correction="none"))
    with pytest.raises(InputError, match="no circuit has an id"):
        run(store, "changed-edges", values(answers, 0, 1, control="xyz"))


def test_circuits_that_are_not_comparable_raise_an_error(store_of, answers: Answers) -> None:
    other = make_discovery(n_images=18, item=make_item(n_layers=3, n_heads=2, metric="logit-diff"))
    both = Answers([answers.discoveries[0], other], [answers.records[0], make_record(other, 30)])
    with pytest.raises(NotComparable, match="metric"):
        run(store_of(both), "changed-edges", values(both, 0, 1))
