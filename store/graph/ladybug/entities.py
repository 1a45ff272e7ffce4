"""Conversion of LadybugDB's nodes, relationships and paths to the form that all engines share."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import Any

from ..tables import entity


def plain(value: Any) -> Any:
    """Return a value with nodes and relationships as `entity` dictionaries; a path becomes their list, in order."""
    match value:
        case list():
            return [plain(v) for v in value]
        case {"_NODES": list(nodes), "_RELS": list(links)}:
            steps = chain.from_iterable(zip_longest(nodes, links))
            return [plain(step) for step in steps if step is not None]
        case {"_LABEL": str(name)}:
            properties = {k: v for k, v in value.items() if k not in ("_ID", "_LABEL", "_SRC", "_DST")}
            return entity("type" if "_SRC" in value else "label", name, properties)
        case dict():
            return {k: plain(v) for k, v in value.items()}
    return value
