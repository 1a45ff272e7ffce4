"""The commands of the operating guide, run in a shell on real servers."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from circuitstore.ingest import index, load_spec
from circuitstore.store import open_store

from .test_packaging import package_files

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
GRAPH = "bolt://localhost:7687/neo4j"
CATALOG = "postgresql+psycopg://circuitstore@localhost/circuitstore"
NOWHERE = "bolt://127.0.0.1:1/neo4j"
RESTORED = CATALOG.removesuffix("circuitstore") + "restored"
SPEC = """
name = "small"
model = "digits"
[images]
source = "digits"
per_class = 8
only = ["three"]
[[condition]]
kind = "natural"
[[recipe]]
method = "eap-ig"
steps = 2
[[extract]]
edges = 30
"""


def commands(section: str) -> list[str]:
    """Return the shell blocks in a section of the guide."""
    (text,) = re.findall(rf"\n## {section}\n(.*?)(?=\n## |\Z)", GUIDE, re.DOTALL)
    return re.findall(r"```bash\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec and its store."""
    folder = tmp_path_factory.mktemp("operating")
    (folder / "SPEC.toml").write_text(SPEC)
    index(load_spec(folder / "SPEC.toml"), location=folder / "circuitstore-data", progress=False)
    return folder


@pytest.fixture
def place(indexed: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(indexed, tmp_path / "here"))


def shell(text: str, folder: Path) -> str:
    """Run commands, which must all succeed, and return their output."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if not re.fullmatch("CIRCUITSTORE_(STORE|GRAPH|CATALOG)", k)}
    done = subprocess.run(
        ["sh", "-e", "-c", text],
        cwd=folder,
        env=environment | {"PATH": programs, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def plain(url: str) -> str:
    """Return the URL in the form of PostgreSQL's tools."""
    return url.replace("+psycopg", "")


def circuits(folder: Path, graph: str | None = None, catalog: str | None = None) -> list[list]:
    with open_store(folder / "circuitstore-data", graph=graph, catalog=catalog) as store:
        rows = store.query("MATCH (c:Circuit)-[:HAS]->(n:Node) RETURN c.id AS id, count(*) AS nodes").to_pandas()
    return rows.to_numpy().tolist()


def test_a_graph_moves_to_neo4j_and_back_by_the_guide(place: Path, neo4j_server) -> None:
    neo4j_server.empty()
    here = circuits(place)
    assert len(here) == 1
    copy, check, back = (
        block.replace(GRAPH, neo4j_server.url) for block in commands("Move to a Neo4j server, and back")
    )
    assert "no differences" in shell(copy, place)
    (place / "circuitstore-data" / "graph.lbdb").unlink()
    assert "no differences" in shell(check, place), "the settings file is ignored"
    assert circuits(place, neo4j_server.url) == here
    assert "no differences" in shell(back, place)
    assert (place / "circuitstore.toml").read_text() == ""
    assert circuits(place) == here


def test_a_catalog_moves_to_postgres_with_its_runs_by_the_guide(place: Path, postgres_url: str) -> None:
    here = circuits(place)
    (block,) = commands("The catalog on PostgreSQL")
    output = shell(block.replace(CATALOG, postgres_url), place)
    assert "no differences" in output
    (place / "circuitstore-data" / "catalog.sqlite").unlink()
    status = shell("circuitstore status --format csv", place)
    assert "\nsmall,1,1," in status
    assert "recovered" not in status
    assert circuits(place, catalog=postgres_url) == here


def test_a_backup_by_the_guide_is_a_store_and_leaves_the_graph_of_its_original(place: Path, neo4j_server) -> None:
    """The copy has the same store id, so a graph in the settings would be that of the original."""
    if not shutil.which("sqlite3"):
        pytest.skip("no sqlite3 command on this machine")
    neo4j_server.empty()
    shell(f"circuitstore rebuild --graph {neo4j_server.url}", place)
    neo4j_server.ask("MATCH (c:Circuit) SET c.original = true")
    (place / "circuitstore.toml").write_text(f'graph = "{neo4j_server.url}"\n')
    files, _ = commands("Back up, and restore")
    assert "no differences" in shell(files, place)
    assert neo4j_server.ask("MATCH (c:Circuit {original: true}) RETURN count(c)") == [[1]]
    with open_store(place / "backup") as copy:
        assert len(copy.circuits()) == len(copy.graph.present()) == 1
        assert copy.runs()["run"].tolist() == ["small"]


def test_a_dump_of_the_catalog_is_restored_by_the_guide(place: Path, postgres_url: str, postgres_server) -> None:
    if not shutil.which("pg_dump"):
        pytest.skip("no pg_dump command on this machine")
    shell(f"circuitstore rebuild --catalog {postgres_url}; mkdir backup; cp -a *-data/archive backup/", place)
    (place / "circuitstore.toml").write_text(f'graph = "{NOWHERE}"\ncatalog = "{postgres_url}"\n')
    _, dump = commands("Back up, and restore")
    with postgres_server.database() as restored:
        for given, url in ((CATALOG, postgres_url), (RESTORED, restored)):
            dump = dump.replace(given, url).replace(plain(given), plain(url))
        shell(dump, place)
        (place / "circuitstore.toml").unlink()
        assert "\nsmall " in shell(f"circuitstore status --store backup --catalog {restored}", place)
        assert "no differences" in shell(f"circuitstore verify --store backup --catalog {restored}", place)


def messages_of_the_program() -> list[str]:
    """Return every text in the source of the package; f-strings have … in place of values."""
    found = []
    for path in package_files():
        if path.suffix == ".py":
            for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(p.value if isinstance(p, ast.Constant) else "…" for p in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


def test_the_messages_in_the_guide_are_those_of_the_program() -> None:
    table = GUIDE.split("| message |")[1].split("\n\n")[0].splitlines()[2:]
    messages = [row.split(" | ")[0].removeprefix("| ") for row in table]
    ours = [message for message in messages if "PostgreSQL's words" not in message]
    assert len(ours) >= 12
    source = "\n".join(messages_of_the_program())
    parts = {message: [part.strip(" ,") for part in message.split("…") if part.strip(" ,")] for message in ours}
    assert {m: [p for p in of if p not in source] for m, of in parts.items() if any(p not in source for p in of)} == {}
