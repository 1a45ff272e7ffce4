"""Merging stores: everything is taken up once, after a kill too, and different values for one id are refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from circuitstore.circuits import Subject
from circuitstore.errors import InputError, StoreDamaged
from circuitstore.store import Store, create_store, merge_stores, open_store
from circuitstore.store.faults import VARIABLE
from circuitstore.store.kinds import KINDS
from circuitstore.testing.factories import make_examples, make_fit, make_item, make_note, make_readout, readout_item

from .conftest import World, make_world


@contextmanager
def stores(folder: Path, *names: str) -> Iterator[list[Store]]:
    opened = [create_store(folder / name) for name in names]
    yield opened
    for store in opened:
        store.close()


def put_some(store: Store, world: World, text: str) -> None:
    """Fill a store with a run that has values of every kind, and a note."""
    with store.writer() as writer:
        world.fill(writer)
        item = world.items[0]
        writer.put(make_examples(item), make_readout(readout_item(item)), make_fit(), run="run")
        writer.add_notes(make_note(text, about=[Subject("circuit", world.records[0].id)]))


def content(store: Store) -> dict[str, Any]:
    """Everything that the catalog lists, without the times of runs."""
    with store.catalog.reading() as connection:
        found = {name: connection.execute(kind.table.select()).mappings().all() for name, kind in KINDS.items()}
    rows = {name: {row["id"]: dict(row) for row in some} for name, some in found.items()}
    runs = {row["run"]: (row["items"], row["done"], row["circuits"]) for row in store.runs().to_dict("records")}
    return {**rows, "runs": runs}


def test_a_store_takes_up_everything_of_others_once(tmp_path: Path, world: World) -> None:
    other_world = make_world(5, (6,))
    with stores(tmp_path, "one", "two", "all", "copy") as (one, two, target, copy):
        put_some(one, world, "first")
        put_some(two, other_world, "second")
        table = merge_stores(target, [one, two]).to_pandas()
        assert set(table["kind"]) == set(KINDS) and (table["added"].iloc[: len(KINDS)] > 0).all()
        assert len(target.verify()) == 0
        expected = content(one)
        for name, rows in content(two).items():
            expected[name] = {**rows, **expected[name]}
        expected["runs"] = {"run": (len({*world.items, *other_world.items}) + 1, 6, len(expected["circuit"]))}
        assert content(target) == expected
        assert target.graph.present() == {id: row["sha256"] for id, row in expected["circuit"].items()}
        assert target.query("MATCH (:Note)-[a:ABOUT]->(:Circuit) RETURN count(a) AS n").to_pandas()["n"].tolist() == [2]
        requests = list(target.archive.ids("run"))
        again = merge_stores(target, [two, one]).to_pandas()
        assert not again["added"].any() and list(target.archive.ids("run")) == requests
        merge_stores(copy, [one])  # a new run keeps its times
        assert copy.runs().equals(one.runs())
        with target.writer() as writer:
            writer.gc()
        assert content(target) == expected


@pytest.mark.parametrize("point", ["archive.rename.after:9", "catalog.commit.before:6", "graph.commit.before"])
def test_a_killed_merge_is_continued_by_the_same_command(filled: Path, tmp_path: Path, point: str) -> None:
    command = [sys.executable, "-m", "circuitstore.cli", "merge", str(filled), "--store", str(tmp_path / "all")]
    killed = subprocess.run(command, env={**os.environ, VARIABLE: point}, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    with open_store(filled) as other, create_store(tmp_path / "all") as store:
        merge_stores(store, [other])
        assert content(store) == content(other) and len(store.verify()) == 0


def test_different_values_of_one_id_are_named_and_nothing_changes(filled: Path, tmp_path: Path, world: World) -> None:
    record = world.records[0]
    other = replace(record, circuit=replace(record.circuit, score=None, std=None))
    with open_store(filled) as store, stores(tmp_path, "other") as (second,):
        with second.writer() as writer:
            writer.put(world.discoveries[0], other, run="other")
            writer.add_notes(make_note())
        before = content(store)
        with pytest.raises(InputError, match=rf"different values for circuit {record.id[:12]} \(.*data and .*other\)"):
            merge_stores(store, [second])
        assert content(store) == before and len(store.verify()) == 0


def test_what_cannot_be_merged_is_named(filled: Path, tmp_path: Path, world: World) -> None:
    with open_store(filled) as store, open_store(filled) as same, stores(tmp_path, "new") as (target,):
        with pytest.raises(InputError, match="expected another store, got the same one twice"):
            merge_stores(store, [same])
        path = store.archive.path("discovery", world.discoveries[1].id)
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(StoreDamaged, match=r"data is damaged: .*repair that store first, then merge again"):
            merge_stores(target, [store])
        assert len(target.verify()) == 0


def test_a_merged_run_is_resumed_like_any_other(tmp_path: Path, world: World) -> None:
    with stores(tmp_path, "one", "all") as (one, target):
        with one.writer() as writer:
            world.start(writer)
            writer.put(world.discoveries[0], run="run")
        merge_stores(target, [one])
        with target.writer() as writer:
            assert {item.id for item in writer.pending("run")} == {item.id for item in world.items}
            world.fill(writer)
            assert writer.pending("run") == []
        assert make_item().id not in set(target.items()["id"]) and len(target.verify()) == 0
