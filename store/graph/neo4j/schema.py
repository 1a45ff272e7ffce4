"""The constraints and indexes that a Neo4j database must have, and whether it has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import neo4j

from ....errors import StoreVersion
from ..migrations import Migration
from .server import Server, rows

NAMES = "circuitstore_"
"""How the names of our constraints and indexes begin."""

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
        statement: that makes it.
    """

    name: str
    unique: bool
    label: str
    property: str
    statement: str

    def __str__(self) -> str:
        return f"{'the constraint' if self.unique else 'the index'} {self.name} on {self.label}.{self.property}"


def rules(migrations: Iterable[Migration]) -> dict[str, Rule]:
    """What stands after these migrations, by name."""
    found: dict[str, Rule] = {}
    for statement in (s for m in migrations for s in m.statements):
        text = _COMMENT.sub("", statement)
        if made := _CREATE.match(text):
            rule = Rule(made["name"], made[1] == "CONSTRAINT", made["label"], made["property"], text.strip())
            found[rule.name] = rule
        elif gone := _DROP.match(text):
            found.pop(gone["name"], None)
    return found


def missing(tx: neo4j.ManagedTransaction, migrations: Sequence[Migration]) -> list[Rule]:
    """The constraints and indexes that are not there, fail, or are others under the same name."""
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
    """Return if the database has all that its schema version has.

    Raises:
        StoreVersion: something is missing; the message names it and the command that makes it again.
    """
    if lost := missing(tx, migrations):
        raise StoreVersion(
            f"{url} has schema version {migrations[-1].version}, but of what belongs to it there is no more: "
            f"{', '.join(map(str, lost))}; make that again with: circuitstore migrate"
        )


def mend(server: Server, lost: Sequence[Rule]) -> None:
    """Make constraints and indexes again."""
    for rule in lost:
        # names cannot be parameters; these are the migrations' own
        server.define(f"DROP CONSTRAINT {rule.name} IF EXISTS")
        server.define(f"DROP INDEX {rule.name} IF EXISTS")
        server.define(rule.statement)


def is_foreign(tx: neo4j.ManagedTransaction) -> bool:
    """Whether somebody else's constraints or indexes are there."""
    return any(rows(tx, text, {"ours": NAMES}) for text in _FOREIGN)
