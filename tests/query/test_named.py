"""Headers, parameters and the portable dialect of named queries."""

from __future__ import annotations

import importlib.util
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from circuitstore.errors import InputError, QueryRefused
from circuitstore.query import MEASURES, list_named, named_queries, run
from circuitstore.query.choice import PAIR, STUDY
from circuitstore.query.named import NamedQuery, parameters_of, parse
from circuitstore.query.parameters import Only, checked
from circuitstore.store.cypher.guard import check_read_only
from circuitstore.store.cypher.tokens import Token, tokenize
from circuitstore.store.graph.neo4j.backend import Neo4jGraph

from .conftest import MODELS, Library

ROOT = Path(__file__).parents[2]
MAIN = {"dataset": "toys", "form": "split", "metric": "logit", "corruption": "other-class"}

HEAD = "// What it answers,\n// in two lines.\n//\n// Parameters:\n//   limit: integer = 20; how many\n"
COLUMNS = "// Columns:\n//   id: of the circuit\n\nMATCH (c:Circuit) RETURN c.id AS id LIMIT $limit\n"


def test_a_header_is_read() -> None:
    query = parse("some", HEAD + "//   a, b: string = only, not natural; which\n//   c: circuit; its id\n" + COLUMNS)
    assert (query.name, query.about) == ("some", "What it answers, in two lines.")
    assert [(p.name, p.type, p.default, p.about) for p in query.parameters] == [
        ("limit", "integer", 20, "how many"),
        ("a", "string", Only("natural"), "which"),
        ("b", "string", Only("natural"), "which"),
        ("c", "circuit", None, "its id"),
    ]
    assert query.columns == {"id": "of the circuit"}
    assert query.text == "MATCH (c:Circuit) RETURN c.id AS id LIMIT $limit"


@pytest.mark.parametrize(
    "source",
    [
        "MATCH (c) RETURN c",
        HEAD,
        HEAD + "//   x: float; what\n" + COLUMNS,
        HEAD + "//   x string\n" + COLUMNS,
        HEAD + COLUMNS.replace("id: of", "id of"),
    ],
)
def test_a_bad_header_raises_an_error_with_the_file_name(source: str) -> None:
    with pytest.raises(InputError, match=r"broken\.cypher"):
        parse("broken", source)


@pytest.mark.parametrize(
    ("type", "value", "expected"),
    [
        ("integer", "20", 20),
        ("integer", 20, 20),
        ("number", "0.5", 0.5),
        ("number", 1, 1.0),
        ("string", "seven", "seven"),
        ("string", 7, "7"),
        ("strings", "seven,nine", ["seven", "nine"]),
        ("strings", '["a, b", "c"]', ["a, b", "c"]),
        ("strings", ["seven"], ["seven"]),
        ("strings", [7, 8], ["7", "8"]),
        ("strings", "7", ["7"]),
        ("strings", 7, ["7"]),
        ("circuit", "3f", "3f"),
    ],
)
def test_values_are_converted_to_the_type(type: str, value: Any, expected: Any) -> None:
    given = checked("here", type, value)
    assert given == expected
    assert given.__class__ is expected.__class__


