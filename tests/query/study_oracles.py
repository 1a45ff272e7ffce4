"""Answers of queries about the circuits of a study, or of two, in plain Python."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import fmean
from typing import Any

from circuitstore.circuits import CircuitRecord

from .conftest import MODELS, Library
from .oracles import ATTACK, Row, feeds, having, listed_properties, mean_score, oracle, study


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
