"""Circuits as columns: the tables of a whole group, made without a Python loop over edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from ...circuits import CircuitRecord, ClassInfo, ComputationGraph, Condition, Recipe
from ...errors import InputError
from ..cypher.schema import FEEDS, NODE, PAIR, SHARED
from .content import condition_key


@dataclass(frozen=True)
class GroupRows:
    """The tables of a group of circuits, one row per node or relationship.

    Attributes:
        nodes: columns of `NODE`.
        feeds: keys of the two nodes, then the properties of the edge.
        contains: keys of the two nodes of each structural link.
        instance_of: key of the node, key of the component.
        has: id of the circuit, key of the node.
    """

    nodes: pa.Table
    feeds: pa.Table
    contains: pa.Table
    instance_of: pa.Table
    has: pa.Table

    @classmethod
    def of(cls, records: Sequence[CircuitRecord]) -> GroupRows:
        """The tables of circuits of any models and forms; those of one graph are handled together."""
        groups: dict[ComputationGraph, list[CircuitRecord]] = {}
        for record in records:
            groups.setdefault(record.circuit.graph, []).append(record)
        parts = [_rows_of_graph(graph, group) for graph, group in groups.items()]
        return cls(*(pa.concat_tables(tables).combine_chunks() for tables in zip(*parts, strict=True)))


@dataclass(frozen=True)
class GraphNames:
    """The names of a graph's nodes and edges as Arrow arrays, to take from."""

    node: pa.Array
    kind: pa.Array
    layer: pa.Array
    head: pa.Array
    edge: pa.Array
    port: pa.Array
    sender: Int[np.ndarray, "edge"]
    receiver: Int[np.ndarray, "edge"]
    above: Int[np.ndarray, "link"]
    below: Int[np.ndarray, "link"]


@lru_cache(maxsize=16)
def graph_names(graph: ComputationGraph) -> GraphNames:
    """The names of a graph, made once."""
    components = graph.components
    ports = [r.partition("<")[2].rstrip(">") for r in graph.receivers]
    links = [(graph.node_index[a], graph.node_index[b]) for a, b in graph.structural_links]
    above, below = np.array(links, dtype=int).reshape(-1, 2).T
    return GraphNames(
        node=pa.array([c.name for c in components]),
        kind=pa.array([c.kind for c in components]),
        layer=pa.array([c.layer for c in components], pa.int64()),
        head=pa.array([c.head for c in components], pa.int64()),
        edge=pa.array(graph.edge_names),
        port=pa.array(ports).take(pa.array(graph.edge_receiver)),
        sender=graph.sender_node[graph.edge_sender],
        receiver=graph.receiver_node[graph.edge_receiver],
        above=above,
        below=below,
    )


def _rows_of_graph(graph: ComputationGraph, records: Sequence[CircuitRecord]) -> tuple[pa.Table, ...]:
    names = graph_names(graph)
    ids = pa.array([r.id for r in records])
    models = pa.array([r.item.model.id for r in records])
    alive = np.stack([alive_nodes(r) for r in records])
    circuit, node = np.nonzero(alive)
    key = _join(ids, circuit, names.node, node)
    slot = np.zeros(alive.shape, int)
    slot[circuit, node] = np.arange(len(node))  # row of each node in the table of nodes

    members = [r.circuit.members for r in records]
    owner, edge = np.nonzero(np.stack(members))
    link_owner, link = np.nonzero(alive[:, names.above] & alive[:, names.below])
    nodes = [key, *(a.take(node) for a in (names.node, names.kind, names.layer, names.head))]
    nodes += [_float32(values, alive) for values in ([r.full_in for r in records], [r.full_out for r in records])]
    feeds = [
        key.take(slot[owner, names.sender[edge]]),
        key.take(slot[owner, names.receiver[edge]]),
        names.edge.take(edge),
        names.port.take(edge),
        _float32([r.circuit.score for r in records], members),
        _float32([r.circuit.std for r in records], members),
        pa.array(np.concatenate([r.circuit.ranks[r.circuit.members] for r in records])),
        _float32([r.frequency for r in records], members),
    ]
    contains = [key.take(slot[link_owner, ends[link]]) for ends in (names.above, names.below)]
    return (
        pa.table(nodes, schema=NODE),
        pa.table(feeds, schema=FEEDS),
        pa.table(contains, schema=PAIR),
        pa.table([key, _join(models, circuit, names.node, node)], schema=PAIR),
        pa.table([ids.take(circuit), key], schema=PAIR),
    )


