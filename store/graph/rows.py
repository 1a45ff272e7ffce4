"""Circuits as Arrow tables, computed for a whole group without a Python loop over edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from ...circuits import CircuitRecord, ClassInfo, Condition, Recipe, Universe
from ...errors import InputError
from ..cypher.schema import FEEDS, NODE, PAIR, SHARED, UNIVERSE_EDGE, UNIVERSE_NODE
from .content import condition_key


@dataclass(frozen=True)
class GroupRows:
    """The tables of a group of circuits, one row per node or relationship.

    Attributes:
        nodes: the columns of `NODE`.
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
        """Return the tables of circuits of any models and universes; those of one universe are processed together."""
        groups: dict[Universe, list[CircuitRecord]] = {}
        for record in records:
            groups.setdefault(record.circuit.universe, []).append(record)
        parts = [_rows_of_universe(universe, group) for universe, group in groups.items()]
        return cls(*(pa.concat_tables(tables).combine_chunks() for tables in zip(*parts, strict=True)))


@dataclass(frozen=True)
class UniverseTables:
    """A universe as Arrow tables, from which rows are taken.

    Attributes:
        nodes: the columns of `UNIVERSE_NODE`.
        edges: the columns of `UNIVERSE_EDGE`.
        sender, receiver: rows of the nodes at the ends of each edge.
        above, below: rows of the nodes at the ends of each structural link.
    """

    nodes: pa.RecordBatch
    edges: pa.RecordBatch
    sender: Int[np.ndarray, "edge"]
    receiver: Int[np.ndarray, "edge"]
    above: Int[np.ndarray, "link"]
    below: Int[np.ndarray, "link"]


@lru_cache(maxsize=16)
def universe_tables(universe: Universe) -> UniverseTables:
    """Return the tables of a universe (cached)."""
    edges = universe.edges
    above, below = universe.link_ends
    return UniverseTables(
        pa.RecordBatch.from_pylist([asdict(c) for c in universe.components], schema=UNIVERSE_NODE),
        pa.record_batch([pa.array(universe.edge_names), pa.array(edges.port)], schema=UNIVERSE_EDGE),
        edges.sender,
        edges.receiver,
        above,
        below,
    )


def _rows_of_universe(universe: Universe, records: Sequence[CircuitRecord]) -> tuple[pa.Table, ...]:
    tables = universe_tables(universe)
    ids = pa.array([r.id for r in records])
    models = pa.array([r.item.model.id for r in records])
    alive = np.stack([alive_nodes(r) for r in records])
    circuit, node = np.nonzero(alive)
    of_node = tables.nodes.take(pa.array(node))
    key = _join(ids, circuit, of_node["name"])
    slot = np.zeros(alive.shape, int)
    slot[circuit, node] = np.arange(len(node))  # row of each node in the table of nodes

    members = [r.circuit.members for r in records]
    owner, edge = np.nonzero(np.stack(members))
    link_owner, link = np.nonzero(alive[:, tables.above] & alive[:, tables.below])
    nodes = [key, *of_node.columns]
    nodes += [_float32(values, alive) for values in ([r.full_in for r in records], [r.full_out for r in records])]
    feeds = [
        key.take(slot[owner, tables.sender[edge]]),
        key.take(slot[owner, tables.receiver[edge]]),
        *tables.edges.take(pa.array(edge)).columns,
        _float32([r.circuit.score for r in records], members),
        _float32([r.circuit.std for r in records], members),
        pa.array(np.concatenate([r.circuit.ranks[r.circuit.members] for r in records])),
        _float32([r.frequency for r in records], members),
    ]
    contains = [key.take(slot[link_owner, ends[link]]) for ends in (tables.above, tables.below)]
    return (
        pa.table(nodes, schema=NODE),
        pa.table(feeds, schema=FEEDS),
        pa.table(contains, schema=PAIR),
        pa.table([key, _join(models, circuit, of_node["name"])], schema=PAIR),
        pa.table([ids.take(circuit), key], schema=PAIR),
    )


def alive_nodes(record: CircuitRecord) -> Bool[np.ndarray, "node"]:
    """Return which nodes of the universe the circuit has.

    Raises:
        InputError: an edge of the circuit is on no path through the universe.
    """
    circuit, edges = record.circuit, record.circuit.universe.edges
    alive = np.zeros(len(circuit.universe.components), bool)
    alive[[circuit.universe.node_index[name] for name in circuit.nodes]] = True
    if not (alive[edges.sender] & alive[edges.receiver])[circuit.members].all():
        raise InputError(f"circuit {record.id[:12]}: {circuit.astray}")
    return alive


def _join(owners: pa.Array, owner: Int[np.ndarray, "node"], names: pa.Array) -> pa.Array:
    """Return `owner/name` for each name; `owner` is its index in `owners`."""
    join = pc.get_function("binary_join_element_wise")
    return join.call([owners.take(pa.array(owner)), names, pa.scalar("/")])


def _float32(values: Sequence[np.ndarray | None], chosen: Sequence[np.ndarray] | np.ndarray) -> pa.Array:
    """Return the chosen values of all circuits in canonical form (float32, one zero); null if a circuit has none."""
    parts = [
        pa.nulls(int(mask.sum()), pa.float64())
        if of_one is None
        else pa.array((of_one[mask].astype(np.float32) + np.float32(0)).astype(np.float64))
        for of_one, mask in zip(values, chosen, strict=True)
    ]
    return pa.concat_arrays(parts)


def shared_rows(records: Sequence[CircuitRecord]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the nodes that circuits share: rows with the columns of `SHARED`, by label and key."""
    rows: dict[str, dict[str, dict[str, Any]]] = {label: {} for label in SHARED}
    components: dict[tuple[str, Universe], Bool[np.ndarray, "node"]] = {}
    for record in records:
        item = record.item
        target, condition, recipe = item.target_class, item.condition, item.recipe
        rows["Model"][item.model.id] = asdict(item.model)
        rows["Dataset"][target.dataset] = {"name": target.dataset}
        rows["Class"].setdefault(target.key, _class_row(target))
        rows["Condition"][condition_key(condition)] = _condition_row(condition)
        rows["Recipe"][recipe.id] = _recipe_row(recipe)
        of = item.model.id, record.circuit.universe
        components[of] = components.get(of, False) | _components(record)
    for (model, universe), wanted in components.items():
        rows["Component"].update({row["key"]: row for row in _component_rows(model, universe, wanted)})
    return rows


def circuit_rows(records: Sequence[CircuitRecord], created_ms: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return a row with the columns of `CIRCUIT` for each circuit."""
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


def _components(record: CircuitRecord) -> Bool[np.ndarray, "node"]:
    """Return the nodes of the universe that the graph has as components because of a circuit."""
    universe = record.circuit.universe
    return np.ones(len(universe.components), bool) if universe.all_in_graph else alive_nodes(record)


def _component_rows(model: str, universe: Universe, wanted: Bool[np.ndarray, "node"]) -> list[dict[str, Any]]:
    nodes = universe_tables(universe).nodes.take(pa.array(np.flatnonzero(wanted))).to_pylist()
    return [{"key": f"{model}/{node['name']}", **node, "model": model} for node in nodes]
