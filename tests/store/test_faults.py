"""Killed at any fault point and run again, a store equals the undisturbed one, edge by edge."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import circuitstore.store
import pytest
from circuitstore.store import Store, open_store

HERE = Path(__file__).parent
SOURCES = sorted(Path(circuitstore.store.__file__).parent.rglob("*.py"))
POINTS = sorted(
    {p for source in SOURCES for p in re.findall(r'\bfault\("((?!graph\.migrate)[^"]+)"\)', source.read_text())}
)
"""All but those of a migration, at which `test_migrate.py` kills."""


class Killable:
    """Works on stores in another process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "killable.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def work(self, folder: Path, point: str = "-") -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{folder} {point}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture(scope="module")
def killable() -> Iterator[Killable]:
    process = Killable()
    yield process
    process.close()


def content(store: Store) -> dict[str, Any]:
    """All that a sound store holds, but times and numbers of attempts; `verify` holds the graph against it."""
    return {
        "runs": store.runs().drop(columns=["created_ms", "changed_ms"]).to_csv(index=False),
        "items": store.items().drop(columns=["attempts", "changed_ms"]).to_csv(index=False),
        "circuits": store.circuits().drop(columns=["created_ms"]).to_csv(index=False),
        "discoveries": {id: store.discovery(id).sha256 for id in store.archive.ids("discovery")},
        "circuit files": list(store.archive.ids("circuit")),
        "graph": store.graph.present(),
    }


@pytest.fixture(scope="module")
def undisturbed(killable: Killable, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed") / "data"
    assert killable.work(folder) == 0
    with open_store(folder) as store:
        return content(store)


def check(folder: Path, undisturbed: dict[str, Any]) -> None:
    with open_store(folder) as store:
        assert len(store.verify()) == 0, str(store.verify())
        assert not store.archive.leftovers()
        assert content(store) == undisturbed


def test_there_are_points_around_every_durable_step() -> None:
    steps = {"archive.fsync", "archive.rename", "archive.remove", "archive.aside", "catalog.commit", "graph.commit"}
    assert steps <= {p.rpartition(".")[0] for p in POINTS}


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point(point: str, folder: Path, killable: Killable, undisturbed: dict[str, Any]) -> None:
    assert killable.work(folder, point) == -9
    assert killable.work(folder) == 0
    check(folder, undisturbed)


@pytest.mark.parametrize("seed", range(2))
def test_killed_several_times(seed: int, folder: Path, killable: Killable, undisturbed: dict[str, Any]) -> None:
    chance = random.Random(seed)
    for _ in range(3):
        assert killable.work(folder, f"{chance.choice(POINTS)}:{chance.randint(1, 9)}") in (0, -9)
    assert killable.work(folder) == 0
    check(folder, undisturbed)
