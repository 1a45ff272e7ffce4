"""Which circuits named queries and comparisons count: the newest answers without a flag, of a run or of the store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from circuitstore.circuits import CircuitRecord, Extraction, MethodUse, Metric
from circuitstore.errors import InputError, NotComparable
from circuitstore.query import compare, run
from circuitstore.query.answers import counted
from circuitstore.query.entries import load
from circuitstore.store import Store, create_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

from .conftest import Library, fill, fits

STUDY = {
    "dataset": "toys",
    "form": "split",
    "metric": "logit",
    "corruption": "other-class",
    "extraction": "edges(n=24)",
}
OLDER = "10 of 20 circuits are left out: newer ones answer the same questions"
ATTACK = "typographic(text=other class)"


@pytest.fixture
def store(tmp_path: Any) -> Any:
    with create_store(tmp_path / "data") as store:
        yield store


def put(store: Store, *changes: dict[str, Any], n_images: int = 8, **item: Any) -> None:
    """Store one circuit per class, each with its item changed."""
    results = []
    for index, change in enumerate(changes):
        question = make_item(n_images, class_index=index, n_layers=2, n_heads=2, **item)
        question = replace(question, **change)
        discovery = make_discovery(item=question, n_images=n_images)
        results.append((discovery, [make_record(discovery, 9)]))
    fill(store, results)


def edges(records: list[CircuitRecord]) -> set[str]:
    """Return the edges that all circuits have."""
    return set.intersection(*(set(r.circuit.edges) for r in records))


def shared(library: Library, **options: Any) -> tuple[set[str], tuple[str, ...]]:
    params = options.pop("params", STUDY)
    table = run(library.store, "shared-by-all-classes", params, **options)
    return set(table.frame["edge"]), table.notes


# --- the newest answer ---------------------------------------------------------------------------------------------


def test_older_answers_are_left_out_and_counted(library: Library) -> None:
    found, (note,) = shared(library)
    assert found == edges(library.chosen(**STUDY, condition="natural")) and note.startswith(OLDER)
    older = [r for r in library.records if fits(r, STUDY | {"condition": "natural"}) and r not in library.newest]
    assert len(older) == 10 and found != edges(library.chosen(**STUDY, condition="natural") + older)


def test_a_run_has_its_own_answers(library: Library) -> None:
    older = [r for r in library.records[:40] if fits(r, STUDY | {"condition": "natural"})]
    table = run(library.store, "consensus-edges", {**STUDY, "share": 1 / 40}, run="first")
    assert table.notes == ()
    assert set(table.frame["edge"]) == {edge for r in older for edge in r.circuit.edges}
    for name in ("studies", "circuits-containing-edge", "circuits-of-class"):
        params = {
            "studies": {},
            "circuits-containing-edge": {"edge": "m0->logits"},
            "circuits-of-class": {"class": "class-3"},
        }
        frame = run(library.store, name, params[name], run="first").frame
        assert set(frame["dataset"]) == {"toys"} and set(frame["extraction"]) == {"edges(n=24)", "edges(n=40)"}
    ids = run(library.store, "circuits-of-class", {"class": "class-3"}, run="first").frame["id"]
    assert set(ids) == {r.id for r in library.records[:40] if r.item.target_class.name == "class-3"}


def test_within_a_run_the_newest_counts(library: Library) -> None:
    """`run` was repeated with other images, and holds both answers."""
    assert shared(library, run="run")[0] == shared(library)[0]


def test_values_are_those_of_the_run(library: Library) -> None:
    used = run(library.store, "sizes", {"extraction": "edges(n=24)"}, run="first").facts["parameters"]
    assert (used["model"], used["dataset"], used["metric"]) == ("toy-3x2", "toys", "logit")
    with pytest.raises(InputError, match="unknown dataset 'many'"):
        run(library.store, "sizes", {"dataset": "many"}, run="first")
    with pytest.raises(InputError, match="unknown run 'frist'; did you mean 'first'"):
        run(library.store, "sizes", run="frist")


def test_comparisons_and_queries_count_the_same_circuits(library: Library) -> None:
    for chosen in ({}, {"run": "first"}, {"run": "run"}):
        entries, notes = load(library.store, chosen.get("run"), STUDY)
        table = run(library.store, "faithfulness", STUDY, **chosen)
        assert {e.id for e in entries} == set(table.frame["id"])
        assert notes == table.notes


def test_a_comparison_leaves_older_answers_out(library: Library) -> None:
    table = compare(library.store, "class", condition="natural", **STUDY)
    assert table.notes[0].startswith(OLDER) and len(table) == 45
    assert set(table.frame["edges_a"]) <= {r.circuit.n_edges for r in library.chosen(**STUDY)}
    assert compare(library.store, "class", run="first", condition="natural", **STUDY).notes == ()


def test_a_flagged_newest_answer_is_not_replaced_by_an_older_one() -> None:
    rows = pd.DataFrame({"id": ["a", "b", "c"], "flag": ["", "empty", ""], "newest": [False, True, True]})
    kept, notes = counted(rows)
    assert list(kept["id"]) == ["c"] and len(notes) == 2
    assert list(counted(rows, flagged=True)[0]["id"]) == ["b", "c"]


# --- flagged circuits ----------------------------------------------------------------------------------------------

WEAK = (
    "3 of 5 circuits are left out: they are flagged (empty: 1; few images: 1; whole model: 1); --flagged includes them"
)


@pytest.fixture
def weak(library: Library) -> list[CircuitRecord]:
    return library.chosen(dataset="weak")


def test_flagged_circuits_are_left_out_and_counted(library: Library, weak: list[CircuitRecord]) -> None:
    assert [r.item.target_class.name for r in weak] == ["class-0", "class-1"]
    found, notes = shared(library, params={"dataset": "weak"})
    assert found == edges(weak) and notes == (WEAK,)
    table = compare(library.store, "class", dataset="weak")
    assert len(table) == 1 and table.notes == (WEAK,)
    assert table.facts["circuits"] == 2  # and as many noise floors


def test_flagged_circuits_are_included_on_demand(library: Library) -> None:
    table = run(library.store, "consensus-edges", {"dataset": "weak", "share": 0.1}, flagged=True)
    everyone = [r for r in library.newest if r.item.target_class.dataset == "weak"]
    assert len(everyone) == 5
    assert set(table.frame["circuits"]) <= {1, 2, 3, 4} and len(table) == everyone[0].circuit.graph.n_edges
    assert table.notes == ("3 of 5 circuits are flagged, and are counted (empty: 1; few images: 1; whole model: 1)",)
    assert len(compare(library.store, "class", dataset="weak", flagged=True)) == 10


def test_flagged_circuits_are_listed_with_their_flag(library: Library) -> None:
    studies = run(library.store, "studies").frame
    (row,) = studies[studies["dataset"] == "weak"].to_dict("records")
    assert (row["circuits"], row["flagged"]) == (5, 3)
    listed = run(library.store, "circuits-of-class", {"class": "class-3"})
    assert dict(zip(listed.frame["dataset"], listed.frame["flag"], strict=True))["weak"] == "whole model"
    assert not any("flagged" in note for note in listed.notes)


def test_circuits_named_by_id_count_and_are_noted(library: Library) -> None:
    whole, old, fine = (
        next(r for r in library.records if r.flag == "whole model"),
        library.records[0],
        library.newest[-5],
    )
    table = run(library.store, "jaccard-of-two", {"a": whole.id, "b": old.id})
    assert len(table) == 1
    assert set(table.notes) == {
        f"circuit {whole.id[:12]} is flagged: whole model",
        f"circuit {old.id[:12]} is not the newest answer to its question",
    }
    assert run(library.store, "top-edges", {"circuit": fine.id[:20]}).notes == ()
    frame = compare(library.store, "class", id=[whole.id, fine.id])
    assert len(frame) == 1 and frame.notes == (f"circuit {whole.id[:12]} is flagged: whole model",)
    with pytest.raises(InputError, match="--run cannot be combined with circuits that are named by id"):
        run(library.store, "top-edges", {"circuit": fine.id}, run="first")


def test_only_flagged_circuits_leave_nothing_to_compare(library: Library) -> None:
    chosen = {"dataset": "weak", "class": ["class-2", "class-3"]}
    with pytest.raises(
        InputError, match=r"no circuit in the store counts: 2 of 2 circuits are left out: they are flagged"
    ):
        compare(library.store, "class", **chosen)
    assert len(compare(library.store, "class", **chosen, flag=["few images", "whole model"])) == 1


def test_cypher_is_run_unchanged(library: Library) -> None:
    everything = run(library.store, "MATCH (c:Circuit) RETURN count(*) AS circuits")
    assert everything.frame["circuits"][0] == len(library.records) and everything.notes == ()
    for options in ({"run": "first"}, {"flagged": True}):
        with pytest.raises(InputError, match="--run and --flagged select circuits for named queries only"):
            run(library.store, "MATCH (c:Circuit) RETURN count(*)", **options)


# --- empty answers -------------------------------------------------------------------------------------------------


def test_an_empty_answer_says_what_is_nearest(library: Library) -> None:
    older = [r for r in library.records[:40] if fits(r, STUDY | {"condition": "natural"})]
    counts = {edge: sum(edge in r.circuit.edges for r in older) for edge in older[0].circuit.graph.edge_names}
    assert max(counts.values()) == 9
    (note,) = run(library.store, "shared-by-all-classes", STUDY, run="first").notes
    assert note.startswith("no rows: no edge is in every circuit; ") and "9 of 10: the query consensus-edges" in note
    edge = note.split("; ")[1].split(" is in")[0]
    assert counts[edge] == 9
    nearest = run(library.store, "consensus-edges", {**STUDY, "share": 0.9}, run="first").frame
    assert nearest["edge"][0] == edge


def n_circuits_with(records: list[CircuitRecord], edge: str) -> int:
    return sum(edge in r.circuit.edges for r in records)


def test_the_nearest_edge_is_correct(library: Library) -> None:
    def note(name: str, **params: Any) -> str:
        table = run(library.store, name, STUDY | params)
        assert len(table) == 0
        return table.notes[-1].removeprefix("no rows: ")

    natural, attacked = (library.chosen(**STUDY, condition=c) for c in ("natural", ATTACK))
    names = natural[0].circuit.graph.edge_names
    counts = [n_circuits_with(natural, edge) for edge in names]
    assert note("consensus-edges", share=1.1) in {
        f"no edge is in so many circuits; {edge} is in most, {max(counts)} of 10"
        for edge, n in zip(names, counts, strict=True)
        if n == max(counts)
    }
    apart = [n_circuits_with(attacked, edge) - n_circuits_with(natural, edge) for edge in names]
    assert note("attack-reuse") in {
        f"no edge is in so many attacked and so few natural circuits; {edge} comes nearest, in "
        f"{n_circuits_with(attacked, edge)} of 10 attacked and {n_circuits_with(natural, edge)} of 10 natural ones"
        for edge, n in zip(names, apart, strict=True)
        if n == max(apart)
    }
    (own,) = (r for r in natural if r.item.target_class.name == "class-3")
    fewest = min(n_circuits_with(natural, edge) for edge in own.circuit.edges)
    assert note("edges-only-in", **{"class": "class-3"}) in {
        f"every edge of the class is also in circuits of other classes; {edge} is in the fewest, {fewest - 1} of them"
        for edge in own.circuit.edges
        if n_circuits_with(natural, edge) == fewest
    }


def test_the_nearest_edge_of_some_classes(library: Library) -> None:
    chosen = {"dataset": "toys", "form": "attention"}
    some = [f"class-{i}" for i in range(9)]
    table = run(library.store, "edges-shared-by", chosen | {"classes": some})
    records = library.chosen(**chosen, condition="natural", **{"class": some})
    best = max(n_circuits_with(records, edge) for edge in records[0].circuit.graph.edge_names)
    assert len(table) == 0 and table.notes[-1].endswith(f"is in most, {best} of 9")


def test_the_least_stable_edge_is_the_nearest(library: Library) -> None:
    record = library.chosen(dataset="weak")[1]
    least = min(float(record.frequency[i]) for i in record.circuit.order)
    table = run(library.store, "unstable-edges", {"circuit": record.id, "below": 0.01})
    assert len(table) == 0
    assert table.notes[0].endswith(f"is the least stable, with a frequency of {least:.3g}")


@pytest.mark.parametrize(
    ("name", "params", "note"),
    [
        ("gained-and-lost", {**STUDY, "class": "class-3", "share": 2}, "no rows"),
        ("circuits-containing-edge", {"edge": "a->b"}, "no rows"),
    ],
)
def test_every_answer_without_rows_says_so(library: Library, name: str, params: dict[str, Any], note: str) -> None:
    table = run(library.store, name, params)
    assert len(table) == 0 and table.notes[-1] == note


def test_an_answer_without_circuits_says_that_none_counts(store: Store) -> None:
    put(store, {}, attack="natural")
    put(store, {}, attack="typographic")
    whole = run(store, "gained-and-lost", {"class": "class-0"})
    assert len(whole) > 0
    put(store, {}, n_images=5, attack="natural")  # a newer answer
    table = run(store, "gained-and-lost", {"class": "class-0"})
    assert len(table) == 0
    assert table.notes[-1] == (
        "no rows: all circuits that count have the condition typographic(text=other class); "
        "there are none to compare them with"
    )
    table = run(store, "consensus-edges")
    assert table.notes[-1] == "no rows: none of the 2 circuits counts"
    assert len(run(store, "consensus-edges", flagged=True)) > 0


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def sized(store: Store) -> Store:
    """Two studies of one spec, `[[extract]] retention = 0.85` and `top = 9`; the first extraction has two names."""
    results = []
    for attack, metric, corruption in (
        ("natural", "logit", "other-class"),
        ("typographic", "logit", "other-class"),
        ("typographic", "logit-diff", "unattacked-twin"),
    ):
        for index in range(2):
            item = make_item(
                class_index=index, attack=attack, metric=metric, corruption=corruption, n_layers=2, n_heads=2
            )
            discovery = make_discovery(item=item)
            by = {"size_of": "natural"} if metric == "logit" else {}
            named = [Extraction.of("retention", {"target": 0.85, **by}), Extraction.of("top", {"n": 9})]
            results.append((discovery, [replace(make_record(discovery, 9), extraction=e) for e in named]))
    fill(store, results)
    return store


@pytest.mark.parametrize(
    ("given", "count"), [("retention(target=0.85)", 3), ("retention", 3), ("top", 3), ("top(n=9)", 3)]
)
def test_one_extraction_of_a_spec_has_one_short_name(sized: Store, given: str, count: int) -> None:
    """For comparisons, which take all studies at once, and for queries, which take one."""
    assert len(compare(sized, "class", extraction=given)) == count
    for params, metric in (({"class": "class-0"}, "logit"), ({"metric": "logit-diff"}, "logit-diff")):
        name = "gained-and-lost" if "class" in params else "component-usage"
        used = run(sized, name, {**params, "extraction": given}).facts["parameters"]
        assert used["extraction"].startswith(given.partition("(")[0]) and used["metric"] == metric


def test_a_short_name_of_several_extractions_raises_an_error_only_in_queries(sized: Store) -> None:
    with pytest.raises(InputError, match=r"unknown extraction 'tops'; did you mean 'top\(n=9\)'"):
        compare(sized, "class", extraction="tops")
    with pytest.raises(InputError, match=r"parameter extraction: the store has circuits with 2 values"):
        run(sized, "sizes", {"metric": "logit-diff"})
    assert len(compare(sized, "class", condition="typographic", metric=["logit", "logit-diff"])) == 4


@pytest.mark.parametrize("by", ["metric", "method", "direction"])
def test_circuits_with_incomparable_scores_are_compared_as_sets(store: Store, by: str) -> None:
    recipe = make_item().recipe
    other = {
        "metric": Metric.of("probability"),
        "method": MethodUse.of("conductance", {"steps": 5}),
        "direction": "denoising",
    }
    put(store, {}, {})
    put(store, *[{"recipe": replace(recipe, **{by: other[by]})}] * 2)
    table = compare(store, by)
    assert list(table.frame["class"]) == ["class-0", "class-1"] and set(table.frame["jaccard"]) == {1.0}
    assert any(note.startswith(f"{by} differs: ") for note in table.notes)
    with pytest.raises(NotComparable, match="compare them as sets of edges: jaccard, node-jaccard or dice"):
        compare(store, by, measure="spearman")


# --- circuits that are not comparable ------------------------------------------------------------------------------


def test_circuits_of_two_versions_of_a_metric_are_not_counted_together(store: Store) -> None:
    recipe = make_item().recipe
    put(store, {}, {"recipe": replace(recipe, metric=replace(recipe.metric, version=2))})
    for call in (lambda: run(store, "consensus-edges"), lambda: compare(store)):
        with pytest.raises(NotComparable, match=r"metric: logit \(version 1\) against logit \(version 2\)"):
            call()
    assert len(run(store, "faithfulness")) == 2


def test_images_that_are_selected_differently_are_noted(store: Store) -> None:
    selection = make_item().selection
    put(store, {}, {"selection": replace(selection, count=12)})
    for table in (run(store, "component-usage"), compare(store)):
        assert "images are selected differently (number, rule or seed)" in table.notes
