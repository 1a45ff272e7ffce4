"""Comparison of a base model with others: planted changes are found, and what cannot be compared is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from circuitstore.circuits import Circuit, ClassInfo, profile_overlap
from circuitstore.errors import InputError, NotComparable
from circuitstore.query import compare, compare_models, read_cross_results, read_model_changes, run
from circuitstore.query.model_diff import NO_CONTROL
from circuitstore.results import Table
from circuitstore.store import Store, open_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

from ..toy_models import PLANTED, base_discovery, fill_models, of_model, record_of, three_models, tuned
from ..toy_studies import Answers


@pytest.fixture(scope="module")
def answers() -> Answers:
    return three_models(attacks=("natural", "typographic"))


@pytest.fixture(scope="module")
def store(answers: Answers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("models")
    fill_models(folder, answers)
    with open_store(folder) as opened:
        yield opened


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Opens a store of circuits of the given discoveries."""
    stores: list[Store] = []

    def make(*discoveries: Any) -> Store:
        fill_models(tmp_path, Answers(list(discoveries), [make_record(d, 24) for d in discoveries]))
        stores.append(open_store(tmp_path))
        return stores[-1]

    yield make
    for one in stores:
        one.close()


def test_edges_are_kept_gained_and_lost_as_sets_of_edges_are(store: Store, answers: Answers) -> None:
    table = compare_models(store, "base", control="control")
    assert len(table) == 2 * 3 * 2
    for row in table:
        attack = row["condition"].partition("(")[0]
        before, after = (
            set(record_of(answers, row[side], int(row["class"][-1]), attack).circuit.edges) for side in "ab"
        )
        assert (row["kept"], row["gained"], row["lost"]) == (
            len(before & after),
            len(after - before),
            len(before - after),
        )
        assert row["similarity"] == pytest.approx(len(before & after) / len(before | after))
        assert row["beyond_floor"] == pytest.approx((row["gained"] + row["lost"]) / 2 - row["changed_floor"])


def test_similarity_and_floors_are_those_of_the_comparison_of_all_pairs(store: Store) -> None:
    found = compare_models(store, "base").frame.set_index(["b", "class", "condition"])
    pairs = compare(store, "model", model=["base", "tuned"])
    for row in pairs:
        same = found.loc[("tuned", row["class"], row["condition"])]
        assert same["similarity"] == row["jaccard"]
        assert same["noise_floor"] == pytest.approx(row["noise_floor"])
        assert same[["chance", "changed_floor"]].tolist() == pytest.approx([row["chance"], row["changed_floor"]])
        assert (same["gained"], same["lost"]) == (row["gained"], row["lost"])


def test_planted_changes_are_beyond_the_control_and_others_are_not(store: Store) -> None:
    changes, _ = read_model_changes(store, "base", control="control")
    for change in changes:
        changed, beyond, apart = change.changed, change.beyond_control, change.not_in_control
        assert changed is not None
        names = np.array(change.circuits[0].universe.edge_names)
        if change.b == "control":
            assert beyond is apart is None
            assert changed.sum() > 5  # any change of weights changes edges
            continue
        assert beyond is not None and apart is not None
        assert set(PLANTED) <= set(names[changed]) and set(PLANTED) <= set(names[beyond])
        assert beyond.sum() <= len(PLANTED) + 3 < changed.sum()
        assert not (beyond & ~changed).any() and not (apart & ~changed).any()


def test_the_test_is_that_of_changed_edges(store: Store) -> None:
    for row in compare_models(store, "base", control="control", model="tuned", condition="natural"):
        if row["b"] == "tuned":
            ids = {"a": row["circuit_a"], "b": row["circuit_b"]}
            assert len(run(store, "changed-edges", ids)) == row["changed"]
            (control,) = store.circuits(model="control", condition="natural", **{"class": row["class"]})["id"]
            found = run(store, "changed-edges", {**ids, "control": control}).to_pandas()
            assert found["beyond_control"].sum() == row["beyond_control"]


