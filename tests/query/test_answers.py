"""Named queries give the same answers as plain Python on the records."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import pytest
from circuitstore.circuits import CircuitRecord
from circuitstore.circuits.similarity import expected_jaccard, jaccard
from circuitstore.query import MEASURES, ask, named_queries, run
from circuitstore.query.floors import floor_of
from pandas.testing import assert_frame_equal

from .conftest import CIRCUITS, MODELS, Library, fits

Row = tuple[Any, ...]
Oracle = Callable[..., list[Row]]

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
ATTACK = "typographic(text=other class)"
CLASSES = [f"class-{i}" for i in range(10)]

ORACLES: dict[str, Oracle] = {}


def oracle(function: Oracle) -> Oracle:
    ORACLES[function.__name__.replace("_", "-")] = function
    return function


class Feed:
    """A FEEDS relationship."""

    def __init__(self, record: CircuitRecord, position: int) -> None:
        graph, index = record.circuit.graph, int(record.circuit.order[position])
        edge = graph.edge(index)
        self.name, self.sender, self.receiver, self.port = edge.name, edge.sender, edge.receiver, edge.port
        self.rank = position + 1
        self.score = float(record.circuit.score[index])
        self.std = float(record.circuit.std[index])
        self.frequency = float(record.frequency[index])


def feeds(record: CircuitRecord) -> list[Feed]:
    return [Feed(record, position) for position in range(record.circuit.n_edges)]


def study(library: Library, p: dict[str, Any], **more: Any) -> list[CircuitRecord]:
    names = ("dataset", "form", "method", "metric", "direction", "corruption", "extraction", "condition")
    found = library.chosen(**{n: p[n] for n in names if n in p} | more)
    given = p.get("model", "")
    return [r for r in found if given in ("", r.item.model.name) or r.item.model.id.startswith(given)]


def having(records: list[CircuitRecord]) -> dict[str, list[tuple[CircuitRecord, Feed]]]:
    """Return the circuits that have each edge."""
    found = defaultdict(list)
    for record in records:
        for feed in feeds(record):
            found[feed.name].append((record, feed))
    return found


def mean_score(found: list[tuple[CircuitRecord, Feed]]) -> float:
    return fmean(feed.score for _, feed in found)


def by_id(library: Library, id: str) -> CircuitRecord:
    return next(r for r in library.records if r.id.startswith(id))


@oracle
def studies(library: Library, **p: Any) -> list[Row]:
    names = (
        "model",
        "dataset",
        "image_group",
        "form",
        "method",
        "metric",
        "direction",
        "corruption",
        "extraction",
        "condition",
    )
    found = defaultdict(list)
    for record in library.newest:
        found[tuple(listed_properties(record)[n] for n in names)].append(record)
    rows = [
        (*key, len(records), len({r.item.target_class.name for r in records}), sum(bool(r.flag) for r in records))
        for key, records in found.items()
    ]
    return sorted(rows)


def listed_properties(record: CircuitRecord) -> dict[str, Any]:
    """Return its properties, with a unique label of its model and its share of the edges of the graph."""
    name, id = record.item.model.name, record.item.model.id
    label = f"vit ({id[:8]})" if name == "vit" else name
    return record.properties() | {"model": label, "share": record.circuit.n_edges / record.circuit.graph.n_edges}


@oracle
def circuits_of_class(library: Library, **p: Any) -> list[Row]:
    names = (
        "id",
        "dataset",
        "model",
        "image_group",
        "condition",
        "word",
        "target",
        "against",
        "form",
        "method",
        "metric",
    )
    names += ("corruption", "extraction", "flag", "n_edges", "share", "n_nodes", "faithfulness", "retention")
    rows = [listed_properties(r) for r in library.newest if fits(r, {"class": p["class"]})]
    rows.sort(key=lambda r: [r[n] for n in ("dataset", "model", "metric", "condition", "extraction", "id")])
    return [tuple(r[n] for n in names) for r in rows]


@oracle
def top_edges(library: Library, **p: Any) -> list[Row]:
    found = sorted(feeds(by_id(library, p["circuit"])), key=lambda f: (-abs(f.score), f.name))
    return [(f.name, f.score, f.std, f.rank, f.frequency) for f in found[: p.get("limit", 20)]]


@oracle
def edges_of_circuit(library: Library, **p: Any) -> list[Row]:
    found = feeds(by_id(library, p["circuit"]))
    return [(f.rank, f.name, f.sender, f.receiver, f.port, f.score, f.std, f.frequency) for f in found]


@oracle
def edges_of_node(library: Library, **p: Any) -> list[Row]:
    found = feeds(by_id(library, p["circuit"]))
    rows = [("in", f.name, f.sender, f.port, f.score, f.rank) for f in found if f.receiver == p["node"]]
    return rows + [("out", f.name, f.receiver, f.port, f.score, f.rank) for f in found if f.sender == p["node"]]


@oracle
def node_books(library: Library, **p: Any) -> list[Row]:
    record = by_id(library, p["circuit"])
    graph, found = record.circuit.graph, feeds(record)
    rows = []
    for name in sorted(record.circuit.nodes):
        at = graph.node_index[name]
        into = math.fsum(f.score for f in found if f.receiver == name)
        out = math.fsum(f.score for f in found if f.sender == name)
        full_in, full_out = (float(np.float32(v[at])) for v in (record.full_in, record.full_out))
        covered = [part / whole if whole else None for part, whole in ((into, full_in), (out, full_out))]
        rows.append((name, graph.components[at].kind, into, full_in, covered[0], out, full_out, covered[1]))
    return rows


@oracle
def unstable_edges(library: Library, **p: Any) -> list[Row]:
    found = [f for f in feeds(by_id(library, p["circuit"])) if f.frequency < p.get("below", 0.8)]
    return [(f.name, f.frequency, f.score, f.std, f.rank) for f in sorted(found, key=lambda f: (f.frequency, f.rank))]


@oracle
def paths(library: Library, **p: Any) -> list[Row]:
    circuit = by_id(library, p["circuit"]).circuit
    steps = {(f.sender, f.receiver) for f in feeds(by_id(library, p["circuit"]))} | set(circuit.links)
    below = defaultdict(set)
    for a, b in steps:
        below[a].add(b)

    def walk(at: str, passed: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if at == "logits":
            yield passed[:-1]
        elif len(passed) < p.get("longest", 3):
            for after in below[at]:
                yield from walk(after, (*passed, after))

    return [(len(names) + 1, *names, *[""] * (3 - len(names))) for names in walk("input", ())]


@oracle
def jaccard_of_two(library: Library, **p: Any) -> list[Row]:
    a, b = (set(by_id(library, p[n]).circuit.edges) for n in "ab")
    return [(len(a & b), len(a | b), len(a & b) / len(a | b))]


@oracle
def difference_of_two(library: Library, **p: Any) -> list[Row]:
    a, b = (by_id(library, p[n]) for n in "ab")
    rows = [("a", f.name, f.score, f.rank) for f in feeds(a) if f.name not in b.circuit.edges]
    return rows + [("b", f.name, f.score, f.rank) for f in feeds(b) if f.name not in a.circuit.edges]


@oracle
def circuits_containing_edge(library: Library, **p: Any) -> list[Row]:
    names, rows = ("model", "dataset", "class", "image_group", "condition", "metric", "extraction"), []
    for r, f in having(library.chosen())[p["edge"]]:
        rows.append((*(listed_properties(r)[n] for n in names), f.score, f.rank, f.frequency, r.id))
    return sorted(rows, key=lambda row: (-row[7], row[10]))


@oracle
def consensus_edges(library: Library, **p: Any) -> list[Row]:
    records = study(library, {"condition": "natural"} | p)
    rows = [
        (e, len(f), len(f) / len(records), mean_score(f), fmean(feed.rank for _, feed in f))
        for e, f in having(records).items()
    ]
    return sorted((r for r in rows if r[2] >= p.get("share", 0.8)), key=lambda r: (-r[1], -r[3], r[0]))


@oracle
def shared_by_all_classes(library: Library, **p: Any) -> list[Row]:
    records = study(library, {"condition": "natural"} | p)
    classes = len({r.item.target_class.name for r in records})
    found = {e: f for e, f in having(records).items() if len(f) == len(records)}
    rows = [(e, classes, mean_score(f), min(feed.score for _, feed in f)) for e, f in found.items()]
    return sorted(rows, key=lambda r: (-r[2], r[0]))


@oracle
def edges_shared_by(library: Library, **p: Any) -> list[Row]:
    records = study(library, {"condition": "natural"} | p)
    wanted = [r for r in records if r.item.target_class.name in p["classes"]]
    others = having([r for r in records if r.item.target_class.name not in p["classes"]])
    found = {e: f for e, f in having(wanted).items() if len(f) == len(wanted)}
    rows = [(e, mean_score(f), len(others.get(e, []))) for e, f in found.items()]
    return sorted(rows, key=lambda r: (-r[1], r[0]))


@oracle
def edges_only_in(library: Library, **p: Any) -> list[Row]:
    found = having(study(library, {"condition": "natural"} | p))
    own = {e: f for e, f in found.items() if {r.item.target_class.name for r, _ in f} == {p["class"]}}
    return sorted(((e, len(f), mean_score(f)) for e, f in own.items()), key=lambda r: (-r[2], r[0]))


@oracle
def component_usage(library: Library, **p: Any) -> list[Row]:
    records = study(library, {"condition": "natural"} | p)
    rows = []
    for c in records[0].circuit.graph.components:
        count = sum(c.name in r.circuit.nodes for r in records)
        if count:
            rows.append((c.name, c.kind, c.layer, count, count / len(records)))
    return sorted(rows, key=lambda r: (-r[3], r[0]))


@oracle
def edges_by_layer(library: Library, **p: Any) -> list[Row]:
    records = study(library, {"condition": "natural"} | p)
    graph, found = records[0].circuit.graph, defaultdict(list)
    for record in records:
        for f in feeds(record):
            c = graph.components[graph.node_index[f.receiver]]
            found[1000 if c.layer is None else c.layer, c.kind, f.port].append(f.score)
    return [
        (None if layer == 1000 else layer, kind, port, len(s) / len(records), fmean(s))
        for (layer, kind, port), s in sorted(found.items())
    ]


def _both(library: Library, p: dict[str, Any], **more: Any) -> tuple[list[CircuitRecord], list[CircuitRecord]]:
    p = {"condition": ATTACK} | p
    return study(library, p | {"condition": "natural"}, **more), study(library, p, **more)


@oracle
def gained_and_lost(library: Library, **p: Any) -> list[Row]:
    return _changes(*_both(library, p, **{"class": p["class"]}), p)


@oracle
def gained_and_lost_between_models(library: Library, **p: Any) -> list[Row]:
    asked = {"condition": "natural"} | p
    of_class = study(library, asked, **{"class": p["class"]})
    ids = [next(id for id in MODELS.values() if id.startswith(p[n])) for n in ("before", "after")]
    before, after = ([r for r in of_class if r.item.model.id == id] for id in ids)
    return _changes(before, after, p)


@oracle
def changes_between_models(library: Library, **p: Any) -> list[Row]:
    found = study(library, {"condition": "natural"} | p)
    ids = [next(id for id in MODELS.values() if id.startswith(p[n])) for n in ("before", "after")]
    rows = []
    for name in sorted({r.item.target_class.name for r in found}):
        own = [r for r in found if r.item.target_class.name == name]
        before, after = ([r for r in own if r.item.model.id == id] for id in ids)
        edges = [having(before).keys(), having(after).keys()]
        counts = len(edges[0] & edges[1]), len(edges[1] - edges[0]), len(edges[0] - edges[1])
        figures = []
        for figure in ("faithfulness", "retention", "accuracy_full"):
            means = [fmean(listed_properties(r)[figure] for r in records) for records in (before, after)]
            figures += [means[0], means[1] - means[0]]
        rows.append((name, *counts, *figures))
    return rows


@oracle
def usage_by_depth(library: Library, **p: Any) -> list[Row]:
    records = study(library, {"condition": "natural"} | p)
    ends: Counter[tuple[int, str]] = Counter()
    for record in records:
        graph = record.circuit.graph
        for f in feeds(record):
            for name in (f.sender, f.receiver):
                c = graph.components[graph.node_index[name]]
                ends[1000 if c.layer is None else c.layer, c.kind] += 1
    layers, total = records[0].item.model.n_layers, sum(ends.values())
    return [
        (kind, *((None, None) if layer == 1000 else (layer, (layer + 0.5) / layers)), count, count / total)
        for (layer, kind), count in sorted(ends.items())
    ]


def _changes(first: list[CircuitRecord], second: list[CircuitRecord], p: dict[str, Any]) -> list[Row]:
    before, after, rows = having(first), having(second), []
    for word, here, there, count in (("gained", after, before, len(second)), ("lost", before, after, len(first))):
        own = [(word, e, len(f), mean_score(f)) for e, f in here.items() if e not in there]
        rows += sorted((r for r in own if r[2] / count >= p.get("share", 1.0)), key=lambda r: (-r[3], r[1]))
    return rows


@oracle
def score_shift(library: Library, **p: Any) -> list[Row]:
    before, after = (having(records) for records in _both(library, p, **{"class": p["class"]}))
    means = {e: (mean_score(before[e]), mean_score(after[e])) for e in before.keys() & after.keys()}
    return sorted(((e, a, b, b - a) for e, (a, b) in means.items()), key=lambda r: (-abs(r[3]), r[0]))


@oracle
def attack_reuse(library: Library, **p: Any) -> list[Row]:
    natural, attacked = _both(library, p)
    before, after, rows = having(natural), having(attacked), []
    for e, f in after.items():
        shares = (len(f) / len(attacked), len(before.get(e, [])) / len(natural))
        if shares[0] >= p.get("share", 1.0) and shares[1] <= p.get("natural_share", 0.0):
            rows.append((e, *shares, mean_score(f)))
    return sorted(rows, key=lambda r: (-r[1], -r[3], r[0]))


@oracle
def faithfulness(library: Library, **p: Any) -> list[Row]:
    names = ("class", "condition", "word", "target", "against", "n_edges", "share", "faithfulness")
    names += ("faithfulness_random", "retention", "accuracy_full", "accuracy_circuit")
    names += ("metric_full", "metric_empty", "metric_circuit", "id")
    rows = [tuple(listed_properties(r)[n] for n in names) for r in study(library, p)]
    return sorted(rows, key=lambda r: (r[0], r[1], r[-1]))


@oracle
def sizes(library: Library, **p: Any) -> list[Row]:
    rows = []
    for condition in ("natural", ATTACK):
        found = [listed_properties(r) for r in study(library, p, condition=condition)]
        edges, share = [r["n_edges"] for r in found], fmean(r["share"] for r in found)
        means = [fmean(r[n] for r in found) for n in ("n_nodes", "faithfulness", "faithfulness_random", "retention")]
        rows.append((condition, len(found), fmean(edges), share, min(edges), max(edges), *means))
    return rows


NEW = {**MAIN, "extraction": "edges(n=40)"}


@oracle
def nearest_circuits(library: Library, **p: Any) -> list[Row]:
    """Of circuits of the data set `models` only, which have the three nearest by Jaccard."""
    own, others = by_id(library, p["circuit"]), library.chosen(dataset="models")
    floors = {r.id: noise_floor(library, r) for r in others}
    if p.get("measure", "jaccard") != "jaccard" or own.id not in floors:
        return []
    rows = []
    for record in nearest_of(own, others):
        sizes, n_edges = (own.circuit.n_edges, record.circuit.n_edges), own.circuit.graph.n_edges
        names = ("model", "dataset", "class", "image_group", "condition", "corruption")
        floor, chance = fmean([floors[own.id], floors[record.id]]), expected_jaccard(*sizes, n_edges)
        mutual = own.id in [r.id for r in nearest_of(record, others)]
        texts = tuple(listed_properties(record)[name] for name in names)
        rows.append((*texts, jaccard(own.circuit, record.circuit), floor, chance, mutual, record.id))
    return rows


def nearest_of(own: CircuitRecord, others: list[CircuitRecord]) -> list[CircuitRecord]:
    rest = [r for r in others if r.id != own.id]
    return sorted(rest, key=lambda r: (-jaccard(own.circuit, r.circuit), r.id))[:3]


def noise_floor(library: Library, record: CircuitRecord) -> float:
    discovery = next(d for d in library.discoveries if d.id == record.discovery_id)
    floor = floor_of(record, discovery, MEASURES["jaccard"])
    assert floor is not None
    return floor.value


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


ASKED_OF_THE_GRAPH = {name for name, query in named_queries().items() if query.answer is None}


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
