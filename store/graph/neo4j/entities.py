"""Conversion of Neo4j's nodes, relationships and paths to the form that all engines share."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import Any

from neo4j.graph import Node, Path, Relationship

from ..tables import entity


def plain(value: Any) -> Any:
    """Return a value with nodes and relationships as `entity` dictionaries; a path becomes their list, in order."""
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
