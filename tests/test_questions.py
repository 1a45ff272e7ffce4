"""The queries in the documentation: both engines give the printed answers for the demo's store."""

from __future__ import annotations

import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from circuitstore.circuits import ClassInfo, digest
from circuitstore.store import Store, create_store, open_store, rebuild_store
from circuitstore.store.cypher.guard import check_read_only
from circuitstore.store.cypher.tokens import tokenize
from circuitstore.testing.factories import make_discovery, make_item, make_record
from pandas.testing import assert_frame_equal

from .neo4j_server import Neo4jServer

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
ASKED = re.findall(r"^## (\d+)\. [^\n]+\n(?:(?!^## ).)*?```cypher\n(.*?)```\n```text\n(.*?)```", PAGE, re.DOTALL | re.M)
SHOWN = re.findall(r"```bash\ncircuitstore query ([^\n]*)\n```\n```text\n(.*?)```", README, re.DOTALL)
QUESTIONS = [(text, answer) for _, text, answer in ASKED] + [(shlex.split(text)[0], answer) for text, answer in SHOWN]
NAMES = [*(f"question {i + 1}" for i in range(12)), *(f"readme {i + 1}" for i in range(5))]
MODELS = ("before", "after")
DEMO = ROOT / "demo" / "digits.toml"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that the demo fills, in a process without the checks of array shapes."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    command = [sys.executable, "-m", "circuitstore.cli", "index", str(DEMO), "--no-progress", "--store", str(folder)]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@contextmanager
def on_both(folder: Path, server: Neo4jServer) -> Iterator[tuple[Store, Store]]:
    """Open the circuits of a store in LadybugDB and in Neo4j."""
    server.empty()
    rebuild_store(folder, graph=server.url)
    with open_store(folder) as embedded, open_store(folder, graph=server.url) as other:
        yield embedded, other


def assert_printed(printed: str, frame: pd.DataFrame) -> None:
    """Compare a printed table with an answer row by row; the sixth digit may depend on the processor."""
    head, line, *rows = printed.splitlines()
    assert head.split() == list(frame)
    places = [m.span() for m in re.finditer("-+", line)]
    shown = [[row[start:end].strip() for start, end in places] for row in rows]
    assert len(shown) == len(frame)
    for cells, row in zip(shown, frame.itertuples(index=False), strict=True):
        for text, value in zip(cells, row, strict=True):
            if isinstance(value, float) and not math.isnan(value):
                assert float(text) == pytest.approx(value, rel=2e-5), row
            else:
                assert text == ("" if pd.isna(value) else str(value)), row


def test_the_page_has_twelve_questions() -> None:
    assert [int(number) for number, _, _ in ASKED] == list(range(1, 13))
    assert PAGE.count("```cypher") == 12


@pytest.fixture(scope="class")
def engines(demo: Path, neo4j_server: Neo4jServer) -> Iterator[tuple[Store, Store]]:
    """The scope is one class, because other tests empty the only database of the server."""
    with on_both(demo, neo4j_server) as stores:
        yield stores


class TestTheDemosStore:
    @pytest.mark.parametrize(("text", "printed"), QUESTIONS, ids=NAMES)
    def test_both_engines_give_the_printed_answer(self, text: str, printed: str, engines: tuple[Store, Store]) -> None:
        check_read_only(tokenize(text))
        embedded, server = (store.query(text).to_pandas() for store in engines)
        assert_frame_equal(embedded, server, rtol=1e-9)
        assert_printed(printed, embedded)


RIGHT = "class  score\n-----  -----\nnine   0.885\n           2\n"


@pytest.mark.parametrize(
    "wrong", [("0.885", "0.886"), ("nine", "five"), ("score", "total"), ("    2\n", "    2\none 3\n")]
)
def test_a_wrong_table_is_found(wrong: tuple[str, str]) -> None:
    frame = pd.DataFrame({"class": ["nine", None], "score": [0.88500001, 2.0]})
    assert_printed(RIGHT, frame)
    with pytest.raises(AssertionError):
        assert_printed(RIGHT.replace(*wrong), frame)


def two_models(folder: Path) -> None:
    """Fill a store with the circuits of one class for two models, `before` and `after`, with different scores."""
    target = ClassInfo("digits", "nine", 9)
    items = [make_item(seed, class_index=9) for seed in range(2)]
    models = [replace(item.model, id=digest([name]), name=name) for item, name in zip(items, MODELS, strict=True)]
    items = [replace(i, target_class=target, model=m) for i, m in zip(items, models, strict=True)]
    made = [make_discovery(seed, item=item) for seed, item in enumerate(items)]
    records = [make_record(discovery, 120) for discovery in made]
    with create_store(folder) as store, store.writer() as writer:
        writer.start_run("two", 'name = "two"', items, [(r.discovery_id, r.extraction) for r in records])
        for discovery, record in zip(made, records, strict=True):
            writer.put(discovery, run="two")
            writer.put(record, run="two")


def test_the_edges_that_a_model_lost_are_found_as_described(tmp_path: Path, neo4j_server: Neo4jServer) -> None:
    (text,) = (text for number, text, _ in ASKED if number == "6")
    match = re.search(r"replace\s+`([^`]+)`\s+by\s+`([^`]+)`\s+and\s+`([^`]+)`\s+by\s+`([^`]+)`", PAGE)
    assert match is not None
    of_models = text.replace(match[1], match[2]).replace(match[3], match[4])
    of_models = of_models.replace('{class: "nine"', '{class: "nine", attack: "natural"')
    two_models(tmp_path / "data")
    with on_both(tmp_path / "data", neo4j_server) as stores:
        embedded, server = (store.query(of_models).to_pandas() for store in stores)
        assert_frame_equal(embedded, server, rtol=1e-9)
        found = stores[0].circuits(**{"class": "nine", "attack": "natural"})
        edges = {r.item.model.name: set(r.circuit.edges) for r in map(stores[0].circuit, found["id"])}
    assert 0 < len(embedded) < len(edges["before"])
    assert set(embedded["edge"]) <= edges["before"] - edges["after"]
