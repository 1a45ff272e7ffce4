from dataclasses import replace

import numpy as np
import pytest
from circuitstore.circuits import Circuit, ComputationGraph
from circuitstore.errors import InputError
from circuitstore.store.cypher.schema import CIRCUIT, FEEDS, NODE, SHARED
from circuitstore.store.graph.content import GraphContent
from circuitstore.store.graph.rows import GroupRows, circuit_rows, shared_rows
from circuitstore.testing.factories import make_records
from circuitstore.testing.graph_place import bare


def mixed():
    records = [*make_records(4), *make_records(3, form="attention"), *make_records(2, n=6, form="block", n_layers=2)]
    return [*records[:-1], bare(records[-1]), bare(make_records(1, form="head")[0])]


def test_a_groups_rows_are_those_of_its_circuits_one_by_one():
    records = mixed()
    rows = GroupRows.of(records)
    nodes, feeds, contains, has = (t.to_pylist() for t in (rows.nodes, rows.feeds, rows.contains, rows.has))
    component = {row["from"]: row["to"] for row in rows.instance_of.to_pylist()}
    owner = {row["to"]: row["from"] for row in has}
    assert len(owner) == len(has) == len(nodes) == len(component)
    for record in records:
        expected = GraphContent.of(record, 0)
        mine = {n["key"]: n for n in nodes if owner[n["key"]] == record.id}
        assert set(mine) == {f"{record.id}/{name}" for name in record.circuit.nodes}

        def of(end: str, row: dict, mine=mine) -> str:
            return mine[row[end]]["name"]

        fed = [f for f in feeds if f["from"] in mine]
        joined = [c for c in contains if c["from"] in mine]
        actual = GraphContent.sorted(
            expected.properties,
            expected.relations,
            {
                **{c: [n[c] for n in mine.values()] for c in NODE.names if c != "key"},
                "component": [component[key] for key in mine],
            },
            {
                **{c: [f[c] for f in fed] for c in FEEDS.names[2:]},
                "sender": [of("from", f) for f in fed],
                "receiver": [of("to", f) for f in fed],
            },
            {"above": [of("from", c) for c in joined], "below": [of("to", c) for c in joined]},
        )
        assert expected.differences(actual) == []


def test_edges_off_every_path_are_refused():
    record = make_records(1)[0]
    graph = ComputationGraph(4, 4, "split")
    members = np.zeros(graph.n_edges, bool)
    members[[graph.index_of("input->logits"), graph.index_of("m0->m1")]] = True
    with pytest.raises(InputError, match="m0->m1 is on no path"):
        GroupRows.of([replace(record, circuit=Circuit(graph, members))])


def test_a_circuit_without_edges_has_no_rows():
    record = make_records(1)[0]
    empty = replace(record, circuit=Circuit.from_edges(record.circuit.graph, []))
    rows = GroupRows.of([empty])
    assert len(rows.nodes) == len(rows.feeds) == len(rows.has) == 0
    assert len(circuit_rows([empty], {empty.id: 1})) == 1


def test_what_is_shared_comes_once_and_fits_its_columns():
    records = mixed()
    rows = shared_rows(records)
    assert {label: len(found) for label, found in rows.items()} == {
        "Model": 2,
        "Dataset": 1,
        "Class": 2,
        "Condition": 2,
        "Recipe": 4,
        "Component": len({(r.item.model.id, n) for r in records for n in r.circuit.graph.node_names}),
    }
    for label, found in rows.items():
        for key, row in found.items():
            assert tuple(row) == tuple(SHARED[label].names) and row[SHARED[label].names[0]] == key
    assert all(set(row) == set(CIRCUIT.names) for row in circuit_rows(records, {r.id: 1 for r in records}))


def test_differences_name_what_was_planted():
    record = make_records(1, form="attention")[0]
    good, bad = GraphContent.of(record, 5), GraphContent.of(record, 5)
    assert good.differences(bad) == []
    first, last = bad.edges["edge"].iloc[0], bad.edges["edge"].iloc[-1]
    bad.edges.loc[0, "score"] = 17.0
    edges = bad.edges.iloc[:-1]
    bad = replace(bad, properties={**bad.properties, "n_edges": 3}, edges=edges, links=bad.links.iloc[1:])
    link = " ".join(good.links.iloc[0])
    assert sorted(s.split(" is ")[0] for s in good.differences(bad)) == sorted(
        ["n_edges", f"edge {last}", f"edge {first}: score", f"structural link {link}"]
    )
    assert any("not in the archive" in s for s in bad.differences(good))
