"""What the documentation asks, of a store shaped like the demo's: both engines answer, and answer alike."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from circuitstore.circuits import ClassInfo, Discovery, WorkItem, digest
from circuitstore.store import Store, create_store, open_store, rebuild_store
from circuitstore.store.graph.guard import check_read_only
from circuitstore.testing.factories import make_discovery, make_item, make_record
from pandas.testing import assert_frame_equal

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
ASKED = re.findall(r"^## (\d+)\. [^\n]+\n(?:(?!^## ).)*?```cypher\n(.*?)```\n```text\n(.*?)```", PAGE, re.DOTALL | re.M)
SHOWN = re.findall(r"```bash\ncircuitstore query ([^\n]*)\n```\n```text\n(.*?)```", README, re.DOTALL)
QUESTIONS = [(text, answer) for _, text, answer in ASKED] + [(shlex.split(text)[0], answer) for text, answer in SHOWN]
DIGITS = "zero one two three four five six seven eight nine".split()  # noqa: SIM905
STUDIES = [
    {"attack": "natural"},
    {"attack": "typographic"},
    {"attack": "typographic", "metric": "logit-diff", "corruption": "unattacked-twin"},
]


def discoveries() -> Iterator[Discovery]:
    """Those of the demo, by a model called before, and one of other scores by one called after."""
    for study in STUDIES:
        for index, name in enumerate(DIGITS):
            yield make_discovery(item=told(make_item(class_index=index, **study), name, "before"))
    yield make_discovery(1, item=told(make_item(1, class_index=9), "nine", "after"))


def told(item: WorkItem, name: str, model: str) -> WorkItem:
    """The item with names of class and model as given."""
    target = ClassInfo("digits", name, item.target_class.class_index)
    return replace(item, target_class=target, model=replace(item.model, id=digest([model]), name=model))


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, neo4j_server) -> Iterator[tuple[Store, Store]]:
    """The same circuits in LadybugDB and in Neo4j."""
    folder = tmp_path_factory.mktemp("questions") / "data"
    neo4j_server.empty()
    made = list(discoveries())
    records = [make_record(discovery, 120) for discovery in made]
    with create_store(folder) as store, store.writer() as writer:
        wanted = [(record.discovery_id, record.extraction) for record in records]
        writer.start_run("demo", 'name = "demo"', [discovery.item for discovery in made], wanted)
        for discovery, record in zip(made, records, strict=True):
            writer.put_discovery(discovery, "demo")
            writer.put_circuit(record, "demo")
    rebuild_store(folder, graph=neo4j_server.url)
    with open_store(folder) as embedded, open_store(folder, graph=neo4j_server.url) as server:
        yield embedded, server


def test_the_page_asks_twelve() -> None:
    assert [int(number) for number, _, _ in ASKED] == list(range(1, 13))
    assert PAGE.count("```cypher") == 12


@pytest.mark.parametrize(("text", "printed"), QUESTIONS, ids=[f"question {i + 1}" for i in range(12)] + ["readme"] * 5)
def test_both_engines_answer_alike(text: str, printed: str, engines: tuple[Store, Store]) -> None:
    check_read_only(text)
    embedded, server = (store.query(text).to_pandas() for store in engines)
    assert_frame_equal(embedded, server, rtol=1e-9)
    head, line, *rows = printed.splitlines()
    assert head.split() == list(embedded)
    assert set(line) == {"-", " "}
    limit = re.search(r"LIMIT (\d+)", text)
    assert 0 < len(rows) <= int(limit[1] if limit else 100)
    assert len(embedded) > 0


def test_what_one_model_lost_is_asked_as_the_page_says(engines: tuple[Store, Store]) -> None:
    (text,) = (text for number, text, _ in ASKED if number == "6")
    said = re.search(r"replace\s+`([^`]+)`\s+by\s+`([^`]+)`\s+and\s+`([^`]+)`\s+by\s+`([^`]+)`", PAGE)
    assert said is not None
    of_models = text.replace(said[1], said[2]).replace(said[3], said[4])
    of_models = of_models.replace('{class: "nine"', '{class: "nine", attack: "natural"')
    embedded, server = (store.query(of_models).to_pandas() for store in engines)
    assert_frame_equal(embedded, server, rtol=1e-9)
    found = engines[0].circuits(**{"class": "nine", "attack": "natural"})
    edges = {r.item.model.name: set(r.circuit.edges) for r in map(engines[0].circuit, found["id"])}
    assert 0 < len(embedded) < len(edges["before"])
    assert set(embedded["edge"]) <= edges["before"] - edges["after"]
