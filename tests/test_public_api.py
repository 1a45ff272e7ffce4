"""The public names, which are loaded when they are first used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import circuitstore as cs
import pytest
from circuitstore import discovery


@pytest.mark.parametrize("name", cs.__all__)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    assert getattr(cs, name).__doc__
    assert name in dir(cs)


@pytest.mark.parametrize("package", [cs, discovery])
def test_other_names_raise_an_error(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        package.no_such_name  # noqa: B018


@pytest.mark.parametrize("package", [cs, discovery])
def test_type_checkers_see_the_same_names(package: ModuleType) -> None:
    tree = ast.parse(Path(package.__file__ or "").read_text(encoding="utf-8"))
    (block,) = (n for n in tree.body if isinstance(n, ast.If))
    imported = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == package._WHERE


def test_importing_the_package_imports_no_large_library() -> None:
    code = (
        "import sys, circuitstore; print(sorted({'torch', 'timm', 'numpy', 'pandas', 'sqlalchemy'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert loaded.strip() == "[]"


def test_queries_import_no_library_that_they_do_not_need() -> None:
    code = (
        "import sys, circuitstore.query; print(sorted({'torch', 'timm', 'scipy.stats', 'networkx'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert loaded.strip() == "[]"
