"""Comparisons match pairwise computations; errors, warnings and what is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from circuitstore.circuits import Circuit, CircuitRecord, Contrast, EdgeScores, Extraction, greedy, halvings, similarity
from circuitstore.errors import InputError
from circuitstore.query import compare, floors, similarity_matrix, swap_floor
from circuitstore.query.floors import floor_of
from circuitstore.query.measures import MEASURES, get_measure
from circuitstore.store import Store, create_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

from .conftest import ATTACK, EFFECT, MODELS, Library, fill


def one(library: Library, name: str, **equals: Any) -> CircuitRecord:
    (record,) = library.chosen(**EFFECT, **{"class": name, **equals})
    return record


@pytest.mark.slow
def test_by_class_every_pair_of_classes_is_compared(library: Library) -> None:
    table = compare(library.store, "class", condition="natural", extraction="edges(n=24)", **EFFECT)
    assert {(row["a"], row["b"]) for row in table} == set(combinations([f"class-{i}" for i in range(10)], 2))
    n_edges = library.records[0].circuit.graph.n_edges
    for row in table:
        a, b = (one(library, row[n], condition="natural", extraction="edges(n=24)").circuit for n in "ab")
        assert row["jaccard"] == pytest.approx(similarity.jaccard(a, b))
        assert (row["edges_a"], row["edges_b"]) == (a.n_edges, b.n_edges)
        assert row["common"] == len({*a.edges} & {*b.edges})
        assert row["chance"] == pytest.approx(similarity.expected_jaccard(a.n_edges, b.n_edges, n_edges))
    assert list(table.frame["jaccard"]) == sorted(table.frame["jaccard"], reverse=True)


def floor(library: Library, record: CircuitRecord, measure: Callable[[Circuit, Circuit], float], n: int = 24) -> float:
    """Return the mean of a measure over halves of the images of a circuit, each half extracted again."""
    scores = library.store.discovery(record.discovery_id).scores
    assert scores is not None
    pairs = halvings(scores, seed=record.item.recipe.seed)
    return float(np.mean([measure(greedy(a, n), greedy(b, n)) for a, b in pairs]))


def test_the_noise_floor_is_the_mean_over_halvings(library: Library) -> None:
    table = compare(library.store, "class", condition="natural", extraction="edges(n=24)", **EFFECT)
    floors = {}
    for record in library.chosen(**EFFECT, condition="natural", extraction="edges(n=24)"):
        floors[record.item.target_class.name] = floor(library, record, similarity.jaccard)
    for row in table:
        assert row["noise_floor"] == pytest.approx((floors[row["a"]] + floors[row["b"]]) / 2)
    assert table.facts["noise_floor"] == pytest.approx(np.mean(list(floors.values())))
    assert table.facts["chance"] == pytest.approx(table.frame["chance"].mean())


def test_by_condition_edges_are_gained_and_lost(library: Library) -> None:
    table = compare(library.store, "condition", extraction="edges(n=40)", **EFFECT)
    assert len(table) == 10
    for row in table:
        assert (row["a"], row["b"]) == ("natural", ATTACK)
        before, after = (
            set(one(library, row["class"], condition=row[n], extraction="edges(n=40)").circuit.edges) for n in "ab"
        )
        assert (row["gained"], row["lost"]) == (len(after - before), len(before - after))
        assert row["changed_floor"] > 0
        assert 0 <= row["swapped_floor"] <= row["swapped_high"] and 1 / 61 <= row["p_swapped"] <= 1


def test_swap_floors_are_those_of_the_pairs(library: Library) -> None:
    (row,) = compare(library.store, "condition", extraction="edges(n=40)", **EFFECT, **{"class": "class-2"})
    records = [one(library, "class-2", condition=row[n], extraction="edges(n=40)") for n in "ab"]
    swapped = swap_floor(*((record, library.store.discovery(record.discovery_id)) for record in records))
    assert swapped is not None and swapped.observed == (row["gained"] + row["lost"]) / 2
    figures = row["swapped_floor"], row["swapped_high"], row["p_swapped"]
    assert figures == pytest.approx((swapped.mean, swapped.high, swapped.p))


def test_edges_that_change_between_halves_are_counted(library: Library) -> None:
    record = one(library, "class-2", condition="natural", extraction="edges(n=24)")
    discovery = library.store.discovery(record.discovery_id)
    found = floor_of(record, discovery, get_measure("jaccard"))
    assert found is not None

    def changed(a: Any, b: Any) -> float:
        return len(set(a.edges) ^ set(b.edges)) / 2

    assert found.n_changed == pytest.approx(floor(library, record, changed))


@pytest.mark.parametrize("key", MEASURES)
def test_every_measure_compares(library: Library, key: str) -> None:
    chosen = {**EFFECT, "condition": "natural", "extraction": "edges(n=24)"}
    square = similarity_matrix(library.store, measure=key, **chosen)
    table = compare(library.store, measure=key, **chosen)
    assert square.labels == tuple(f"class-{i}" for i in range(10))
    frame = square.to_pandas()
    for row in table:
        assert row[key.replace("-", "_")] == frame.loc[row["a"], row["b"]]
    assert np.isfinite(square.floors).all()
    assert table.facts["noise_floor"] > table.frame[key.replace("-", "_")].mean()
    assert all(table.facts[name] >= 0 for name in ("load_s", "compute_s", "floors_s"))


@pytest.mark.slow
def test_fields_that_vary_are_columns(library: Library) -> None:
    table = compare(library.store, "extraction", dataset="toys", form="split", metric="logit")
    assert list(table.frame.columns[:3]) == ["class", "condition", "corruption"]
    assert set(table.frame["a"]) == {"edges(n=24)"}
    assert len(table) == 30


def test_a_matrix_of_several_groups_raises_an_error_with_the_fields(library: Library) -> None:
    with pytest.raises(InputError, match=r"select by .*condition = natural \| typographic"):
        similarity_matrix(library.store, **EFFECT)


@pytest.mark.parametrize(
    ("by", "equals", "stated"),
    [
        ("colour", {}, "unknown field to compare by 'colour'"),
        ("clas", {}, "did you mean 'class'"),
        ("class", {"measure": "cosine"}, "unknown measure"),
        ("class", {"run": "rum"}, "rum"),
        ("class", {"colour": "red"}, "unknown column"),
        (
            "class",
            {"condition": "foggy"},
            "circuits of the store: unknown condition 'foggy'.*valid: natural, typographic",
        ),
        ("class", {"extraction": "edges(n=2)"}, r"unknown extraction 'edges\(n=2\)'; did you mean 'edges\(n=24\)'"),
        ("class", {"class": ["clas-1", "x"]}, "unknown class 'clas-1, x'"),
        (
            "class",
            {"condition": "natural", "attack": "typographic"},
            "no circuit in the store with condition = natural",
        ),
        ("model", {"dataset": "toys"}, "no two of the .* circuits differ in model only"),
    ],
)
def test_mistakes_raise_an_error(library: Library, by: str, equals: dict[str, Any], stated: str) -> None:
    with pytest.raises(InputError, match=stated):
        compare(library.store, by, **equals)


def test_a_note_says_that_the_noise_floor_does_not_cover_the_contrast(tmp_path: Path) -> None:
    discoveries = []
    for index, against in enumerate((("x",), ("x", "y"), ("y",))):
        item = make_item(class_index=index, n_layers=2, n_heads=2)
        discoveries.append(make_discovery(item=replace(item, contrast=Contrast(against=against))))
    with create_store(tmp_path / "data") as store:
        fill(store, [(discovery, [make_record(discovery, 9)]) for discovery in discoveries])
        notes = compare(store, "class").notes
        assert (
            "the noise floor does not cover the choice of the contrast class: 2 of 3 circuits are contrasted with one "
            "class, and differ more when contrasted with another"
        ) in notes


def test_by_model_edges_are_gained_and_lost(library: Library) -> None:
    table = compare(library.store, "model", dataset="models")
    first, second = sorted(MODELS.values())
    assert set(zip(table.frame["a"], table.frame["b"], strict=True)) == {(f"vit ({first[:8]})", f"vit ({second[:8]})")}
    assert len(table) == 6
    for row in table:
        chosen = {"dataset": "models", "class": row["class"], "condition": row["condition"]}
        a, b = (next(r for r in library.chosen(**chosen, model_id=id)) for id in (first, second))
        before, after = set(a.circuit.edges), set(b.circuit.edges)
        assert (row["gained"], row["lost"], row["common"]) == (
            len(after - before),
            len(before - after),
            len(after & before),
        )
        assert row["jaccard"] == pytest.approx(similarity.jaccard(a.circuit, b.circuit))
        halved = floor_of(a, library.store.discovery(a.discovery_id), get_measure("jaccard"))
        assert halved is not None and row["changed_floor"] == pytest.approx(halved.n_changed)
    assert "each model's images are those that it classifies correctly, so the models' images may differ" in table.notes


def test_models_are_selected_by_id_and_an_ambiguous_name_raises_an_error(library: Library) -> None:
    base, tuned = MODELS.values()
    chosen = {"dataset": "models", "condition": "natural"}
    for named in (base, base[:7], f"vit ({base[:8]})", [base[:7]]):
        assert len(compare(library.store, "class", model=named, **chosen)) == 3
    assert len(compare(library.store, "model", model=[tuned[:8], base[:8]], **chosen)) == 3
    with pytest.raises(InputError, match=rf"'vit' matches 2 models.*{min(base, tuned)[:8]}.*{max(base, tuned)[:8]}"):
        compare(library.store, "class", model="vit", **chosen)
    with pytest.raises(InputError, match=rf"select by .*model = vit \({min(base, tuned)[:8]}\) \| vit"):
        similarity_matrix(library.store, "class", **chosen)


def test_floors_of_some_circuits_are_counted(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "_MAX_CIRCUITS", 8)
    table = compare(library.store, "condition", extraction="edges(n=40)", **EFFECT)
    assert "the noise floor covers 8 of 20 circuits" in table.notes
    assert table.frame["changed_floor"].notna().sum() == table.frame["noise_floor"].notna().sum() == 8


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An effect study of another size, one of the wrong metric, one without scores per image, one without scores."""
    pairs = []
    for metric, attacked_size in (("logit", 6), ("kl", 9)):
        for attack, size in (("natural", 9), ("typographic", attacked_size)):
            discovery = make_discovery(item=make_item(attack=attack, n_layers=2, n_heads=2, metric=metric))
            extraction = Extraction.of("retention", {"target": 0.9})
            pairs.append((discovery, [replace(make_record(discovery, size), extraction=extraction)]))
    for index in (1, 2):
        full = make_discovery(item=make_item(class_index=index, n_layers=2, n_heads=2, corruption="blur"))
        assert full.scores is not None
        mean = EdgeScores(full.scores.graph, full.scores.mean, full.scores.std)
        pairs.append((replace(full, scores=mean), [make_record(full, 9)]))
    for index in (1, 2):
        full = make_discovery(item=make_item(class_index=index, n_layers=2, n_heads=2, corruption="mean-image"))
        scored = make_record(full, 9)
        circuit = replace(scored.circuit, score=None, std=None)
        record = replace(scored, circuit=circuit, frequency=None, full_in=None, full_out=None)
        pairs.append((replace(full, scores=None, members=record.circuit.members), [record]))
    with create_store(tmp_path_factory.mktemp("mixed") / "data") as store:
        fill(store, pairs)
        yield store


