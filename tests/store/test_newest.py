"""Of the circuits that answer one question the newest is known, on every catalog."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from circuitstore.circuits import digest
from circuitstore.errors import InputError
from circuitstore.store import Store, create_store, ledger, tables
from circuitstore.store.catalog import Catalog
from circuitstore.testing.factories import make_discovery, make_item, make_record

RUNS = ("first", "second", "none")


def made(count: int = 60) -> list[dict[str, Any]]:
    """Rows of circuits: few questions, few times, and in which of two runs each is."""
    draw = random.Random(0)
    record = make_record(make_discovery(item=make_item(n_layers=1, n_heads=1)), 3)
    same = record.properties() | {"discovery_id": record.discovery_id}
    return [
        {
            **same,
            "id": digest(["circuit", i]),
            "question": digest(["question", draw.randrange(8)]),
            "created_ms": draw.randrange(5),
            "class": draw.choice(["a", "b"]),
            "runs": [run for run in RUNS[:2] if draw.random() < 0.6],
        }
        for i in range(count)
    ]


@pytest.fixture
def store(catalog_url: str, tmp_path: Path) -> Iterator[Store]:
    item = make_item(n_layers=1, n_heads=1)
    with create_store(tmp_path / "data", catalog=catalog_url) as store:
        with Catalog(catalog_url, read_only=False).writing() as connection:
            ledger.add_items(connection, [item], 1)
            connection.execute(
                sa.insert(tables.runs), [{"name": n, "spec": "", "created_ms": 1, "changed_ms": 1} for n in RUNS]
            )
            for row in made():
                runs = row.pop("runs")
                connection.execute(sa.insert(tables.circuits).values(**row))
                for run in runs:
                    entry = {"run": run, "circuit": row["id"], "item": row["discovery_id"], "extraction": "{}"}
                    connection.execute(sa.insert(tables.run_circuits).values(**entry))
        yield store


def newest(rows: list[dict[str, Any]]) -> set[str]:
    last: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["created_ms"], row["id"])):
        last[row["question"]] = row
    return {row["id"] for row in last.values()}


@pytest.mark.parametrize("run", [None, *RUNS])
def test_the_newest_answer_is_the_last_of_its_question_within_the_run(store: Store, run: str | None) -> None:
    rows = [row for row in made() if run is None or run in row["runs"]]
    found = store.circuits(run)
    assert set(found["id"]) == {row["id"] for row in rows}
    assert set(found["id"][found["newest"]]) == newest(rows)
    assert set(store.circuits(run, newest=True)["id"]) == newest(rows)
    assert set(store.circuits(run, newest=False)["id"]) == {row["id"] for row in rows} - newest(rows)
    of_a = {row["id"] for row in rows if row["class"] == "a"}
    assert set(store.circuits(run, newest=True, **{"class": "a"})["id"]) == newest(rows) & of_a


def test_columns_may_be_chosen_and_are_in_the_same_order(store: Store) -> None:
    whole = store.circuits()
    some = store.circuits(columns=("newest", "id"))
    assert list(some.columns) == ["newest", "id"]
    assert some.equals(whole[["newest", "id"]])
    with pytest.raises(InputError, match=r"unknown column of circuits 'newst'; did you mean 'newest'"):
        store.circuits(columns=("id", "newst"))


@pytest.mark.parametrize("run", [None, *RUNS])
def test_circuits_of_a_run_are_counted(store: Store, run: str | None) -> None:
    rows = [row for row in made() if run is None or run in row["runs"]]
    counted = store.count_circuits(["class"], run)
    assert dict(zip(counted["class"], counted["circuits"], strict=True)) == {
        name: sum(row["class"] == name for row in rows) for name in sorted({row["class"] for row in rows})
    }


def test_a_run_that_is_not_there_is_named(store: Store) -> None:
    for ask in (store.circuits, lambda run: store.count_circuits(["class"], run)):
        with pytest.raises(InputError, match=r"unknown run 'secnd'; did you mean 'second'"):
            ask("secnd")