@pytest.mark.parametrize(
    ("type", "value"),
    [
        *[("integer", v) for v in ("x", "1.5", 1.5, True, None, [1])],
        *[("number", v) for v in ("x", True, None, [1], "nan", float("inf"))],
        *[("string", v) for v in (None, True, 1.5, ["a"])],
        *[("strings", v) for v in (None, [], [1.5], "[1", {"a": 1})],
    ],
)
def test_values_of_another_type_raise_an_error(type: str, value: Any) -> None:
    with pytest.raises(InputError, match="here: expected"):
        checked("here", type, value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("top-edge", {}, "did you mean 'top-edges'"),
        ("top-edges", {}, "no value for circuit"),
        ("top-edges", {"circuit": "f", "limmit": 3}, "did you mean 'limit'"),
        ("top-edges", {"circuit": "xyz"}, "no circuit has an id that begins with 'xyz'"),
        ("top-edges", {"circuit": ""}, "several ids begin with ''"),
        ("circuits-of-class", {"class": "clas-3"}, "did you mean 'class-3'"),
        ("edges-shared-by", {"classes": ["class-1", "klass"], **MAIN, "extraction": "edges(n=24)"}, "'klass'"),
        ("consensus-edges", {}, r"parameter model: the store has circuits with 3 values; give one of: toy-3x2; vit \("),
        (
            "consensus-edges",
            {"model": "toy-3x2"},
            "parameter dataset: the store has circuits with 3 values; give one of: many; toys; weak",
        ),
        ("consensus-edges", MAIN, "parameter extraction: .* give one of: edges.n=24.; edges.n=40."),
        ("consensus-edges", {**MAIN, "condition": "foggy"}, "parameter condition: unknown condition 'foggy'"),
        ("gained-and-lost", {"class": "class-1", **MAIN, "corruption": "mean"}, "did you mean 'mean-image'"),
        ("MATCH (c:Circuit {id: $id}) RETURN c.id", {}, "the query: no value for id"),
        ("MATCH (c:Circuit {id: $id}) RETURN c.id", {"id": "a", "ix": 1}, "did you mean 'id'"),
        ("MATCH (c:Circuit) RETURN c.id", {"id": "a"}, "unknown parameter 'id'"),
    ],
)
def test_mistakes_in_parameters_raise_an_error(
    library: Library, name: str, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(library.store, name, params)


def test_a_missing_parameter_takes_the_only_value_in_the_store(library: Library) -> None:
    table = run(library.store, "gained-and-lost", {"class": "class-1", "dataset": "toys", "form": "attention"})
    assert table.facts["parameters"] == {
        "class": "class-1",
        "condition": "typographic(text=other class)",
        "model": "toy-3x2",
        "dataset": "toys",
        "image_group": "",
        "form": "attention",
        "method": "eap-ig(rule=midpoint, steps=5)",
        "metric": "logit",
        "direction": "noising",
        "corruption": "other-class",
        "extraction": "edges(n=12)",
        "share": 1.0,
    }


def test_an_effect_study_is_found_in_a_store_with_a_mechanism_study(library: Library) -> None:
    """All `logit-diff` circuits are typographic, so neither metric nor corruption need be given."""
    chosen = {"dataset": "toys", "form": "split", "extraction": "edges(n=24)"}
    used = run(library.store, "attack-reuse", chosen).facts["parameters"]
    assert (used["metric"], used["corruption"]) == ("logit", "other-class")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"corruption": "unattacked-twin"}, {"metric": "logit-diff", "form": "split", "extraction": "edges(n=24)"}),
        ({"extraction": "edges(n=12)"}, {"form": "attention", "metric": "logit", "corruption": "other-class"}),
        ({"dataset": "weak"}, {"model": "toy-3x2", "corruption": "other-class"}),
        ({"form": "attention", "extraction": "edges"}, {"extraction": "edges(n=12)"}),
        ({"extraction": "edges", "form": "attention"}, {"extraction": "edges(n=12)"}),
    ],
)
def test_a_parameter_with_one_value_left_need_not_be_given(
    library: Library, given: dict[str, str], found: dict[str, str]
) -> None:
    """The order of the parameters does not matter."""
    used = run(library.store, "faithfulness", {"model": "toy-3x2", "dataset": "toys"} | given).facts["parameters"]
    assert used == used | found


def test_a_default_that_no_circuit_has_gives_way_to_the_only_value_left(library: Library) -> None:
    used = run(library.store, "consensus-edges", {"metric": "logit-diff"}).facts["parameters"]
    assert used["condition"] == "typographic(text=other class)"
    assert run(library.store, "consensus-edges", {"dataset": "weak"}).facts["parameters"]["condition"] == "natural"


