"""Migrations of a graph's schema: small numbered Cypher files, recorded with their checksums in the database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from importlib.resources import files

from ...errors import StoreVersion

_SCHEMA = re.compile(r"(//.*\n|\s)*(CREATE|DROP)\s+(\w+\s+)?(CONSTRAINT|INDEX)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Migration:
    """One step of a backend's schema, such as `0001_schema`.

    A step may change both schema and data. It takes effect in one transaction with its record. On Neo4j, which changes
    its schema outside of that transaction, the schema statements come first and can be repeated, so an interrupted
    step can be applied again.
    """

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    @property
    def schema(self) -> tuple[str, ...]:
        """The statements that create or drop a constraint or an index; Neo4j needs a separate transaction for each."""
        return tuple(s for s in self.statements if _SCHEMA.match(s))

    @property
    def data(self) -> tuple[str, ...]:
        """The other statements."""
        return tuple(s for s in self.statements if not _SCHEMA.match(s))

    @cached_property
    def statements(self) -> tuple[str, ...]:
        """All statements; each ends at a line that ends in a semicolon."""
        parts = re.split(r";\s*$", self.text, flags=re.MULTILINE)
        return tuple(part.strip() for part in parts if part.strip())


@lru_cache(maxsize=8)
def migrations(backend: str) -> tuple[Migration, ...]:
    """Return all migrations of a backend, `ladybug` or `neo4j`, by version."""
    folder = files("circuitstore.migrations.graph") / backend
    found = []
    for file in folder.iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.cypher", file.name):
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda m: m.version))


def pending(backend: str, applied: Mapping[int, str], url: str) -> tuple[Migration, ...]:
    """Return the migrations that a database still needs.

    Args:
        backend: `ladybug` or `neo4j`.
        applied: checksum of each migration that the database has recorded, by version.
        url: URL of the database, for the message.

    Raises:
        StoreVersion: the database has migrations that this program does not know, or that differ from its own.
    """
    known = {m.version: m for m in migrations(backend)}
    latest = max(known)
    if applied and max(applied) > latest:
        raise StoreVersion(
            f"{url} has schema version {max(applied)}, this circuitstore knows versions up to {latest}; install a "
            "newer circuitstore, or rebuild the graph from the archive with this one: circuitstore rebuild"
        )
    for version, checksum in applied.items():
        if checksum != known[version].checksum:
            raise StoreVersion(
                f"{url}: schema version {version} was made by another form of {known[version].name!r} (checksum "
                f"{checksum[:12]}, expected {known[version].checksum[:12]}); rebuild the graph from the archive with: "
                "circuitstore rebuild"
            )
    return tuple(m for v, m in known.items() if v not in applied)


def check_current(backend: str, applied: Mapping[int, str], url: str) -> None:
    """Check that a database needs no migration.

    Raises:
        StoreVersion: its schema is not that of this program; the message says what to do.
    """
    missing = pending(backend, applied, url)
    if missing:
        raise StoreVersion(
            f"{url} has schema version {max(applied, default=0)}, this circuitstore needs {missing[-1].version}; "
            "bring it up to date with: circuitstore migrate"
        )
