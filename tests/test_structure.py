"""Rules for the structure of the package that import contracts cannot state."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAX_PARAMETERS = 9
"""Maximum number of parameters of a function, without `self` and `cls`; the command line is exempt."""


def modules() -> dict[str, Path]:
    """Return the files of all modules of the package, by module name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = {}
    for package in project["tool"]["setuptools"]["packages"]:
        for file in ROOT.joinpath(*package.split(".")[1:]).glob("*.py"):
            found[package if file.stem == "__init__" else f"{package}.{file.stem}"] = file
    return found


def imports(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return which modules each module imports, at the top, in a function or under `TYPE_CHECKING`."""
    return {name: {m for m in _imported(name, file, files) if m != name} for name, file in files.items()}


def _imported(name: str, file: Path, files: Mapping[str, Path]) -> Iterator[str]:
    package = name if file.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name in files)
            case ast.ImportFrom(module=module, names=names, level=level):
                parents = package.split(".")[: -level + 1 or None] if level else []
                source = ".".join([*parents, *([module] if module else [])])
                for alias in names:
                    member = f"{source}.{alias.name}"
                    yield from (m for m in (member if member in files else source,) if m in files)


def test_there_is_no_import_cycle() -> None:
    files = modules()
    found = imports(files)
    assert found["circuitstore.store.writer"] >= {"circuitstore.store.projection", "circuitstore.circuits"}
    TopologicalSorter(found).prepare()  # the error has the cycle


@pytest.mark.parametrize(
    "back",
    [
        "from .a import A",
        "from . import a",
        "import p.a",
        "def f():\n    from p import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import A",
    ],
)
def test_an_import_cycle_is_found(tmp_path: Path, back: str) -> None:
    texts = {"p.a": "from .b.c import C", "p.b.c": "from .. import d", "p.d": back, "p.b": "", "p": ""}
    files = {}
    for name, text in texts.items():
        folder = tmp_path.joinpath(*name.split("."))
        files[name] = folder / "__init__.py" if name in ("p", "p.b") else folder.with_suffix(".py")
        files[name].parent.mkdir(parents=True, exist_ok=True)
        files[name].write_text(text)
    with pytest.raises(CycleError) as error:
        TopologicalSorter(imports(files)).prepare()
    assert set(error.value.args[1]) == {"p.a", "p.b.c", "p.d"}


def functions(name: str, file: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the dotted name and parameters of each function and method of a module, including nested ones."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            a = node.args
            every = [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs]
            names = [arg.arg for arg in (*every, *([a.kwarg] if a.kwarg else []))]
            yield f"{name}.{node.name}", [name for name in names if name not in ("self", "cls")]


def test_functions_have_few_parameters() -> None:
    rooms = {n.removeprefix("circuitstore."): f for n, f in modules().items() if not n.startswith("circuitstore.cli")}
    found = [pair for name, file in rooms.items() for pair in functions(name, file)]
    assert len(found) > 1000 and len(dict(found)["discovery.answer.discover"]) == MAX_PARAMETERS
    longer = {name: parameters for name, parameters in found if len(parameters) > MAX_PARAMETERS}
    assert longer == {}
