"""Comparisons against pairwise ones, and what is refused, warned of, or left out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from circuitstore.circuits import (
    Circuit,
    CircuitRecord,
    ComputationGraph,
    Condition,
    Contrast,
    EdgeScores,
    Extraction,
    MethodUse,
    greedy,
    halvings,
    similarity,
)
from circuitstore.errors import InputError, NotComparable
from circuitstore.query import compare, floors, similarity_matrix
from circuitstore.query.floors import floor_of, spread
from circuitstore.query.forms import projected
from circuitstore.query.groups import Entry, Group, groups, load
from circuitstore.query.measures import MEASURES, get_measure
from circuitstore.store import Store, create_store, open_store
from circuitstore.testing.factories import make_discovery, make_item, make_record
from hypothesis import given
from hypothesis import strategies as st

from .conftest import MODELS, Library, fill

ATTACK = "typographic(text=other class)"
EFFECT = {"dataset": "toys", "form": "split", "metric": "logit", "corruption": "other-class"}


def one(library: Library, name: str, **equals: Any) -> CircuitRecord:
    (record,) = library.chosen(**EFFECT, **{"class": name, **equals})
    return record


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
    """Mean of a measure over halves of the images of a circuit, each half extracted anew."""
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


def test_edges_that_change_between_halves_are_counted(library: Library) -> None:
    record = one(library, "class-2", condition="natural", extraction="edges(n=24)")
    discovery = library.store.discovery(record.discovery_id)
    found = floor_of(record, discovery, get_measure("jaccard"))
    assert found is not None

    def changed(a: Any, b: Any) -> float:
        return len(set(a.edges) ^ set(b.edges)) / 2

    assert found.changed == pytest.approx(floor(library, record, changed))


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


def test_fields_that_vary_are_columns(library: Library) -> None:
    table = compare(library.store, "extraction", dataset="toys", form="split", metric="logit")
    assert list(table.frame.columns[:3]) == ["class", "condition", "corruption"]
    assert set(table.frame["a"]) == {"edges(n=24)"}
    assert len(table) == 30


def test_a_square_of_several_groups_is_refused_with_what_to_choose_by(library: Library) -> None:
    with pytest.raises(InputError, match=r"choose by .*condition = natural \| typographic"):
        similarity_matrix(library.store, **EFFECT)


@pytest.mark.parametrize(
    ("by", "equals", "told"),
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
def test_mistakes_are_named(library: Library, by: str, equals: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        compare(library.store, by, **equals)


def made(n: int = 12, *, seed: int = 0, **what: Any) -> CircuitRecord:
    item = make_item(seed, **{"n_layers": 2, "n_heads": 2} | what)
    return make_record(make_discovery(seed, item=item), n)


def grouped(found: Sequence[tuple[CircuitRecord, int]], by: str, sets: bool = False) -> list[Group]:
    """The groups of records that were made at these times."""
    rows = [r.properties() | {"discovery_id": r.discovery_id, "created_ms": ms} for r, ms in found]
    listed = [Entry(row, r.item, r.extraction) for row, (r, _) in zip(rows, found, strict=True)]
    return list(groups(listed, by, sets=sets))


def twins(change: dict[str, Any], **what: Any) -> list[tuple[CircuitRecord, int]]:
    """A record, and the same with another recipe."""
    record = made(**what)
    recipe = replace(record.item.recipe, **change)
    return [(record, 1), (replace(record, item=replace(record.item, recipe=recipe)), 2)]


MEANING: list[tuple[str, dict[str, Any]]] = [
    ("method", {"method": MethodUse.of("eap")}),
    ("method", {"method": MethodUse.of("flow-routes"), "signed": False}),
    ("metric", {"metric": made(metric="logit-diff").item.recipe.metric}),
    ("direction", {"direction": "denoising"}),
    ("form", {"form": "head"}),
]


@pytest.mark.parametrize(("by", "change"), MEANING)
def test_scores_that_mean_different_things_are_refused_by_field(by: str, change: dict[str, Any]) -> None:
    with pytest.raises(
        NotComparable, match=rf"these must agree: .*{by}: .*can be compared: jaccard, node-jaccard, dice"
    ):
        grouped(twins(change), by)


@pytest.mark.parametrize(("by", "change"), MEANING)
def test_sets_of_edges_are_compared_whatever_the_scores_mean(by: str, change: dict[str, Any]) -> None:
    (group,) = grouped(twins(change), by, sets=True)
    assert len(group.entries) == 2
    assert any(note.startswith(f"{by} differs: ") for note in group.notes)
    assert any(note.startswith(f"scores of different {by}s mean different things") for note in group.notes)


def test_steps_of_one_method_are_compared_by_scores_too() -> None:
    (group,) = grouped(
        twins({"method": MethodUse.of("eap-ig", {"steps": 50, "rule": "midpoint"})}), "method", sets=True
    )
    assert not any("mean different things" in note for note in group.notes)


def of_versions(**versions: int) -> list[tuple[CircuitRecord, int]]:
    """Circuits of two classes, the second one's recipe, condition or extraction in these versions."""
    first, second = made(class_index=0), made(class_index=1)
    item, at = second.item, versions.get("extraction", 1)
    recipe = replace(item.recipe, metric=replace(item.recipe.metric, version=versions.get("metric", 1)))
    condition = replace(item.condition, version=versions.get("condition", 1))
    item = replace(item, recipe=recipe, condition=condition)
    return [(first, 1), (replace(second, item=item, extraction=replace(second.extraction, version=at)), 2)]


