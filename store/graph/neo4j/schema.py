"""The constraints and indexes that a Neo4j database must have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import neo4j

from ....errors import StoreVersion
from ..migrations import Migration
from .server import Server, rows

NAMES = "circuitstore_"
"""Prefix of the names of this package's constraints and indexes."""

_COMMENT = re.compile(r"//.*")
_CREATE = re.compile(
    r"\s*CREATE\s+(CONSTRAINT|INDEX)\s+(?P<name>\w+)[^:]*:(?P<label>\w+).*?\.(?P<property>\w+)", re.DOTALL
)
_DROP = re.compile(r"\s*DROP\s+(CONSTRAINT|INDEX)\s+(?P<name>\w+)")
_SHOW = (
    "SHOW INDEXES YIELD name, labelsOrTypes, properties, owningConstraint, state WHERE name STARTS WITH $ours "
    "RETURN name, labelsOrTypes, properties, owningConstraint IS NOT NULL, state"
)
_FOREIGN = (
    "SHOW CONSTRAINTS YIELD name WHERE NOT name STARTS WITH $ours RETURN name",
    "SHOW INDEXES YIELD name, type WHERE type <> 'LOOKUP' AND NOT name STARTS WITH $ours RETURN name",
)


@dataclass(frozen=True)
class Rule:
    """A uniqueness constraint, or an index of a property.

    Attributes:
        statement: the statement that creates it.
    """

    name: str
    unique: bool
    label: str
    property: str
    statement: str

    def __str__(self) -> str:
        return f"{'the constraint' if self.unique else 'the index'} {self.name} on {self.label}.{self.property}"


def rules(migrations: Iterable[Migration]) -> dict[str, Rule]:
    """Return the constraints and indexes that exist after these migrations, by name."""
    found: dict[str, Rule] = {}
    for statement in (s for m in migrations for s in m.statements):
        text = _COMMENT.sub("", statement)
        if create := _CREATE.match(text):
            rule = Rule(create["name"], create[1] == "CONSTRAINT", create["label"], create["property"], text.strip())
            found[rule.name] = rule
        elif drop := _DROP.match(text):
            found.pop(drop["name"], None)
    return found


def missing(tx: neo4j.ManagedTransaction, migrations: Sequence[Migration]) -> list[Rule]:
    """Return the constraints and indexes that are missing, have failed, or differ from the one of that name."""
    there = {name: tuple(rest) for name, *rest in rows(tx, _SHOW, {"ours": NAMES})}
    return [r for r in rules(migrations).values() if not _is(r, there.get(r.name))]


def _is(rule: Rule, shown: tuple[list[str], list[str], bool, str] | None) -> bool:
    return shown is not None and (*shown[:3], shown[3] != "FAILED") == (
        [rule.label],
        [rule.property],
        rule.unique,
        True,
    )


def check_whole(tx: neo4j.ManagedTransaction, migrations: Sequence[Migration], url: str) -> None:
    """Check that the database has all constraints and indexes of its schema version.

    Raises:
        StoreVersion: some are missing; the message names them and the command that creates them again.
    """
    if lost := missing(tx, migrations):
        raise StoreVersion(
            f"{url} has schema version {migrations[-1].version}, but lacks "
            f"{', '.join(map(str, lost))}; create what is missing with: circuitstore migrate"
        )


def repair(server: Server, lost: Sequence[Rule]) -> None:
    """Create constraints and indexes again."""
    for rule in lost:
        # names cannot be parameters; these come from the migrations
        server.define(f"DROP CONSTRAINT {rule.name} IF EXISTS")
        server.define(f"DROP INDEX {rule.name} IF EXISTS")
        server.define(rule.statement)


def is_foreign(tx: neo4j.ManagedTransaction) -> bool:
    """Return whether the database has constraints or indexes of others."""
    return any(rows(tx, text, {"ours": NAMES}) for text in _FOREIGN)