def alive_nodes(record: CircuitRecord) -> Bool[np.ndarray, "node"]:
    """The circuit's nodes.

    Raises:
        InputError: a member edge is on no path from input to logits.
    """
    circuit, names = record.circuit, graph_names(record.circuit.graph)
    alive = np.zeros(len(names.node), bool)
    alive[[circuit.graph.node_index[name] for name in circuit.nodes]] = True
    edge = np.flatnonzero(circuit.members)
    astray = edge[~(alive[names.sender[edge]] & alive[names.receiver[edge]])]
    if len(astray):
        raise InputError(
            f"circuit {record.id[:12]}: edge {circuit.graph.edge_names[astray[0]]} is on no path from input to logits; "
            "build circuits by extraction or by Circuit.from_edges, which prune"
        )
    return alive


def _join(owners: pa.Array, owner: Any, names: pa.Array, name: Any) -> pa.Array:
    """`owner/name` for each pair of positions."""
    join = pc.get_function("binary_join_element_wise")
    return join.call([owners.take(pa.array(owner)), names.take(pa.array(name)), pa.scalar("/")])


def _float32(values: Sequence[np.ndarray | None], chosen: Sequence[np.ndarray] | np.ndarray) -> pa.Array:
    """The chosen values of all circuits in canonical form (float32, one zero); null for a circuit without values."""
    parts = [
        pa.nulls(int(mask.sum()), pa.float64())
        if of_one is None
        else pa.array((of_one[mask].astype(np.float32) + np.float32(0)).astype(np.float64))
        for of_one, mask in zip(values, chosen, strict=True)
    ]
    return pa.concat_arrays(parts)


def shared_rows(records: Sequence[CircuitRecord]) -> dict[str, dict[str, dict[str, Any]]]:
    """What the circuits share: by label, by key, a row with the columns of `SHARED`."""
    rows: dict[str, dict[str, dict[str, Any]]] = {label: {} for label in SHARED}
    graphs: dict[tuple[str, ComputationGraph], None] = {}
    for record in records:
        item = record.item
        target, condition, recipe = item.target_class, item.condition, item.recipe
        rows["Model"][item.model.id] = asdict(item.model)
        rows["Dataset"][target.dataset] = {"name": target.dataset}
        rows["Class"].setdefault(target.key, _class_row(target))
        rows["Condition"][condition_key(condition)] = _condition_row(condition)
        rows["Recipe"][recipe.id] = _recipe_row(recipe)
        graphs[item.model.id, record.circuit.graph] = None
    for model, graph in graphs:
        rows["Component"].update({row["key"]: row for row in _component_rows(model, graph)})
    return rows


def circuit_rows(records: Sequence[CircuitRecord], created_ms: Mapping[str, int]) -> list[dict[str, Any]]:
    """A row with the columns of `CIRCUIT` for each circuit."""
    return [
        {
            **r.properties(),
            "created_ms": created_ms[r.id],
            "class_key": r.item.target_class.key,
            "condition_key": condition_key(r.item.condition),
            "recipe_key": r.item.recipe.id,
        }
        for r in records
    ]


def _class_row(target: ClassInfo) -> dict[str, Any]:
    return {
        "key": target.key,
        "name": target.name,
        "class_index": target.class_index,
        "tags": target.tags,
        "dataset": target.dataset,
    }


def _condition_row(condition: Condition) -> dict[str, Any]:
    return {
        "key": condition_key(condition),
        "name": condition.text,
        "attack": condition.kind,
        "version": condition.version,
    }


def _recipe_row(recipe: Recipe) -> dict[str, Any]:
    return {
        "key": recipe.id,
        "name": recipe.text,
        "method": recipe.method.text,
        "form": recipe.form,
        "metric": recipe.metric.text,
        "direction": recipe.direction,
        "corruption": recipe.corruption.text,
        "signed": recipe.signed,
        "dtype": recipe.dtype,
        "seed": recipe.seed,
    }


def _component_rows(model: str, graph: ComputationGraph) -> list[dict[str, Any]]:
    return [
        {"key": f"{model}/{c.name}", "name": c.name, "kind": c.kind, "layer": c.layer, "head": c.head, "model": model}
        for c in graph.components
    ]
