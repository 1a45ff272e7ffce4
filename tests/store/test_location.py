"""Where a store may be, how its parts are named by URL, and what is said of a place that cannot be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from circuitstore.errors import InputError, StoreError
from circuitstore.store import Location, create_store, open_store, rebuild_store
from circuitstore.store.catalog import Catalog
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.urls import path_of, split_server, url_of
from circuitstore.testing.graph_place import in_a_fork
from hypothesis import given
from hypothesis import strategies as st

NAME = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
ODD = ("run 1.lbdb", "100%.lbdb", "run#1.lbdb", "run?1.lbdb", "a&b=c;d.lbdb", "ünï.lbdb", "[1].lbdb", "me@home.lbdb")


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "bolt", "neo4j+s", "ladybug", "sqlite"])
def test_a_url_is_no_folder_and_its_password_is_not_shown(tmp_path: Path, kind: type, scheme: str) -> None:
    for act in (Location.of, open_store, create_store, rebuild_store):
        with pytest.raises(
            InputError, match=rf"expected a folder, got a URL of {scheme.replace('+', '[+]')}://"
        ) as raised:
            act(kind(f"{scheme}://user:Pa55@127.0.0.1:1/name"))
        assert "Pa55" not in str(raised.value)


@given(NAME)
def test_the_url_of_a_file_names_that_file(name: str) -> None:
    path = Path("/tmp") / name
    assert path_of(url_of(path)) == path


@pytest.mark.parametrize("name", ODD)
def test_a_graph_is_in_the_file_that_its_url_names(tmp_path: Path, name: str) -> None:
    """As it is written, and as `url_of` writes it; `%` followed by two hexadecimal digits stands for another sign."""
    with open_graph(f"ladybug://{tmp_path}/{name}", store_id="first"):
        pass
    assert (tmp_path / name).is_file()
    with open_graph(url_of(tmp_path / name), store_id="first", read_only=True) as graph:
        assert graph.present() == {}
    with open_graph(f"ladybug://{tmp_path}/other {name}", store_id="second"):
        pass


def test_a_catalog_is_in_the_file_that_its_url_names(tmp_path: Path) -> None:
    for name in ("run#1.sqlite", "run 1.sqlite", "run%3F1.sqlite"):
        assert Catalog(f"sqlite:///{tmp_path}/{name}", read_only=True).file == tmp_path / name.replace("%3F", "?")
    with pytest.raises(InputError, match="write %3F"):
        Catalog(f"sqlite:///{tmp_path}/run?1.sqlite", read_only=True)


@pytest.mark.parametrize("url", ["neo4j://[::1", "bolt://[", "bolt://host:port", "bolt://host:0", "bolt:///neo4j"])
def test_half_an_address_is_no_url_of_a_server(url: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT/DATABASE"):
        split_server(url)
    with pytest.raises(InputError, match="HOST:PORT/DATABASE"):
        open_graph(url, store_id="first")


def test_a_path_without_three_slashes_is_no_file() -> None:
    for url in ("ladybug://[::1/x", "ladybug://relative/graph.lbdb"):
        with pytest.raises(InputError, match="three slashes"):
            open_graph(url, store_id="first")


@pytest.mark.parametrize("act", [open_store, create_store, rebuild_store])
def test_a_path_that_is_too_long_raises_and_nothing_is_created(tmp_path: Path, act) -> None:
    deep = tmp_path.joinpath(*["n" * 200] * 20)  # each name may be, all together not
    for folder in (tmp_path / ("n" * 300), deep):
        with pytest.raises(StoreError, match="shorter path"):
            act(folder)
    with pytest.raises(StoreError, match="shorter path"):
        act(tmp_path / "store", catalog=f"sqlite:///{tmp_path}/{'n' * 300}")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="shorter path"):
        open_graph(f"ladybug://{tmp_path}/{'n' * 300}", store_id="first")


def test_a_name_that_is_not_utf_8_raises(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff\xfe")
    with pytest.raises(InputError, match=r"udcff.*is not UTF-8"):
        create_store(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_entered_is_named(filled: Path) -> None:
    """Another user's, and one within it that is open to all."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    inner = filled / "locked" / "store"
    shutil.copytree(filled / "archive", inner / "archive")
    filled.parent.chmod(0o755)

    def tried() -> None:
        os.seteuid(65534)
        for folder in (filled, inner):
            for act in (open_store, create_store, rebuild_store):
                with pytest.raises(StoreError, match="no permission to enter the folder"):
                    act(folder)

    filled.chmod(0o744)  # to be listed, not to be entered
    in_a_fork(tried)