@pytest.mark.parametrize("given", [{"condition": "natural"}, {"dataset": "weak"}, {"corruption": "mean-image"}])
def test_an_effect_study_needs_both_conditions(library: Library, given: dict[str, str]) -> None:
    chosen = {"model": "toy-3x2", "dataset": "toys"} | given
    with pytest.raises(InputError, match=r"no study has circuits of the conditions .*: natural and another"):
        run(library.store, "attack-reuse", chosen)


def test_two_models_are_needed_to_compare_models(library: Library) -> None:
    base, tuned = MODELS.values()
    chosen = {"class": "class-1", "before": base}
    with pytest.raises(InputError, match="before and after are the same model"):
        run(library.store, "gained-and-lost-between-models", chosen | {"after": base[:9]})
    with pytest.raises(InputError, match="'vit' matches 2 models"):
        run(library.store, "gained-and-lost-between-models", chosen | {"after": "vit"})
    with pytest.raises(InputError, match="no study has circuits of the models that the query compares: both"):
        run(library.store, "gained-and-lost-between-models", chosen | {"after": "toy-3x2"})
    used = run(library.store, "gained-and-lost-between-models", chosen | {"after": tuned[:6]}).facts["parameters"]
    assert (used["before"], used["after"]) == (f"vit ({base[:8]})", f"vit ({tuned[:8]})")
    assert run(library.store, "gained-and-lost-between-models", used).facts["parameters"] == used


def test_values_may_be_given_without_their_parameters(library: Library) -> None:
    chosen = {**MAIN, "class": "class-1", "extraction": "edges(n=24)", "condition": "typographic", "method": "eap-ig"}
    used = run(library.store, "score-shift", chosen).facts["parameters"]
    assert (used["condition"], used["method"]) == ("typographic(text=other class)", "eap-ig(rule=midpoint, steps=5)")
    with pytest.raises(InputError, match=r"extraction: 'edges' matches 2 values; give one of: edges\(n=24\); edges"):
        run(library.store, "score-shift", chosen | {"extraction": "edges"})


def test_several_circuits_of_a_class_are_noted(library: Library) -> None:
    assert run(library.store, "component-usage", {"dataset": "toys", "form": "attention"}).notes == ()
    chosen = {**MAIN, "extraction": "edges(n=24)", "dataset": "many"}
    (note,) = run(library.store, "consensus-edges", chosen).notes
    assert note.startswith("10 of 10 pairs of class and condition have several circuits in this study (up to 3")


def test_an_ambiguous_id_raises_an_error(library: Library) -> None:
    ids = sorted(library.store.circuits()["id"])
    shared = next(a[:1] for a, b in pairwise(ids) if a[0] == b[0])
    with pytest.raises(InputError, match="several ids begin with"):
        run(library.store, "top-edges", {"circuit": shared})


def test_the_list_has_all_queries_with_their_parameters() -> None:
    listed = {row["query"]: row for row in list_named()}
    assert set(listed) == set(named_queries())
    assert listed["top-edges"]["parameters"] == "circuit, [limit=20]"
    assert "[model]" in listed["sizes"]["parameters"]


# The portable dialect: Cypher that LadybugDB and Neo4j (Cypher 5 and 25) understand in the same way.

QUERIES = [query for query in named_queries().values() if query.answer is None]
CLAUSES = set("MATCH OPTIONAL WHERE WITH UNWIND RETURN ORDER BY SKIP LIMIT UNION ALL AS DISTINCT".split())  # noqa: SIM905
WORDS = set("AND OR NOT IN IS NULL CASE WHEN THEN ELSE END ASC DESC STARTS ENDS CONTAINS EXISTS COUNT".split())  # noqa: SIM905
PORTABLE = {"collect", "count", "sum", "avg", "min", "max", "abs", "coalesce", "length"}
REJECTED = set(
    "order profile group default table column macro hint only trail end desc asc any all index".split()  # noqa: SIM905
)
"""Words that cannot be an alias, variable or parameter on every engine."""


