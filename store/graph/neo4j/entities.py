"""Nodes, relationships and paths as Neo4j's driver gives them, in the form of every engine."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import Any

from neo4j.graph import Node, Path, Relationship

from ..tables import entity


def plain(value: Any) -> Any:
    """A value whose nodes and relationships are `entity`s; a path is the list of them in its order."""
    match value:
        case list():
            return [plain(v) for v in value]
        case Path():
            steps = chain.from_iterable(zip_longest(value.nodes, value.relationships))
            return [plain(step) for step in steps if step is not None]
        case Node():
            return entity("label", "".join(sorted(value.labels)), dict(value))
        case Relationship():
            return entity("type", value.type, dict(value))
        case dict():
            return {k: plain(v) for k, v in value.items()}
    return value