@pytest.mark.parametrize("metric", ["logit", "kl"])
def test_gained_and_lost_need_one_size_and_the_true_logit(mixed: Store, metric: str) -> None:
    (row,) = compare(mixed, "condition", metric=metric)
    assert (row["a"], row["b"], row["edges_a"] > 0) == ("natural", ATTACK, True)
    assert pd.isna(row["gained"]) and pd.isna(row["lost"]) and pd.isna(row["changed_floor"])


@pytest.mark.parametrize("change", [{"dtype": "float64"}, {"method": "version"}])
def test_gained_and_lost_need_one_recipe(tmp_path: Path, change: dict[str, str]) -> None:
    """Attacked circuits that a later run computed in another precision, or by a newer version of the method."""
    natural, attacked = (make_item(attack=a, n_layers=2, n_heads=2) for a in ("natural", "typographic"))
    method = replace(natural.recipe.method, version=2)
    recipe = replace(natural.recipe, **(change if "dtype" in change else {"method": method}))
    found = [make_discovery(item=item) for item in (natural, replace(attacked, recipe=recipe))]
    with create_store(tmp_path / "data") as store:
        fill(store, [(discovery, [make_record(discovery, 9)]) for discovery in found])
        (row,) = compare(store, "condition")
    assert pd.isna(row["gained"]) and pd.isna(row["lost"]) and pd.isna(row["changed_floor"])


def test_missing_scores_per_image_are_noted(mixed: Store) -> None:
    table = compare(mixed, "class", corruption="blur")
    assert table.facts["noise_floor"] is None
    assert pd.isna(table.frame["noise_floor"]).all()
    assert "the noise floor is unknown: scores per image were not kept" in table.notes


def test_methods_that_only_select_edges_are_compared_only_by_edges(mixed: Store) -> None:
    assert len(compare(mixed, "class", corruption="mean-image", measure="dice")) == 1
    with pytest.raises(InputError, match="gives no scores; use a measure of edges"):
        compare(mixed, "class", corruption="mean-image", measure="spearman")
