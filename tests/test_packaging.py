"""The installed package: its packages and files, and that no folder shadows a module."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import urlopen

import circuitstore
import pytest
import yaml
from circuitstore.store import create_store
from circuitstore.web.pages import PAGES

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NO_PACKAGES = {"tests", "docs", "examples", "benchmarks", "build", "dist", "site"}


def source_files() -> list[Path]:
    """Return the files of the project relative to its root: tracked files, and new files that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return sorted({Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()})


def package_files() -> list[Path]:
    """Return the files of the package, without those of tests, docs and similar folders."""
    return [p for p in source_files() if len(p.parts) > 1 and p.parts[0] not in NO_PACKAGES and p.parts[0][0] != "."]


def pages() -> list[Path]:
    """Return the pages and pictures of the documentation, to which messages and help refer."""
    return [
        p for p in source_files() if p.parts[0] == "docs" and p.parts[1] != "design" and p.suffix in {".md", ".svg"}
    ]


def test_every_folder_of_code_is_a_listed_package() -> None:
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    folders = {p.parent for p in package_files() if p.suffix == ".py"}
    assert listed == {"circuitstore", *(".".join(("circuitstore", *f.parts)) for f in folders)}
    missing = [f for f in folders if not (ROOT / f / "__init__.py").is_file()]
    assert not missing, f"folders of code without __init__.py: {missing}"


def test_no_folder_shadows_an_installed_module() -> None:
    """The root is on the import path of contributors: a folder `datasets` would hide the library."""
    names = {p.parts[0] for p in source_files() if len(p.parts) > 1 and p.parts[0][0] != "."}
    names |= {p.stem for p in source_files() if len(p.parts) == 1 and p.suffix == ".py"} - {"__init__"}
    code = f"import importlib.util as u; print([n for n in {sorted(names)} if u.find_spec(n)])"
    found = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True, text=True).stdout
    assert found.strip() == "[]"


def test_constraints_pin_all_requirements() -> None:
    pins = constraints("constraints.txt")
    assert all(re.fullmatch(r"[\w.-]+", name) and re.fullmatch(r"[\w.+]+", v) for name, v in pins.items())
    known = {_canonical(name) for name in pins} | {"setuptools"}  # pip does not freeze its own tools
    assert {_canonical(name) for name, _ in required()} <= known


def test_the_lowest_constraints_are_the_bounds() -> None:
    assert constraints("constraints-lowest.txt") == dict(required())


def constraints(file: str) -> dict[str, str]:
    """Return versions by name."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def required() -> list[tuple[str, str]]:
    """Return the names and lowest versions of all requirements, including optional ones."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    stated = [*PROJECT["project"]["dependencies"], *(one for extra in extras for one in extra)]
    return [(re.split(r"[\[<>=]", one)[0], re.split(r">=|==", one)[1]) for one in stated]


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == circuitstore.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changes, re.MULTILINE)[0] in (circuitstore.__version__, "Unreleased")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that files of earlier builds in `build/` are not included."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in source_files():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "source" / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, folder / "source"]
    built = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    top = [p for p in source_files() if len(p.parts) == 1 and (p.suffix == ".py" or p.name == "py.typed")]
    assert shipped == {f"circuitstore/{p.as_posix()}" for p in [*package_files(), *pages(), *top]}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed, to be put on the import path."""
    site = tmp_path_factory.mktemp("installed") / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(install, check=True, capture_output=True)
    return site


def test_an_installed_wheel_runs(installed: Path, tmp_path: Path) -> None:
    site, environment = installed, {**os.environ, "PYTHONPATH": str(installed)}

    def run(*command: str) -> str:
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert Path(run("-c", "import circuitstore; print(circuitstore.__file__)").strip()).is_relative_to(site)
    assert run("-m", "circuitstore.cli", "--version").strip() == f"circuitstore {circuitstore.__version__}"
    assert "Commands:" in run("-m", "circuitstore.cli", "--help")
    listed = run("-m", "circuitstore.cli", "docs")
    assert str(site / "circuitstore" / "docs" / "spec.md") in listed
    assert run("-m", "circuitstore.cli", "docs", "spec") == (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    assert "split" in run("-c", "import circuitstore as cs; print(cs.ComputationGraph(1, 1).form)")


LINKED = re.compile(r'(?:from|import)\s*\(?\s*"(\.[^"]+)"|(?:src|href)="(/static/[^"]+)"')
"""A module that another one imports, or a file that a page loads."""


def test_an_installed_wheel_serves_every_file_that_its_pages_load(installed: Path, tmp_path: Path) -> None:
    create_store(tmp_path / "store").close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "circuitstore.cli", "serve", "--no-token", "--port", str(port), "--store", "store"]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None and "explorer" in server.stdout.readline()
        waiting = [f"http://127.0.0.1:{port}{page.path}" for page in PAGES]
        loaded: set[str] = set()
        while waiting:
            url = waiting.pop()
            loaded.add(url)
            with urlopen(url) as answer:  # raises an error for a file that is missing
                text = answer.read().decode()
            found = {urljoin(url, one) for pair in LINKED.findall(text) for one in pair if one}
            waiting += found - loaded - {*waiting}
    finally:
        server.terminate()
        server.communicate()
    names = {url.rpartition("/static/")[2].partition("/")[2] for url in loaded if "/static/" in url}
    here = ROOT / "web" / "static"
    assert names == {str(p.relative_to(here)) for p in here.rglob("*") if p.is_file()}, "a file that no page loads"
