"""Nearest circuits: those of the matrix, stored as a whole, derived, removable, and only of comparable circuits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from circuitstore.errors import InputError, StoreError
from circuitstore.query import run, store_similar
from circuitstore.query.measures import MEASURES
from circuitstore.query.nearest import nearest_pairs
from circuitstore.query.similarity import Similarity
from circuitstore.store import Store, open_store, rebuild_store
from circuitstore.testing.factories import make_discovery, make_record
from hypothesis import given
from hypothesis import strategies as st

from ..toy_studies import Answers, effect_items, fill, mechanism_items

ITEMS = [*effect_items(3), *mechanism_items(2)]
LINKS = "MATCH (a:Circuit)-[s:SIMILAR]->(b:Circuit) RETURN a.id AS a, b.id AS b, s.measure AS measure, s.value AS value"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two sets of comparable circuits: of six and of two."""
    place = tmp_path_factory.mktemp("nearest") / "store"
    fill(place, Answers.to(ITEMS))
    return place


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with open_store(folder) as opened:
        yield opened


def links(store: Store) -> set[tuple[Any, ...]]:
    return set(store.query(LINKS).to_pandas()[["a", "b", "measure"]].itertuples(index=False, name=None))


@given(st.integers(2, 7), st.integers(1, 9), st.integers(0, 2**32), st.booleans())
def test_the_nearest_are_those_with_the_largest_values(n: int, nearest: int, seed: int, undefined: bool) -> None:
    half = np.random.default_rng(seed).integers(0, 4, (n, n)) / 4
    values = np.maximum(half, half.T)
    if undefined:
        values[0], values[:, 0] = np.nan, np.nan
    ids = tuple(f"{i:02}" for i in range(n))
    known = np.where(np.isnan(values), np.nan, 0.5)
    pairs = nearest_pairs(Similarity(ids, MEASURES["spearman"], values, known, known), nearest).to_pylist()
    others = [[j for j in range(n) if j != i and not np.isnan(values[i, j])] for i in range(n)]
    expected = [
        (ids[i], ids[j], values[i, j])
        for i, of in enumerate(others)
        for j in sorted(of, key=lambda j: (-values[i, j], j))[:nearest]
    ]
    assert [(p["from"], p["to"], p["value"]) for p in pairs] == expected
    assert all(p["measure"] == "spearman" and p["chance"] == p["floor"] == 0.5 for p in pairs)


def test_each_circuit_leads_to_the_nearest_comparable_ones(store: Store) -> None:
    table = store_similar(store, 3)
    frame = table.to_pandas()
    assert frame[["metric", "circuits", "similar"]].to_numpy().tolist() in (
        [["logit", 6, 18], ["logit-diff", 2, 2]],
        [["logit-diff", 2, 2], ["logit", 6, 18]],
    )
    assert frame[["jaccard", "noise_floor", "chance"]].notna().all(axis=None)
    metric = dict(zip(store.circuits()["id"], store.circuits()["metric"], strict=True))
    assert len(links(store)) == 20 and all(a != b and metric[a] == metric[b] for a, b, _ in links(store))
    assert len(store.verify()) == 0


def test_relationships_of_a_measure_are_replaced_and_removed(store: Store) -> None:
    store_similar(store, 2)
    store_similar(store, 1, measure="dice", metric="logit")
    both = links(store)
    assert sorted(m for *_, m in both) == ["dice"] * 6 + ["jaccard"] * 14
    store_similar(store, 2)
    assert links(store) == both
    assert len(store_similar(store, 0)) == 0
    assert links(store) == {link for link in both if link[2] == "dice"}
    store_similar(store, 0, measure="dice")
    assert links(store) == set()


def test_the_named_query_walks_them(store: Store) -> None:
    store_similar(store, 2, metric="logit")
    found = store.query(LINKS).to_pandas()
    own = found["a"].iloc[0]
    frame = run(store, "nearest-circuits", {"circuit": own[:16]}).to_pandas()
    assert set(frame["id"]) == set(found.loc[found["a"] == own, "b"])
    assert frame["value"].is_monotonic_decreasing
    back = set(found.loc[found["b"] == own, "a"])
    assert frame["mutual"].tolist() == [id in back for id in frame["id"]]
    nothing = run(store, "nearest-circuits", {"circuit": own, "measure": "overlap"})
    assert len(nothing) == 0 and any("the graph has 0 SIMILAR" in note for note in nothing.notes)


def test_a_rebuilt_graph_has_none(tmp_path: Path) -> None:
    place = tmp_path / "store"
    fill(place, Answers.to(effect_items(2)))
    with open_store(place) as store:
        store_similar(store, 1)
        assert len(links(store)) == 4
    rebuild_store(place)
    with open_store(place) as store:
        assert links(store) == set() and len(store.verify()) == 0


def test_collected_circuits_take_theirs_with_them(tmp_path: Path) -> None:
    place = tmp_path / "store"
    answers = Answers.to(effect_items(2))
    fill(place, answers)
    with open_store(place) as store:
        store_similar(store, 3)
        assert len(links(store)) == 12
        with store.writer() as writer:
            kept = answers.records[:2]
            writer.start_run("kept", "", [r.item for r in kept], [(r.discovery_id, r.extraction) for r in kept])
            writer.delete_run("toys")
            writer.gc()
        assert {(a, b) for a, b, _ in links(store)} == {(x.id, y.id) for x in kept for y in kept if x.id != y.id}
        with pytest.raises(StoreError, match="reading only"):
            store.graph.set_similar("jaccard", None)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"nearest": -1}, "or 0 to remove"),
        ({"measure": "jacard"}, "did you mean 'jaccard'"),
        ({"class": "class-0", "condition": "natural"}, "of 1 circuits no two are comparable"),
        ({"metric": "no-such"}, "no-such"),
    ],
)
def test_bad_requests_change_nothing(store: Store, chosen: dict[str, Any], message: str) -> None:
    store_similar(store, 1)
    before = links(store)
    with pytest.raises(InputError, match=message):
        store_similar(store, **chosen)
    assert links(store) == before


def test_too_many_relationships_are_not_begun(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circuitstore.query.nearest.MAX_PAIRS", 13)
    with pytest.raises(InputError, match=r"2 of each circuit are 14 relationships, more than 13"):
        store_similar(store, 2)


def test_other_shapes_are_other_sets(store_of: Callable[[Answers], Store]) -> None:
    items = [*effect_items(1), *effect_items(1, n_layers=2, n_heads=2)]
    found = [make_discovery(item=item) for item in items]
    with store_of(Answers(found, [make_record(d, 12) for d in found])) as store:
        table = store_similar(store, 5)
        assert table.to_pandas()["circuits"].tolist() == [2, 2] and len(links(store)) == 4
