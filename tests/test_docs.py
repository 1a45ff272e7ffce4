"""The documentation matches the program."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

import pytest
import typer
from circuitstore.circuits import Circuit, Note, Readout
from circuitstore.cli import app
from circuitstore.cli.pages import pages
from circuitstore.evaluation import INTERVENTIONS, READOUTS, Edit, NeuronPaths
from circuitstore.formats import FileCircuit
from circuitstore.ingest import index, parse_spec
from circuitstore.ingest.spec import (
    ConditionSpec,
    CorrectionSpec,
    DefenceSpec,
    ExtractSpec,
    FolderSpec,
    ImagesSpec,
    ModelSpec,
    NeuronPathsSpec,
    ReadoutSpec,
    RecipeSpec,
    Spec,
)
from circuitstore.store import open_store

from .image_fixtures import Photo

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def commands(group: Any) -> dict[str, Any]:
    """All commands by name; those of a group have its name before their own."""
    found = {}
    for name, command in group.commands.items():
        inner = commands(command) if hasattr(command, "commands") else {"": command}
        found |= {f"{name} {own}".strip(): one for own, one in inner.items()}
    return found


COMMANDS = commands(typer.main.get_command(app))


def script(name: str) -> ModuleType:
    """Load a program in `docs/` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    return script("generate")


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    return script("draw_schema")


def test_the_reference_is_generated_from_the_help(generate: ModuleType) -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == generate.cli_reference(), "run: make docs"


@pytest.mark.parametrize(("page", "part"), [("spec", "kinds"), ("formats", "formats"), ("detection", "detectors")])
def test_the_tables_of_kinds_are_generated_from_the_registries(page: str, part: str, generate: ModuleType) -> None:
    written = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert f"<!-- made: {part} -->" in written
    assert written == generate.with_made_parts(written), "run: make docs"


def test_every_example_of_a_spec_is_valid() -> None:
    text = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    whole = [example for example in examples if example.startswith("name = ")]
    assert len([parse_spec(example) for example in whole]) == 2
    source = 'source = "digits"\n'
    for part in (example for example in examples if example not in whole):
        if part.startswith("source = "):
            assert [parse_spec(whole[1].replace(source, f"{line}\n")) for line in part.splitlines()]
        elif part.startswith("[images]"):
            parse_spec(whole[1].replace(f"[images]\n{source}", part))
        else:
            parse_spec(f"{whole[1]}\n{part}")


