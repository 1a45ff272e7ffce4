"""The whole program with its catalog on PostgreSQL, from an empty database to a deleted run, with each engine."""

from __future__ import annotations

import tarfile
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from circuitstore.store.catalog import Catalog

from .fixtures import made
from .neo4j_server import Neo4jServer
from .postgres_server import PostgresServer
from .store.test_catalog import migrate
from .test_cli import Done, run

FIXTURES = Path(made.__file__).parent
SPEC = """
name = "few"
model = "digits"
[images]
source = "digits"
per_class = 8
only = ["three", "seven"]
[[condition]]
kind = "natural"
[[recipe]]
method = "eap"
[[extract]]
edges = 30
"""


class Program:
    """Runs `circuitstore` on one store."""

    def __init__(self, *options: str) -> None:
        self.options = options

    def __call__(self, *arguments: str, code: int = 0) -> Done:
        done = run(*arguments, *self.options)
        assert done.returncode == code, done.stderr
        return done

    def rows(self, *arguments: str) -> pd.DataFrame:
        return pd.read_csv(StringIO(self(*arguments, "--format", "csv").stdout))


@pytest.fixture
def circuitstore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> Program:
    """The program with the graph in the folder of the store."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.toml").write_text(SPEC)
    return Program("--store", "store", "--catalog", postgres_url)


INDEX = ("index", "spec.toml", "--no-progress")


def test_from_an_empty_database_to_a_deleted_run(circuitstore: Program) -> None:
    circuitstore(*INDEX, "--dry-run")
    assert "2 items" in circuitstore(*INDEX).stderr
    assert "nothing was recomputed" in circuitstore(*INDEX).stderr

    (row,) = circuitstore.rows("status").to_dict("records")
    assert (row["run"], row["items"], row["done"], row["circuits"]) == ("few", 2, 2, 2)
    assert list(circuitstore.rows("status", "few")["class"]) == ["three", "seven"]
    assert len(circuitstore.rows("compare", "--by", "class", "--flagged")) == 1
    assert "failed" not in set(circuitstore.rows("doctor")["state"])
    circuitstore("verify")
    circuitstore("migrate")
    circuitstore("rebuild")
    circuitstore("verify")

    circuitstore("delete", "few")
    circuitstore("gc")
    assert len(circuitstore.rows("query", "MATCH (c:Circuit) RETURN c.id AS id")) == 0
    circuitstore("verify")


def test_with_both_databases_on_servers(circuitstore: Program, neo4j_server: Neo4jServer) -> None:
    neo4j_server.strip()
    served = Program(*circuitstore.options, "--graph", neo4j_server.url)
    served(*INDEX)
    found = served.rows("query", "MATCH (c:Circuit) RETURN c.class AS class, c.n_edges AS n ORDER BY class")
    assert list(found["class"]) == ["seven", "three"]
    served("verify")


def test_a_lost_catalog_is_rebuilt_in_another_database(circuitstore: Program, postgres_server: PostgresServer) -> None:
    circuitstore(*INDEX)
    with postgres_server.database() as empty:
        elsewhere = Program("--store", "store", "--catalog", empty)
        for command in (["status"], INDEX):
            assert "circuitstore rebuild" in elsewhere(*command, code=2).stderr
        elsewhere("rebuild")
        elsewhere("verify")
        assert "nothing was recomputed" in elsewhere(*INDEX).stderr


def test_a_catalog_of_the_first_version_is_migrated_with_its_contents(
    circuitstore: Program, postgres_url: str, tmp_path: Path
) -> None:
    """The stored example of schema 1, with its catalog copied to the server row by row."""
    with tarfile.open(FIXTURES / "store-v1.tar.xz") as kept:
        kept.extractall(tmp_path / "kept", filter="data")
    (file,) = (tmp_path / "kept").rglob("catalog.sqlite")
    old = sa.MetaData()
    with Catalog(f"sqlite:///{file}", read_only=True).reading() as theirs:
        old.reflect(theirs)
        rows = {t: [dict(r) for r in theirs.execute(sa.select(t)).mappings()] for t in old.sorted_tables}
    with Catalog(postgres_url, read_only=False).writing() as ours:
        migrate(ours, "0001")
        for table, held in rows.items():
            if held and table.name != "alembic_version":
                ours.execute(sa.insert(table), held)
    program = Program("--store", str(file.parent), "--catalog", postgres_url)
    assert "circuitstore migrate" in program("status", code=2).stderr
    program("migrate")
    program("verify")
    assert len(program.rows("query", "MATCH (c:Circuit) RETURN c.id AS id")) == len(rows[old.tables["circuits"]]) > 0
