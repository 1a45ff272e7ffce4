"""Creating a LadybugDB file with the schema of the graph, and migrating an older one."""

from __future__ import annotations

from pathlib import Path

import ladybug

from ...faults import fault
from ...lease import Permit
from .. import portable
from ..migrations import Migration, migrations
from .file import connectable, discard, kept_if_torn

BACKEND = "ladybug"


def applied(ask: portable.Ask) -> dict[int, str]:
    """Return the checksums of the migrations applied to a database, by version."""
    found = ask("MATCH (m:Migration) RETURN m.version, m.checksum", {})
    return {int(version): str(checksum) for version, checksum in found}


def step(connection: ladybug.Connection, migration: Migration, permit: Permit) -> None:
    """Apply a migration to an existing database."""
    connection.execute("BEGIN TRANSACTION")
    _apply(connection, migration)
    connection.execute("MATCH (s:Store) SET s.schema = $version", {"version": migration.version})
    fault("graph.migrate.before")
    with permit():
        connection.execute("COMMIT")
    fault("graph.migrate.after")


def _apply(connection: ladybug.Connection, migration: Migration) -> None:
    for statement in migration.statements:
        connection.execute(statement)
    connection.execute(
        "CREATE (:Migration {version: $version, name: $name, checksum: $checksum})",
        {"version": migration.version, "name": migration.name, "checksum": migration.checksum},
    )


def create(path: Path, store_id: str, permit: Permit) -> None:
    """Replace the file by an empty database of this store, atomically."""
    new = path.with_name(f"{path.name}.new")
    discard(new)
    database = connectable(new)
    with kept_if_torn(database):
        with ladybug.Connection(database) as connection:
            connection.execute("BEGIN TRANSACTION")
            for migration in migrations(BACKEND):
                _apply(connection, migration)
            version = migrations(BACKEND)[-1].version
            connection.execute("CREATE (:Store {id: $id, schema: $schema})", {"id": store_id, "schema": version})
            fault("graph.schema.before")
            connection.execute("COMMIT")
            fault("graph.schema.after")
            connection.execute("CHECKPOINT")  # so that the one file that is renamed contains everything
        database.close()
    fault("graph.create.before")
    with permit():
        discard(path, but_main=True)
    fault("graph.create.between")
    with permit():
        new.replace(path)
    fault("graph.create.after")