def test_versions_are_not_mixed_without_a_word() -> None:
    (group,) = grouped(of_versions(), "class")
    assert not group.notes
    with pytest.raises(NotComparable, match=r"metric: logit \(version 1\) against logit \(version 2\)"):
        grouped(of_versions(metric=2), "class")
    for name in ("condition", "extraction"):
        (group,) = grouped(of_versions(**{name: 2}), "class")
        assert any(note.startswith(f"{name} differs: ") and "(version 2)" in note for note in group.notes)


def test_a_study_is_of_one_version_where_there_is_one() -> None:
    old, new = of_versions(extraction=2)
    also = replace(old[0], extraction=new[0].extraction)
    (group,) = grouped([old, new, (also, 3)], "class")
    assert {entry.extraction for entry in group.entries} == {new[0].extraction}
    assert group.notes == ("1 other circuits, older or of another seed or precision, are left out",)


@pytest.mark.parametrize("sets", [False, True])
def test_unsigned_scores_are_not_compared_with_signed_ones(sets: bool) -> None:
    change = {"signed": False, "corruption": made(corruption="blur").item.recipe.corruption}
    with pytest.raises(NotComparable, match="signed"):
        grouped(twins(change), "corruption", sets=sets)


@pytest.mark.parametrize(
    ("by", "change", "warning"),
    [
        ("corruption", {"corruption": made(corruption="mean-image").item.recipe.corruption}, "corruption differs"),
        ("method", {"method": MethodUse.of("eap-ig", {"steps": 50, "rule": "left"})}, "method differs in detail"),
    ],
)
def test_what_differs_otherwise_is_told(by: str, change: dict[str, Any], warning: str) -> None:
    (group,) = grouped(twins(change), by)
    assert any(note.startswith(warning) for note in group.notes)


def contrasted(record: CircuitRecord, *against: str) -> tuple[CircuitRecord, int]:
    return replace(record, item=replace(record.item, contrast=Contrast(against=against))), 1


@pytest.mark.parametrize(
    ("first", "second", "third", "told"),
    [
        (("class-1", "class-2", "class-3"), ("class-2", "class-3", "class-0"), ("class-3", "class-0", "class-1"), ""),
        (("class-1", "class-2"), ("class-2", "class-0"), ("class-1", "class-0"), ""),
        (("x",), ("x",), ("x",), ""),
        (("class-2", "x"), ("class-2", "x"), ("x",), ""),
        ((), (), (), ""),
        (("class-1",), ("class-2",), ("class-3",), "class-0: class-1; class-1: class-2 …"),
        (("x", "y"), ("x", "y"), ("x",), "class-2: x"),
        (("x",), (), ("x",), "class-1: none"),
        (tuple("abcde"), tuple("abcdf"), tuple("abcdef"), "class-0: a, b, c …; class-1: a, b, c …"),
    ],
)
def test_other_contrast_classes_are_reported_but_for_ones_own(
    first: tuple[str, ...], second: tuple[str, ...], third: tuple[str, ...], told: str
) -> None:
    found = [contrasted(made(class_index=i), *against) for i, against in enumerate((first, second, third))]
    (group,) = grouped(found, "class")
    expected = f"the circuits are contrasted with different classes ({told}), which changes circuits, too"
    assert group.notes == ((expected,) if told else ())


