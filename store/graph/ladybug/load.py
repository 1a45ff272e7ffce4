"""Loading a group of circuits into LadybugDB: bulk copies, then one transaction that makes them visible.

Only COPY is fast. It must not share a transaction with other writes, which a kill near the commit would corrupt.
Nodes and edges are therefore copied first, each COPY in a separate transaction; queries that start at a `Circuit` do
not see them. The last transaction creates the circuits and joins them to their nodes.

Each statement gets new Arrow tables, because the engine crashes if it gets the same table object twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import ladybug
import pyarrow as pa

from ....circuits import CircuitRecord
from ...cypher.schema import ABOUT, CIRCUIT, NODE, SHARED
from ...faults import fault
from ...lease import Permit
from ..notes import DELETE_NOTES, SUBJECTS, GraphNotes
from ..portable import DELETE_SIMILAR
from ..rows import GroupRows, circuit_rows

CREATE_SHARED = {
    "Model": """
        LOAD FROM $rows
        CREATE (:Model {id: id, name: name, n_layers: n_layers, n_heads: n_heads, d_model: d_model,
                        n_classes: n_classes})""",
    "Dataset": "LOAD FROM $rows CREATE (:Dataset {name: name})",
    "Class": """
        LOAD FROM $rows MATCH (d:Dataset {name: dataset})
        CREATE (:Class {key: key, name: name, class_index: class_index, tags: tags})-[:OF_DATASET]->(d)""",
    "Condition": "LOAD FROM $rows CREATE (:Condition {key: key, name: name, attack: attack, version: version})",
    "Recipe": """
        LOAD FROM $rows
        CREATE (:Recipe {key: key, name: name, method: method, form: form, metric: metric, direction: direction,
                         corruption: corruption, signed: signed, dtype: dtype, seed: seed})""",
    "Component": """
        LOAD FROM $rows MATCH (m:Model {id: model})
        CREATE (:Component {key: key, name: name, kind: kind, layer: layer, head: head, neuron: neuron})
               -[:PART_OF]->(m)""",
}

CREATE_CIRCUITS = """
    LOAD FROM $rows
    CREATE (:Circuit {
        id: id, model: model, model_id: model_id, dataset: dataset, class: class, class_index: class_index,
        image_group: image_group, attack: attack, condition: condition, word: word, target: target, against: against,
        method: method, form: form, corruption: corruption, metric: metric, direction: direction,
        extraction: extraction, flag: flag, size_requested: size_requested, n_nodes: n_nodes,
        n_edges: n_edges, n_graph_edges: n_graph_edges, n_images: n_images, n_eval: n_eval, metric_full: metric_full,
        metric_empty: metric_empty, metric_circuit: metric_circuit, faithfulness: faithfulness,
        faithfulness_random: faithfulness_random,
        accuracy_full: accuracy_full, accuracy_empty: accuracy_empty, accuracy_circuit: accuracy_circuit,
        retention: retention, seed: seed, sha256: sha256, created_ms: created_ms})"""

# without the `WITH` between the two lookups, the planner joins every circuit with every node first
JOIN_CIRCUITS = (
    """LOAD FROM $rows MATCH (c:Circuit {id: id}) WITH c, model_id MATCH (m:Model {id: model_id})
       CREATE (c)-[:OF_MODEL]->(m)""",
    """LOAD FROM $rows MATCH (c:Circuit {id: id}) WITH c, class_key MATCH (k:Class {key: class_key})
       CREATE (c)-[:OF_CLASS]->(k)""",
    """LOAD FROM $rows MATCH (c:Circuit {id: id}) WITH c, condition_key MATCH (u:Condition {key: condition_key})
       CREATE (c)-[:UNDER]->(u)""",
    """LOAD FROM $rows MATCH (c:Circuit {id: id}) WITH c, recipe_key MATCH (r:Recipe {key: recipe_key})
       CREATE (c)-[:FOUND_BY]->(r)""",
)
JOIN_NODES = """
    LOAD FROM $rows MATCH (c:Circuit {id: from}) WITH c, to MATCH (n:Node {key: to}) CREATE (c)-[:HAS]->(n)"""

CREATE_SIMILAR = """
    LOAD FROM $rows MATCH (a:Circuit {id: from}) WITH a, to, measure, value, chance, floor MATCH (b:Circuit {id: to})
    CREATE (a)-[:SIMILAR {measure: measure, value: value, chance: chance, floor: floor}]->(b)"""

CREATE_NOTES = """
    LOAD FROM $rows
    CREATE (:Note {id: id, text: text, author: author, about: about, tags: tags, state: state, replaces: replaces,
                   latest: latest, created_ms: created_ms})"""
JOIN_NOTES = """
    LOAD FROM $rows MATCH (n:Note {{id: from}}) WITH n, to MATCH (x:{label} {{{key}: to}}) CREATE (n)-[:ABOUT]->(x)"""

COPY_NODES = f"COPY Node({', '.join(NODE.names)}) FROM $rows"


def create_shared(
    connection: ladybug.Connection, rows: Mapping[str, Sequence[Mapping[str, Any]]], permit: Permit = nullcontext
) -> None:
    """Create shared nodes, by label as in `SHARED`, in one transaction; none may exist yet."""
    connection.execute("BEGIN TRANSACTION")
    for label, schema in SHARED.items():
        if rows[label]:
            load(connection, CREATE_SHARED[label], pa.Table.from_pylist(list(rows[label]), schema=schema))
    fault("graph.shared.before")
    with permit():
        connection.execute("COMMIT")
    fault("graph.shared.after")


def load_circuits(
    connection: ladybug.Connection,
    records: Sequence[CircuitRecord],
    created_ms: Mapping[str, int],
    permit: Permit = nullcontext,
) -> None:
    """Add circuits that are not in the database; the nodes that they refer to must exist."""
    group = GroupRows.of(records)
    fault("graph.nodes.before")
    with permit():
        load(connection, COPY_NODES, group.nodes)
    fault("graph.nodes.after")
    with permit():
        load(connection, "COPY INSTANCE_OF FROM $rows", group.instance_of)
    fault("graph.instance_of.after")
    with permit():
        load(connection, "COPY FEEDS FROM $rows", group.feeds)
    fault("graph.feeds.after")
    with permit():
        load(connection, "COPY CONTAINS FROM $rows", group.contains)
    fault("graph.contains.after")
    circuits = pa.Table.from_pylist(circuit_rows(records, created_ms), schema=CIRCUIT)
    _make_visible(connection, circuits, group.has, permit)


def _make_visible(connection: ladybug.Connection, circuits: pa.Table, has: pa.Table, permit: Permit) -> None:
    connection.execute("BEGIN TRANSACTION")
    for statement in (CREATE_CIRCUITS, *JOIN_CIRCUITS):
        load(connection, statement, circuits)
    load(connection, JOIN_NODES, has)
    fault("graph.commit.before")
    with permit():
        connection.execute("COMMIT")
    fault("graph.commit.after")


def replace_similar(
    connection: ladybug.Connection, measure: str, pairs: pa.Table, permit: Permit = nullcontext
) -> None:
    """Replace the `SIMILAR` relationships of a measure in one transaction."""
    connection.execute("BEGIN TRANSACTION")
    connection.execute(DELETE_SIMILAR, {"measure": measure})
    load(connection, CREATE_SIMILAR, pairs)
    fault("graph.similar.before")
    with permit():
        connection.execute("COMMIT")
    fault("graph.similar.after")


def replace_notes(connection: ladybug.Connection, notes: GraphNotes, permit: Permit = nullcontext) -> None:
    """Replace all notes in one transaction."""
    connection.execute("BEGIN TRANSACTION")
    connection.execute(DELETE_NOTES)
    load(connection, CREATE_NOTES, notes.notes)
    for label, key in SUBJECTS.items():
        ends = pa.Table.from_pylist(notes.of_label(label), schema=ABOUT)
        load(connection, JOIN_NOTES.format(label=label, key=key), ends.select(["from", "to"]))
    fault("graph.notes.before")
    with permit():
        connection.execute("COMMIT")
    fault("graph.notes.after")


def load(connection: ladybug.Connection, statement: str, rows: pa.Table) -> None:
    """Run a statement over rows in a new table object; do nothing if there are no rows."""
    if len(rows):
        connection.execute(statement, {"rows": pa.Table.from_batches(rows.to_batches(), rows.schema)})