def test_figures_of_the_evaluations_are_subtracted(store: Store, answers: Answers) -> None:
    for row in compare_models(store, "base", condition="natural"):
        base, other = (record_of(answers, row[side], int(row["class"][-1])).evaluation for side in "ab")
        assert base is not None and other is not None
        assert row["faithfulness"] == pytest.approx(base.faithfulness)
        assert row["faithfulness"] + row["faithfulness_change"] == pytest.approx(other.faithfulness)
        assert row["retention"] + row["retention_change"] == pytest.approx(other.retention)
        assert row["accuracy"] + row["accuracy_change"] == pytest.approx(other.accuracy_full)
        assert np.isnan(row["faithfulness_cross"])


def test_without_a_control_a_note_says_what_the_changes_do_not_show(store: Store) -> None:
    assert NO_CONTROL in compare_models(store, "base").notes
    assert NO_CONTROL not in compare_models(store, "base", control="control").notes


def test_models_are_selected_and_the_control_stays(store: Store) -> None:
    assert set(compare_models(store, "base", model="tuned").frame["b"]) == {"tuned"}
    assert set(compare_models(store, "base", model=["tuned"], control="control").frame["b"]) == {"tuned", "control"}
    assert set(compare_models(store, "tuned", model="base").frame["a"]) == {"tuned"}


@pytest.mark.parametrize(
    ("base", "equals", "stated"),
    [
        ("bare", {}, "base: unknown model 'bare'; did you mean 'base'"),
        ("base", {"control": "controls"}, "control: unknown model 'controls'"),
        ("base", {"control": "base"}, "expected a fine-tuning of base, got base, which is the base model itself"),
        ("base", {"model": "tunes"}, "model: unknown model 'tunes'"),
        ("base", {"model": "base"}, "nothing to compare: the only model with such circuits is base"),
        ("base", {"class": "class-9"}, "unknown class 'class-9'"),
        ("base", {"cross": Table(pd.DataFrame({"circuit": ["x"]}))}, "there is no column on_model_id"),
    ],
)
def test_mistakes_raise_an_error(store: Store, base: str, equals: dict[str, Any], stated: str) -> None:
    with pytest.raises(InputError, match=stated):
        compare_models(store, base, **equals)


def _cross(answers: Answers, **other: Any) -> pd.DataFrame:
    """Return the row of a cross evaluation of the base's circuit of class 1 in the tuned model."""
    record, item = record_of(answers, "base", 1), record_of(answers, "tuned", 1).item
    row = {"circuit": record.id, "on_model_id": item.model.id, "on_class": "class-1", "on_group": ""}
    row |= {"on_condition": "natural", "corruption": item.recipe.corruption.text, "metric": item.recipe.metric.text}
    return pd.DataFrame([{**row, "dtype": "float32", "faithfulness": 0.625, "retention": 0.75, **other}])


@pytest.mark.parametrize("name", ["cross.csv", "cross.parquet"])
def test_cross_results_are_read_from_files(store: Store, answers: Answers, tmp_path: Path, name: str) -> None:
    rows, path = _cross(answers), tmp_path / name
    rows.to_csv(path, index=False) if name.endswith("csv") else rows.to_parquet(path)
    table = compare_models(store, "base", cross=read_cross_results([path])).frame
    columns = ["b", "class", "condition", "faithfulness_cross", "retention_cross"]
    filled = table.dropna(subset=["faithfulness_cross"]).loc[:, columns]
    assert filled.to_numpy().tolist() == [["tuned", "class-1", "natural", 0.625, 0.75]]


@pytest.mark.parametrize("other", [{"on_class": "class-2"}, {"metric": "loss"}, {"on_condition": "blur"}])
def test_cross_results_of_other_images_are_not_taken(store: Store, answers: Answers, other: dict[str, str]) -> None:
    table = compare_models(store, "base", cross=Table(_cross(answers, **other)))
    assert table.frame["faithfulness_cross"].isna().all()
    assert any("no cross results" in note for note in table.notes)