def test_one_class_that_is_contrasted_differently_under_attack_is_reported() -> None:
    natural, attacked = made(), made(attack="typographic")
    (group,) = grouped([contrasted(natural, "x", "y"), contrasted(attacked, "y", "x")], "condition")
    assert group.notes == ()
    (group,) = grouped([contrasted(natural, "x", "y"), contrasted(attacked, "y")], "condition")
    assert group.notes == (
        "the circuits are contrasted with different classes (class-0: y), which changes circuits, too",
    )


def test_a_floor_says_that_it_leaves_out_the_contrast(tmp_path: Path) -> None:
    discoveries = []
    for index, against in enumerate((("x",), ("x", "y"), ("y",))):
        item = make_item(class_index=index, n_layers=2, n_heads=2)
        discoveries.append(make_discovery(item=replace(item, contrast=Contrast(against=against))))
    with create_store(tmp_path / "data") as store:
        fill(store, [(discovery, [make_record(discovery, 9)]) for discovery in discoveries])
        notes = compare(store, "class").notes
        assert (
            "the noise floor leaves out what images are contrasted with: 2 of 3 circuits are contrasted with one "
            "class, and with another one circuits differ more"
        ) in notes


def test_other_images_are_told_another_word_is_not() -> None:
    natural, attacked = made(), made(attack="typographic")
    written = replace(attacked.item.selection, surroundings="the word")
    other = replace(written, rule="successful")
    for selection, notes in ((written, ()), (other, ("the circuits are of different images",))):
        item = replace(attacked.item, selection=selection)
        (group,) = grouped([(natural, 1), (replace(attacked, item=item), 2)], "condition")
        assert group.notes == notes


def of_model(record: CircuitRecord, id: str, name: str = "toy-2x2") -> CircuitRecord:
    return replace(record, item=replace(record.item, model=replace(record.item.model, id=id, name=name)))


def test_models_of_other_shape_are_refused() -> None:
    with pytest.raises(NotComparable, match="2 layers of 2 heads against 3 layers of 2 heads"):
        grouped([(made(), 1), (made(n_layers=3), 2)], "model")


def test_models_of_one_name_are_told_apart_and_stand_in_one_order() -> None:
    """Whichever circuit is older, or has the smaller id."""
    found = [made(class_index=index) for index in range(6)]
    first = [(of_model(r, "e" * 64), i) for i, r in enumerate(found)]
    second = [(of_model(r, "f" * 64), 10 - 3 * i) for i, r in enumerate(found)]
    compared = grouped([*second, *first], "model")
    assert [group.labels for group in compared] == [("toy-2x2 (eeeeeeee)", "toy-2x2 (ffffffff)")] * 6
    by_class = grouped([*first, *second], "class")
    assert sorted(group.common["model"] for group in by_class) == ["toy-2x2 (eeeeeeee)", "toy-2x2 (ffffffff)"]
    assert all(len(group.labels) == 6 for group in by_class)
    others = grouped([*first, (of_model(found[0], "a" * 64, "tuned"), 1)], "model")
    assert [group.labels for group in others] == [("toy-2x2", "tuned")]


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
        assert halved is not None and row["changed_floor"] == pytest.approx(halved.changed)
    assert "each model's images are those that it classifies correctly, so the models' images may differ" in table.notes


def test_models_are_chosen_by_id_and_a_name_of_several_is_refused(library: Library) -> None:
    base, tuned = MODELS.values()
    chosen = {"dataset": "models", "condition": "natural"}
    for named in (base, base[:7], f"vit ({base[:8]})", [base[:7]]):
        assert len(compare(library.store, "class", model=named, **chosen)) == 3
    assert len(compare(library.store, "model", model=[tuned[:8], base[:8]], **chosen)) == 3
    with pytest.raises(InputError, match=rf"'vit' means 2 models.*{min(base, tuned)[:8]}.*{max(base, tuned)[:8]}"):
        compare(library.store, "class", model="vit", **chosen)
    with pytest.raises(InputError, match=rf"choose by .*model = vit \({min(base, tuned)[:8]}\) \| vit"):
        similarity_matrix(library.store, "class", **chosen)