def schema() -> tuple[set[str], set[str]]:
    """Return the labels and types, and the properties, that the migrations declare."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "migrations" / "graph" / "ladybug").glob("*.cypher")))
    tables = re.findall(r"CREATE (?:NODE|REL) TABLE (\w+)\((.*?)\);", text, re.DOTALL)
    properties = {p for _, body in tables for p in re.findall(r"(\w+) [A-Z0-9]+\b", body)}
    return {name for name, _ in tables}, properties.union(re.findall(r"ALTER TABLE \w+ ADD (\w+) ", text))


def bare_words(found: list[Token]) -> list[tuple[str, Token]]:
    """Return the words that may be keywords or variables, each with the token before it."""
    pairs = zip([Token("end", "", -1), *found], found, strict=False)
    return [(a.text, b) for a, b in pairs if b.kind == "word" and a.text not in (".", ":", "|")]


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
def test_words_functions_and_names_are_portable(query: NamedQuery) -> None:
    found = [token for text in (query.text, *(query.near or ())[1:]) for token in tokenize(text)]
    calls = {a.text.lower() for a, b in pairwise(found) if a.kind == "word" and b.text == "("}
    assert {c for c in calls if c.upper() not in CLAUSES | WORDS - {"COUNT"}} <= PORTABLE
    keywords = {t.text for _, t in bare_words(found) if t.text.isupper()}
    assert keywords <= CLAUSES | WORDS
    aliases = {t.text for before, t in bare_words(found) if before == "AS" or not t.text.isupper()}
    assert not {a.lower() for a in aliases} & REJECTED
    assert not {p.name for p in query.parameters} & REJECTED
    assert not {t.kind for t in found} & {"quoted"}
    assert not {t.text for t in found} & {"+", "=~", "!", "&", ";"}


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
def test_labels_types_and_properties_are_declared(query: NamedQuery) -> None:
    labels, properties = schema()
    found = list(tokenize(query.text))
    pairs = list(pairwise(found))
    keys = {a.text for a, b in pairs if b.text == ":" and a.kind == "word" and a.text in properties}
    assert {b.text for a, b in pairs if a.text in (":", "|") and b.kind == "word"} - {"wanted", "id"} <= labels
    assert {b.text for a, b in pairs if a.text == "."} | keys <= properties
    maps = re.findall(r"\{(\w+): ", query.text)
    assert set(maps) <= properties


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
def test_parameters_and_columns_are_those_of_the_text(query: NamedQuery) -> None:
    check_read_only(tokenize(query.text))
    used, declared = parameters_of(query.text), {p.name for p in query.parameters}
    assert used - declared in (set(), {"circuits"}, {"listed", "circuits", "left_out"}) and declared <= used
    last = query.text.rpartition("RETURN")[2]
    assert all(re.search(rf"\b{column}\b", last) for column in query.columns)
    assert ("model" in query.columns) == ("c.model_id AS model_id" in last)
    assert "order by" in query.text.lower() or query.name in ("paths", "jaccard-of-two")


PACKED = [(q, engine, text) for q in QUERIES for engine, text in q.packed.items()]


@pytest.mark.parametrize(("query", "engine", "text"), PACKED, ids=lambda value: getattr(value, "name", None))
def test_texts_for_one_engine_are_the_same_query_with_packed_rows(query: NamedQuery, engine: str, text: str) -> None:
    check_read_only(tokenize(text))
    assert engine == Neo4jGraph.engine
    assert "max_rows" not in {p.name for p in query.parameters}
    body, _, last = query.text.rpartition("RETURN ")
    returned, _, again = text.rpartition("RETURN ")[2].partition("\nORDER BY ")
    once = again.split(", ") if again else []  # for all rows that share them, which sorting brings together
    assert last.rpartition("ORDER BY ")[2].split(", ")[: len(once)] == once
    lists = [c if c in once else f"collect(coalesce({c}, [])) AS {c}" for c in query.columns]
    assert text.startswith(f"{body}WITH {last}\nLIMIT $max_rows\nRETURN ")
    assert returned == ",\n  ".join(lists) and set(once) < set(query.columns)


def test_every_file_belongs_to_a_query() -> None:
    there = {path.stem for path in (ROOT / "query" / "cypher").glob("*.cypher")}
    further = {f"{q.name}.{engine}" for q, engine, _ in PACKED} | {f"{q.name}.near" for q in QUERIES if q.near}
    assert there == {q.name for q in QUERIES} | further


def ambiguous_order(text: str) -> set[str]:
    """Return the aliases of a sorted answer that are also earlier names: engines sort by different ones of the two."""
    found = list(tokenize(text))
    last = max(i for i, t in enumerate(found) if t.text == "RETURN")
    before = {t.text for _, t in bare_words(found[:last])}
    aliases = {b.text for a, b in pairwise(found[last:]) if a.text == "AS"}
    return aliases & before if "ORDER" in {t.text for t in found[last:]} else set()


def test_sort_keys_are_unambiguous() -> None:
    assert ambiguous_order("MATCH (c:Circuit) WITH c.n_edges AS x RETURN 1.0 / x AS x ORDER BY x") == {"x"}
    assert {q.name: found for q in QUERIES if (found := ambiguous_order(q.text))} == {}


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
def test_queries_that_count_circuits_select_one_study(query: NamedQuery) -> None:
    """Otherwise a class would be counted once for each extraction and corruption."""
    names = {p.name for p in query.parameters}
    one_by_one = {"studies", "circuits-of-class", "circuits-containing-edge", "difference-of-two"}
    one_by_one |= {"neurons-of-class", "neurons-shared", "neuron-in-edge-circuits", "notes"}
    if query.name in one_by_one or "circuit" in names or {"a", "b"} <= names:
        return
    model = "c.model_id IN [$before, $after]" if set(PAIR) <= names else "c.model_id = $model"
    assert names.issuperset({*STUDY} - {"model"})
    for text in (query.text, *(query.near or ())[1:]):
        for clause in text.split("MATCH (c:Circuit)")[1:]:
            conditions = clause.split("WITH")[0]
            assert model in conditions and "c.id IN $circuits" in conditions
            assert all(f"c.{name} = ${name}" in conditions for name in STUDY if name != "model")


def test_filters_are_read_from_the_text() -> None:
    values = {name: name.upper() for name in (*STUDY, "class", "condition", "before", "after")}
    study = {name: [value] for name, value in values.items() if name in STUDY}
    study["model_id"] = study.pop("model")
    named = [
        q for q in QUERIES if parameters_of(q.text) & {*values} or q.name in ("studies", "circuits-containing-edge")
    ]
    chosen = {query.name: query.filters(values) for query in named}
    assert chosen["studies"] == chosen["circuits-containing-edge"] == {}
    assert chosen["circuits-of-class"] == {"class": ["CLASS"]}
    assert chosen["sizes"] == study
    assert chosen["edges-only-in"] == chosen["edges-shared-by"] == study | {"condition": ["CONDITION"]}
    attacked = study | {"condition": ["natural", "CONDITION"]}
    assert chosen["attack-reuse"] == attacked and chosen["gained-and-lost"] == attacked | {"class": ["CLASS"]}
    assert chosen["gained-and-lost-between-models"] == study | {
        "model_id": ["BEFORE", "AFTER"],
        "condition": ["CONDITION"],
        "class": ["CLASS"],
    }


def test_a_single_word_is_a_name_and_other_texts_are_checked_by_the_guard(library: Library) -> None:
    with pytest.raises(InputError, match="unknown named query"):
        run(library.store, "CREATE")
    with pytest.raises(QueryRefused):
        run(library.store, "MATCH (n) DELETE n")


def test_the_documentation_is_generated_from_the_headers() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    written = (ROOT / "docs" / "queries.md").read_text(encoding="utf-8")
    assert written == generate.with_made_parts(written), "run: make docs"
    assert {f"### {name}" for name in named_queries()} <= set(written.splitlines())
    assert {f"| `{m.key}` | {m.about} |" for m in MEASURES.values()} <= set(written.splitlines())
    example = written.split("```cypher\n")[1].split("```")[0]
    assert [p.name for p in parse("example", example).parameters] == ["class", "smallest"]
