"""The content of one circuit in a graph database, in canonical order, and differences between two contents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ...circuits import CircuitRecord, Condition, digest

Ask = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]
"""Runs one statement with parameters and returns its rows."""


@dataclass(frozen=True, eq=False)
class GraphContent:
    """One circuit as a graph database stores it.

    Attributes:
        properties: properties of its `Circuit` node, including `created_ms`.
        relations: keys of the nodes that it refers to: `model`, `class`, `dataset`, `condition`, `recipe`.
        nodes: `name, kind, layer, head, neuron, full_in, full_out, component`, sorted by name. `component` is the
            key of the component that the node is an instance of.
        edges: `edge, sender, receiver, port, score, std, rank, frequency`, sorted by edge.
        links: structural links, `above, below`, sorted by both.
    """

    properties: Mapping[str, Any]
    relations: Mapping[str, str]
    nodes: pd.DataFrame
    edges: pd.DataFrame
    links: pd.DataFrame

    @classmethod
    def of(cls, record: CircuitRecord, created_ms: int) -> GraphContent:
        """Return the content that a graph database should have for a circuit."""
        item, circuit = record.item, record.circuit
        universe, index = circuit.universe, np.flatnonzero(circuit.members)
        edges = [universe.edge(int(i)) for i in index]
        at = [universe.node_index[name] for name in circuit.nodes]
        components = [universe.components[i] for i in at]
        nodes = {
            "name": [c.name for c in components],
            "kind": [c.kind for c in components],
            "layer": [c.layer for c in components],
            "head": [c.head for c in components],
            "neuron": [c.neuron for c in components],
            "full_in": canonical(record.full_in, at),
            "full_out": canonical(record.full_out, at),
            "component": [f"{item.model.id}/{c.name}" for c in components],
        }
        values = {
            "edge": [e.name for e in edges],
            "sender": [e.sender for e in edges],
            "receiver": [e.receiver for e in edges],
            "port": [e.port for e in edges],
            "score": canonical(record.circuit.score, index),
            "std": canonical(record.circuit.std, index),
            "rank": circuit.ranks[index].tolist(),
            "frequency": canonical(record.frequency, index),
        }
        return cls.sorted(
            properties={**record.properties(), "created_ms": created_ms},
            relations={
                "model": item.model.id,
                "class": item.target_class.key,
                "dataset": item.target_class.dataset,
                "condition": condition_key(item.condition),
                "recipe": item.recipe.id,
            },
            nodes=nodes,
            edges=values,
            links={"above": [a for a, _ in circuit.links], "below": [b for _, b in circuit.links]},
        )

    @classmethod
    def sorted(
        cls,
        properties: Mapping[str, Any],
        relations: Mapping[str, str],
        nodes: Mapping[str, Sequence[Any]],
        edges: Mapping[str, Sequence[Any]],
        links: Mapping[str, Sequence[Any]],
    ) -> GraphContent:
        """Return content in canonical order from columns of Python values (None for missing values)."""

        def frame(values: Mapping[str, Sequence[Any]], by: list[str]) -> pd.DataFrame:
            return pd.DataFrame(dict(values), dtype=object).sort_values(by, ignore_index=True)

        return cls(
            dict(properties),
            dict(relations),
            frame(nodes, ["name"]),
            frame(edges, ["edge"]),
            frame(links, ["above", "below"]),
        )

    def differences(self, other: GraphContent) -> list[str]:
        """Return the differences of `other` (actual) from this content (expected), one sentence each."""
        found = [
            f"{name} is {theirs!r}, expected {ours!r}"
            for mine, others in ((self.properties, other.properties), (self.relations, other.relations))
            for name, ours, theirs in _pairs(mine, others)
            if ours != theirs
        ]
        found += _rows_that_differ("node", self.nodes, other.nodes, ["name"])
        found += _rows_that_differ("edge", self.edges, other.edges, ["edge"])
        found += _rows_that_differ("structural link", self.links, other.links, ["above", "below"])
        return found


def condition_key(condition: Condition) -> str:
    """Return the key of a condition's node: the hash of kind, parameters and version."""
    return digest(condition.to_dict())


def canonical(values: np.ndarray | None, at: Any) -> list[float | None]:
    """Return values in canonical form: float32 with one zero, as Python floats."""
    if values is None:
        return [None] * len(at)
    return (np.asarray(values)[at].astype(np.float32) + np.float32(0)).tolist()


def _pairs(mine: Mapping[str, Any], others: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    names = sorted({*mine, *others})
    return [(name, mine.get(name), others.get(name)) for name in names]


def _rows_that_differ(what: str, mine: pd.DataFrame, others: pd.DataFrame, key: list[str]) -> list[str]:
    columns = [*key, *(c for c in mine.columns if c not in key)]
    expected = {row[: len(key)]: row for row in _rows(mine, columns)}
    rows = _rows(others, columns)
    actual = {row[: len(key)]: row for row in rows}
    found = [f"{what} {' '.join(k)} is missing" for k in expected if k not in actual]
    found += [f"{what} {' '.join(k)} is not in the archive" for k in actual if k not in expected]
    if len(rows) != len(actual):
        found.append(f"{len(rows) - len(actual)} {what}s occur more than once")
    for k, row in expected.items():
        for column, ours, theirs in zip(columns, row, actual.get(k, row), strict=True):
            if ours != theirs:
                found.append(f"{what} {' '.join(k)}: {column} is {theirs!r}, expected {ours!r}")
    return found


def _rows(frame: pd.DataFrame, columns: list[str]) -> list[tuple[Any, ...]]:
    return list(frame[columns].itertuples(index=False, name=None))