def test_sizes_that_differ_between_models_are_reported() -> None:
    found = [(of_model(made(n), id * 64, id), 1) for n, id in ((9, "a"), (12, "b"))]
    same = Extraction.of("retention", {"target": 0.9})
    (group,) = grouped([(replace(r, extraction=same), at) for r, at in found], "model")
    assert any(note.startswith("the circuits of the models have different sizes") for note in group.notes)


def test_the_latest_of_several_circuits_is_taken() -> None:
    first, second, other = made(seed=1), made(seed=2), made(class_index=1)
    (group,) = grouped([(second, 5), (first, 9), (other, 1)], "class")
    assert [e.id for e in group.entries] == [first.id, other.id]
    assert any("1 other circuits" in note for note in group.notes)


def seeded(record: CircuitRecord, seed: int) -> CircuitRecord:
    """The same, of images drawn by another seed, as a run with that seed asks for it."""
    selection, recipe = replace(record.item.selection, seed=seed), replace(record.item.recipe, seed=seed)
    return replace(record, item=replace(record.item, selection=selection, recipe=recipe))


def test_circuits_of_one_study_are_compared_though_a_newer_one_is_half_done() -> None:
    natural, attacked = made(), made(attack="typographic")
    half = seeded(natural, 1)
    (group,) = grouped([(natural, 1), (attacked, 2), (half, 3)], "condition")
    assert [e.id for e in group.entries] == [natural.id, attacked.id]
    assert any("1 other circuits" in note for note in group.notes)
    whole = seeded(attacked, 1)
    (group,) = grouped([(natural, 1), (whole, 2), (attacked, 4), (half, 3)], "condition")
    assert [e.id for e in group.entries] == [natural.id, attacked.id]
    (group,) = grouped([(natural, 1), (attacked, 2), (half, 3), (whole, 4)], "condition")
    assert [e.id for e in group.entries] == [half.id, whole.id]


def test_what_no_study_has_twice_is_compared_all_the_same_and_told() -> None:
    (group,) = grouped([(made(), 1), (seeded(made(attack="typographic"), 1), 2)], "condition")
    assert set(group.notes) == {"seed differs: 0 against 1", "the circuits are of different images"}


def test_images_on_which_attacks_succeed_stay_beside_correct_natural_ones() -> None:
    natural, found = made(), []
    for size in (5, 9):
        item = made(attack="typographic").item
        item = replace(item, selection=replace(item.selection, rule="successful"))
        found.append(replace(natural, item=replace(item, condition=Condition.of("typographic", {"size": size}))))
    (group,) = grouped([(natural, 1), (found[0], 2), (found[1], 3)], "condition")
    assert group.labels == ("natural", "typographic(size=5)", "typographic(size=9)")


def test_grouping_reads_no_file_of_a_circuit(library: Library, tmp_path: Path) -> None:
    shutil.copytree(library.store.location.folder, tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "archive" / "circuits")
    with open_store(tmp_path / "store") as store:
        sizes = [len(group.labels) for group in groups(load(store, None, EFFECT)[0], "class")]
    assert sizes == [10] * 4


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60), st.sampled_from([8, 6_000, 32_491]))
def test_noise_floors_share_one_budget_over_all_groups(counts: list[int], n_edges: int) -> None:
    chosen = spread(counts, n_edges)
    given = {8: 400, 6_000: 100, 32_491: 18}[n_edges]
    assert sum(map(len, chosen)) == min(sum(counts), given)
    for count, rows in zip(counts, chosen, strict=True):
        assert rows == sorted(set(rows) & set(range(count)))
        assert abs(len(rows) - count * min(1, given / sum(counts))) < 1


def test_floors_of_some_circuits_are_told(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "_MOST", 8)
    table = compare(library.store, "condition", extraction="edges(n=40)", **EFFECT)
    assert "the noise floor is that of 8 of 20 circuits" in table.notes
    assert table.frame["changed_floor"].notna().sum() == table.frame["noise_floor"].notna().sum() == 8


