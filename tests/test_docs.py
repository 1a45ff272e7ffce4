"""The documentation says what the program does."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest
import typer
from circuitstore.circuits import Circuit
from circuitstore.cli import app
from circuitstore.ingest import parse_spec
from circuitstore.ingest.spec import ExtractSpec, FolderSpec, ImagesSpec, KindSpec, ModelSpec, RecipeSpec, Spec
from circuitstore.store import open_store

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_the_help(generate: ModuleType) -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == generate.cli_reference(), "run: make docs"


def test_the_tables_of_kinds_are_the_registries(generate: ModuleType) -> None:
    written = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    assert "<!-- made: kinds -->" in written
    assert written == generate.with_made_parts(written), "run: make docs"


def test_every_example_of_a_spec_is_one() -> None:
    text = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len([parse_spec(example) for example in examples]) == 2


def test_every_field_of_a_spec_is_documented() -> None:
    text = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    tables = {"": Spec, "model.": ModelSpec, "images.": ImagesSpec, "images.source.": FolderSpec}
    tables |= {"recipe.": RecipeSpec, "extract.": ExtractSpec, "condition.": KindSpec}
    nested = {"images", "condition", "recipe", "extract"}
    fields = {f"{place}{name}" for place, table in tables.items() for name in table.model_fields}
    assert {f for f in fields - nested if f"| `{f}` |" not in text} == set()
    example = text.split("```toml\n")[1].split("```")[0]
    shown = {line.split("=")[0].strip() for line in example.splitlines() if "=" in line}
    assert {name for name in Spec.model_fields if name not in nested} <= shown


def test_every_property_of_the_graph_is_documented() -> None:
    schema = (ROOT / "migrations" / "graph" / "ladybug" / "0001_schema.cypher").read_text(encoding="utf-8")
    text = (ROOT / "docs" / "graph.md").read_text(encoding="utf-8")
    tables = dict(re.findall(r"CREATE (?:NODE|REL) TABLE (\w+)\((.*?)\);", schema, re.DOTALL))
    assert set(tables) - {name for name in tables if re.search(rf"\b{name}\b", text)} == set()
    columns = {c for body in tables.values() for c in re.findall(r"(\w+) (?:STRING|INT64|DOUBLE|BOOL)", body)}
    assert {c for c in columns if not re.search(rf"[`{{ ]{c}[`,}}]", text)} == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    undocumented = [p.name for p in command.params if not getattr(p, "help", None)]
    assert not undocumented
    assert f"## circuitstore {name}\n" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_the_commands_are_those_of_the_design() -> None:
    wanted = "demo index status query compare report verify rebuild migrate gc delete doctor"
    assert list(COMMANDS) == wanted.split()


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_takes_a_store(name: str) -> None:
    options = {o for p in COMMANDS[name].params for o in p.opts}
    assert {"--store", "--graph", "--catalog"} <= options


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in t]
    targets += re.findall(r'src="([^":]+)"', text)
    assert not [t for t in targets if not (page.parent / t).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_in_the_text_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"```bash\n(.*?)```", text, re.DOTALL) + re.findall(r"(?<!`)`([^`\n]+)`", text)
    named = {name for part in code for name in re.findall(r"^circuitstore ([a-z]+)", part, re.MULTILINE)}
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_the_lines_of_python_run(name: str, filled_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(filled_store)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, name, "exec"), names)
    assert isinstance(names["circuit"], Circuit)


def asked() -> list[tuple[str, str]]:
    """Queries of the README, as the shell gives them, and their answers."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```bash\ncircuitstore query (.*?)\n```\n```text\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize(("query", "answer"), asked())
def test_the_queries_of_the_readme_run(query: str, answer: str, filled_store: Path) -> None:
    with open_store(filled_store / "circuitstore-data") as store:
        (text,) = shlex.split(query)
        columns = list(store.query(text).to_pandas())
    assert answer.splitlines()[0].split() == columns
    assert len(answer.splitlines()) > 2


def test_the_readme_asks_five_queries() -> None:
    assert len(asked()) == 5