def test_a_file_without_cross_results_raises_an_error(tmp_path: Path) -> None:
    for name, text in (("a.csv", "x,y\n1,2\n"), ("b.parquet", "no parquet"), ("c.csv", "")):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=name):
            read_cross_results([tmp_path / name])
    with pytest.raises(InputError, match=r"cannot read .*circuitstore cross"):
        read_cross_results([tmp_path / "missing.parquet"])


def test_models_of_other_shapes_are_compared_by_profile(opened: Callable[..., Store]) -> None:
    base = base_discovery(0)
    deep = make_discovery(n_images=18, item=of_model(make_item(n_layers=6, n_heads=4), "deep"))
    store = opened(base, deep)
    table = compare_models(store, "base")
    (row,) = table
    assert (row["compared"], row["b"]) == ("profile", "deep")
    assert row["similarity"] == pytest.approx(
        profile_overlap(*(store.circuit(row[f"circuit_{side}"]).circuit for side in "ab"))
    )
    assert 0 < row["chance"] < 1 and row["noise_floor"] > row["similarity"] / 2
    assert all(row[name] is None or pd.isna(row[name]) for name in ("kept", "gained", "changed_floor", "changed"))
    assert any("by kind of component and depth, not edge by edge" in note for note in table.notes)
    with pytest.raises(NotComparable, match=r"3 layers of 2 heads against 6 layers of 4.*compare --by model --base"):
        compare(store, "model")


def _renamed(discovery: Any, name: str, n_classes: int = 10) -> Any:
    item = discovery.item
    target = ClassInfo(item.target_class.dataset, name, item.target_class.class_index)
    return replace(discovery, item=replace(item, target_class=target, model=replace(item.model, n_classes=n_classes)))


def test_models_without_a_common_class_raise_an_error_that_names_the_classes(opened: Callable[..., Store]) -> None:
    base = base_discovery(0)
    store = opened(base, _renamed(tuned(base, "tuned"), "tabby"))
    with pytest.raises(InputError, match="base and tuned have no class in common: class-0 against tabby"):
        compare_models(store, "base")


def test_classes_of_one_model_and_other_sets_of_labels_are_noted(opened: Callable[..., Store]) -> None:
    first, second = base_discovery(0), base_discovery(1)
    store = opened(first, second, _renamed(tuned(first, "tuned"), "class-0", n_classes=1000))
    table = compare_models(store, "base")
    assert list(table.frame["class"]) == ["class-0"]
    assert "base and tuned: only base has circuits of class-1, which are left out" in table.notes
    assert any("other sets of labels, of 10 and 1000 classes" in note for note in table.notes)


def test_too_few_images_for_the_test_are_noted(opened: Callable[..., Store]) -> None:
    base = base_discovery(0, images=8)
    table = compare_models(opened(base, tuned(base, "tuned")), "base")
    assert table.frame["changed"].isna().all() and table.frame["gained"].notna().all()
    assert any(note.startswith("not tested: changed edges: 8 images are common") for note in table.notes)


def test_classes_without_a_control_are_noted(opened: Callable[..., Store]) -> None:
    first, second = base_discovery(0), base_discovery(1)
    store = opened(first, second, tuned(first, "tuned"), tuned(second, "tuned"), tuned(first, "control"))
    table = compare_models(store, "base", control="control")
    missing = table.frame.set_index(["b", "class"])["beyond_control"].isna()
    assert not missing["tuned", "class-0"] and missing["tuned", "class-1"]
    assert "control: no circuits to compare with for class-1" in table.notes


def test_a_model_with_another_recipe_has_no_gained_edges(opened: Callable[..., Store]) -> None:
    base = base_discovery(0)
    other = tuned(base, "tuned")
    selection = replace(other.item.selection, rule="all")
    store = opened(base, replace(other, item=replace(other.item, selection=selection)))
    table = compare_models(store, "base")
    assert table.frame[["kept", "gained", "lost"]].isna().all(axis=None)
    assert "the circuits have different images" in table.notes


def test_a_circuit_and_itself_have_the_same_profile(store: Store) -> None:
    for id in store.circuits()["id"]:
        circuit: Circuit = store.circuit(id).circuit
        assert profile_overlap(circuit, circuit) == 1