def test_a_mechanism_study_compares_attacks_alone() -> None:
    found = [made(attack=a, corruption="unattacked-twin", metric="logit-diff") for a in ("natural", "typographic")]
    size = replace(found[1].item, condition=Condition.of("typographic", {"text": "other class", "size": 9}))
    (group,) = grouped([*((r, 1) for r in found), (replace(found[1], item=size), 1)], "condition")
    assert group.labels == ("typographic(size=9, text=other class)", ATTACK)
    assert any("mechanism" in note for note in group.notes)


FORMS = ("split", "head", "attention", "block")


def in_form(edge: str, form: str) -> str:
    """The edge of a coarser form in which an edge of the split form lies, by its name."""
    sender, receiver = edge.split("->")
    receiver = receiver.partition("<")[0]
    if form in ("attention", "block"):
        receiver = re.sub(r"^(a\d+)\.(h\d+|in)$", r"\1" if form == "block" else r"\1.in", receiver)
    return f"{sender.partition('.')[0] if form == 'block' else sender}->{receiver}"


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, dict[str, CircuitRecord]]]:
    """One question, asked in every form."""
    discoveries = {f: make_discovery(item=make_item(form=f, n_layers=3, n_heads=2)) for f in FORMS}
    records = {f: make_record(discovery, 14) for f, discovery in discoveries.items()}
    with create_store(tmp_path_factory.mktemp("forms") / "data") as store:
        fill(store, [(discoveries[f], [records[f]]) for f in FORMS])
        yield store, records


@pytest.mark.parametrize("measure", ["jaccard", "dice"])
def test_circuits_of_two_forms_are_compared_in_the_coarser_one(forms: Any, measure: str) -> None:
    store, records = forms
    table = compare(store, "form", measure=measure)
    assert {(row["a"], row["b"]) for row in table} == set(combinations(sorted(FORMS), 2))
    for row in table:
        form = max(row["a"], row["b"], key=FORMS.index)
        a, b = (
            {in_form(edge, form) if f != form else edge for edge in records[f].circuit.edges}
            for f in (row["a"], row["b"])
        )
        assert (row["edges_a"], row["edges_b"], row["common"]) == (len(a), len(b), len(a & b))
        whole = len(a | b) if measure == "jaccard" else (len(a) + len(b)) / 2
        assert row[measure] == pytest.approx(len(a & b) / whole)
        assert pd.isna(row["chance"])
        own = store.discovery(records[form].discovery_id)
        halved = floor_of(records[form], own, get_measure(measure))
        assert halved is not None and row["noise_floor"] == pytest.approx(halved.value)
    assert any(note.startswith("each two forms are compared in the coarser one") for note in table.notes)
    assert table.frame[measure].min() > 0


def test_nodes_of_two_forms_are_compared(forms: Any) -> None:
    store, records = forms
    (row,) = compare(store, "form", measure="node-jaccard", form=["split", "head"])
    a, b = (set(records[f].circuit.nodes) for f in ("head", "split"))
    assert row["node_jaccard"] == pytest.approx(len(a & b) / len(a | b))
    with pytest.raises(NotComparable, match=r"form: .*can be compared: jaccard"):
        compare(store, "form", measure="spearman")


def test_every_edge_of_a_finer_form_lies_in_one_of_a_coarser() -> None:
    split = ComputationGraph(3, 2, "split")
    for form in FORMS[1:]:
        target = ComputationGraph(3, 2, form)
        for i, edge in enumerate(split.edge_names):
            one = np.arange(split.n_edges) == i
            assert [target.edge_names[j] for j in np.flatnonzero(projected(split, one, target))] == [
                in_form(edge, form)
            ]


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


def test_without_scores_per_image_there_is_no_noise_floor_and_that_is_said(mixed: Store) -> None:
    table = compare(mixed, "class", corruption="blur")
    assert table.facts["noise_floor"] is None
    assert pd.isna(table.frame["noise_floor"]).all()
    assert "the noise floor is not known: scores per image were not kept" in table.notes


def test_methods_that_only_select_compare_by_edges_alone(mixed: Store) -> None:
    assert len(compare(mixed, "class", corruption="mean-image", measure="dice")) == 1
    with pytest.raises(InputError, match="gives no scores; choose a measure of edges"):
        compare(mixed, "class", corruption="mean-image", measure="spearman")
