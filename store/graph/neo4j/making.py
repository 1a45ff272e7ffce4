"""Creating the schema of a Neo4j database, and migrating an older one."""

from __future__ import annotations

import neo4j
from neo4j.exceptions import ConstraintError

from ....errors import StoreError
from ...faults import fault
from ..migrations import Migration, migrations
from .schema import NAMES
from .server import Server, rows

BACKEND = "neo4j"

_CREATE_STORE = "CREATE (:Store {singleton: true, id: $id})"
_APPLIED = "MATCH (m:Migration) RETURN m.version, m.checksum"
_RECORDED = "MATCH (m:Migration {version: $version}) RETURN m.version"
_RECORD = """
    MATCH (s:Store) SET s.schema = $version
    CREATE (:Migration {version: $version, name: $name, checksum: $checksum})"""


def applied(tx: neo4j.ManagedTransaction) -> dict[int, str]:
    """Return the checksums of the migrations applied to a database, by version."""
    return {int(version): str(checksum) for version, checksum in rows(tx, _APPLIED)}


def make(server: Server, store_id: str) -> None:
    """Create the schema for a store in an empty database; do nothing if another process has just done so."""

    def work(tx: neo4j.ManagedTransaction) -> None:
        rows(tx, _CREATE_STORE, {"id": store_id})
        for migration in migrations(BACKEND):
            _fill(tx, migration)
        fault("graph.create.before")

    for migration in migrations(BACKEND):
        _define(server, migration)
    try:
        server.write(work)
    except StoreError as error:
        if not isinstance(error.__cause__, ConstraintError):  # another process was faster; the caller checks the owner
            raise
    fault("graph.create.after")


def step(server: Server, migration: Migration) -> None:
    """Apply a migration to an existing database."""
    _define(server, migration)
    server.write(lambda tx: _migrate(tx, migration))
    fault("graph.migrate.after")


def _define(server: Server, migration: Migration) -> None:
    """Run the schema statements of a migration, each in a separate transaction; they can be repeated."""
    for statement in migration.schema:
        server.define(statement)


def _migrate(tx: neo4j.ManagedTransaction, migration: Migration) -> None:
    """Run the data statements of a step; if it is repeated after a lost answer, do nothing."""
    if not rows(tx, _RECORDED, {"version": migration.version}):
        _fill(tx, migration)
    fault("graph.migrate.before")


def _fill(tx: neo4j.ManagedTransaction, migration: Migration) -> None:
    """Run the data statements of a migration, and record it."""
    for statement in migration.data:
        rows(tx, statement)
    rows(tx, _RECORD, {"version": migration.version, "name": migration.name, "checksum": migration.checksum})


def redefine(server: Server) -> None:
    """Replace another version's schema by this program's."""
    kinds = {"CONSTRAINTS": "CONSTRAINT", "INDEXES": "INDEX"}
    for many, one in kinds.items():
        show = f"SHOW {many} YIELD name WHERE name STARTS WITH $ours RETURN name"
        for (name,) in server.write(lambda tx, show=show: rows(tx, show, {"ours": NAMES})):
            server.define(f"DROP {one} `{name}` IF EXISTS")

    def work(tx: neo4j.ManagedTransaction) -> None:
        rows(tx, "MATCH (m:Migration) DELETE m")
        for migration in migrations(BACKEND):
            _fill(tx, migration)
        fault("graph.recreate.before")

    for migration in migrations(BACKEND):
        _define(server, migration)
    server.write(work)
    fault("graph.recreate.after")