def test_the_full_example_of_a_spec_runs(tmp_path: Path, photo: Photo) -> None:
    """The example runs with a small model of random weights and few images."""
    example = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "spec.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    changes = {
        'timm = "vit_base_patch16_224", pretrained = true': 'timm = "test_vit"',
        "per_class = 64 ": "per_class = 8 ",
        'choose = "correct"': 'choose = "all"',
    }
    for old, new in changes.items():
        assert old in example
        example = example.replace(old, new)
    for i, name in enumerate(("tabby", "goldfinch")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(8):
            photo(100 * i + k).save(tmp_path / "photos" / name / f"{k}.jpg")
    result = index(parse_spec(example, folder=tmp_path), location=tmp_path / "store", progress=False)
    assert (result.done, result.failed, result.circuits) == (3, {}, 6)


def test_every_field_of_a_spec_is_documented() -> None:
    text = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    tables = {"": Spec, "model.": ModelSpec, "images.": ImagesSpec, "images.source.": FolderSpec}
    tables |= {"recipe.": RecipeSpec, "extract.": ExtractSpec, "condition.": ConditionSpec}
    tables |= {"neuron_paths.": NeuronPathsSpec, "readout.": ReadoutSpec, "defence.": DefenceSpec}
    tables |= {"correction.": CorrectionSpec}
    nested = {"images", "condition", "recipe", "extract", "neuron_paths", "readout", "defence", "correction"}
    fields = {f"{place}{name}" for place, table in tables.items() for name in table.model_fields}
    assert {f for f in fields - nested if f"| `{f}` |" not in text} == set()
    example = text.split("```toml\n")[1].split("```")[0]
    shown = {line.split("=")[0].strip() for line in example.splitlines() if "=" in line}
    assert {name for name in Spec.model_fields if name not in nested} <= shown


def test_every_property_of_the_graph_is_documented(drawing: ModuleType) -> None:
    text = (ROOT / "docs" / "graph.md").read_text(encoding="utf-8")
    tables = drawing.schema()
    assert {"Circuit", "FEEDS", "CONTAINS"} <= set(tables)
    inside = {name: table for name, table in tables.items() if table.properties}
    assert set(inside) - {name for name in inside if re.search(rf"\b{name}\b", text)} == set()
    columns = {column for table in inside.values() for column in table.properties}
    assert {c for c in columns if not re.search(rf"[`{{ ]{c}[`,}}]", text)} == set()


def test_the_picture_of_the_schema_is_the_schema(drawing: ModuleType) -> None:
    picture = drawing.PICTURE.read_text(encoding="utf-8")
    assert picture == drawing.draw(drawing.schema()), "run: make docs"
    words = set(re.findall(r">(\w+)</text>", picture))
    for name, table in drawing.schema().items():
        assert {name, *table.properties} <= words


def test_an_unknown_table_cannot_be_drawn(drawing: ModuleType) -> None:
    more = {**drawing.schema(), "Stranger": drawing.Table("Stranger", "key", {"key": "STRING"}, ())}
    with pytest.raises(SystemExit, match="Stranger"):
        drawing.draw(more)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    undocumented = [p.name for p in command.params if not getattr(p, "help", None)]
    assert not undocumented
    assert f"## circuitstore {name}\n" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_the_commands_are_those_of_the_design() -> None:
    note = ["note add", "note list", "note export", "note import"]
    computed = "demo index preview probe cross defend detect correct"
    read = "status query show draw compare report serve export import similar merge"
    kept = "verify rebuild migrate gc delete docs doctor"
    assert list(COMMANDS) == [*computed.split(), *read.split(), *kept.split(), *note]


@pytest.mark.parametrize(
    "name", [name for name in COMMANDS if name not in ("docs", "preview", "probe")]
)  # these do not read a store
def test_every_command_takes_a_store(name: str) -> None:
    options = {o for p in COMMANDS[name].params for o in p.opts}
    assert {"--store", "--graph", "--catalog"} <= options


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_have_targets(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in t]
    targets += re.findall(r'src="([^":]+)"', text)
    assert not [t for t in targets if not (page.parent / t).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_in_the_text_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"```bash\n(.*?)```", text, re.DOTALL) + re.findall(r"(?<!`)`([^`\n]+)`", text)
    named = {name for part in code for name in re.findall(r"^circuitstore ([a-z]+)", part, re.MULTILINE)}
    assert named <= {name.split()[0] for name in COMMANDS}


def test_messages_and_help_refer_to_existing_pages() -> None:
    """Texts refer to pages by `circuitstore docs PAGE`: a path like docs/spec.md exists only in a clone."""
    files = [
        p for p in ROOT.glob("*/**/*.py") if p.relative_to(ROOT).parts[0] not in ("tests", "docs", ".venv", "build")
    ]
    named = {name for p in files for name in re.findall(r"circuitstore docs ([a-z]+)", p.read_text(encoding="utf-8"))}
    assert {"graph", "queries", "spec"} <= named <= set(pages())
    texts = [node.value for p in files for node in ast.walk(ast.parse(p.read_text(encoding="utf-8"))) if is_text(node)]
    assert not [text for text in texts if "docs/" in text and ".md" in text and "\n" not in text]


def is_text(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


SPEC = """
name = "small"
[images]
source = "digits"
per_class = 8
only = ["three"]
[[condition]]
kind = "natural"
[[recipe]]
method = "eap"
[[extract]]
edges = 20
"""


@pytest.mark.parametrize(
    ("name", "last", "kind"),
    [
        *((name, "circuit", Circuit) for name in ("README.md", "docs/python.md", "docs/own-results.md")),
        ("docs/neurons.md", "found", NeuronPaths),
        ("docs/interventions.md", "guarded", Edit),
        ("docs/formats.md", "found", FileCircuit),
        ("docs/notes.md", "later", Note),
        ("docs/readouts.md", "direct", Readout),
    ],
)
def test_the_python_examples_run(
    name: str, last: str, kind: type, filled_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    shutil.copytree(filled_store / "circuitstore-data", tmp_path / "circuitstore-data")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= (1 if name in ("docs/formats.md", "docs/notes.md") else 2)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, name, "exec"), names)
    assert isinstance(names[last], kind)


def test_every_intervention_is_on_its_page() -> None:
    page = (ROOT / "docs" / "interventions.md").read_text(encoding="utf-8")
    assert [key for key in INTERVENTIONS if f"| `{key}` | `cs.{key.replace('-', '_')}(" not in page] == []


def test_every_read_out_is_on_its_page() -> None:
    page = (ROOT / "docs" / "readouts.md").read_text(encoding="utf-8")
    assert [key for key in READOUTS if f"cs.{key.replace('-', '_')}" not in page and f"`{key}`" not in page] == []


def readme_queries() -> list[tuple[str, str]]:
    """Return the queries of the README, quoted as in the shell, and their answers."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```bash\ncircuitstore query (.*?)\n```\n```text\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize(("query", "answer"), readme_queries())
def test_the_queries_of_the_readme_run(query: str, answer: str, filled_store: Path) -> None:
    with open_store(filled_store / "circuitstore-data") as store:
        (text,) = shlex.split(query)
        columns = list(store.query(text).to_pandas())
    assert answer.splitlines()[0].split() == columns
    assert len(answer.splitlines()) > 2


def test_the_readme_has_five_queries() -> None:
    assert len(readme_queries()) == 5
