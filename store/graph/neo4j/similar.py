"""`SIMILAR` relationships of circuits in Neo4j."""

from __future__ import annotations

import neo4j
import pyarrow as pa

from ..portable import DELETE_SIMILAR
from .server import rows

_CREATE = """
    UNWIND $rows AS r
    MATCH (a:Circuit {id: r.from}) MATCH (b:Circuit {id: r.to})
    CREATE (a)-[:SIMILAR {measure: r.measure, value: r.value, chance: r.chance, floor: r.floor}]->(b)"""


def replace(tx: neo4j.ManagedTransaction, measure: str, pairs: pa.Table) -> None:
    """Replace the `SIMILAR` relationships of a measure."""
    rows(tx, DELETE_SIMILAR, {"measure": measure})
    rows(tx, _CREATE, {"rows": pairs.to_pylist()})
