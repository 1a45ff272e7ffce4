"""The summary states the main results, and its queries run on the store."""

from __future__ import annotations

import re
import shlex

import pytest
from circuitstore.analysis.summary import Summary, summarise
from circuitstore.analysis.wording import format_number
from circuitstore.cli.commands import app
from circuitstore.store import create_store, open_store
from typer.testing import CliRunner

from ..toy_studies import HOSTILE, Answers, effect_items, fill, mechanism_items, renamed


@pytest.fixture(scope="module")
def summary(toy_store):
    return summarise(toy_store, "toys")


def test_both_studies_are_summarised_with_noise_floors(summary):
    for stated in (
        "Effect study",
        "Mechanism study",
        "most similar classes",
        "noise floor",
        "random",
        "carry typographic",
    ):
        assert stated in str(summary)
    assert max(map(len, str(summary).splitlines())) < 1000
    assert "<pre>" in summary._repr_html_()


def test_tables_have_the_stored_numbers(summary, toys):
    table = summary.tables[
        "Effect study: faithfulness of circuits and of random connected circuits of the same size"
    ].to_pandas()
    stored = {(p["class"], p["condition"]): p for r in toys.of(metric="logit") for p in [r.properties()]}
    assert len(table) == len(stored)
    for row in table.to_dict("records"):
        assert row["faithfulness"] == stored[row["class"], row["condition"]]["faithfulness"]
    alike = summary.tables["Effect study: most similar classes, natural"]
    assert alike.facts["noise_floor"] > alike.facts["chance"] > 0
    best = alike.to_pandas().iloc[0]
    assert f"{best['a']} {best['b']}    {best['jaccard']:.2f}" in str(summary)


def test_the_three_queries_have_correct_answers(summary, toy_store, toys):
    assert len(summary.queries) == 3
    often, gained, through = (toy_store.query(query).to_pandas() for query in summary.queries)
    attacked = toys.of(attack="typographic", metric="logit")
    row = often.iloc[0]
    assert row["classes"] == sum(row["edge"] in r.circuit.edges for r in attacked)
    was, now = (toys.of(attack=a, metric="logit", class_index=0)[0].circuit for a in ("natural", "typographic"))
    assert set(gained["gained"]) <= set(now.edges) - set(was.edges)
    assert len(gained) == min(10, len(set(now.edges) - set(was.edges)))
    graph, score = was.graph, toys.of(attack="natural", class_index=0)[0].circuit.score
    out = dict.fromkeys(was.nodes, 0.0)
    for edge in was.edges:
        out[edge.split("->")[0]] += float(score[graph.edge_index[edge]])
    for row in through.to_dict("records"):
        assert row["through_circuit"] == pytest.approx(out[row["node"]], rel=1e-4)


def test_the_text_quotes_its_queries_for_the_shell(summary):
    assert [words[2] for words in printed(summary)] == list(summary.queries)


def printed(summary: Summary) -> list[list[str]]:
    """Return the commands in a summary, split as by a shell."""
    return [shlex.split(line) for line in str(summary).splitlines() if line.startswith("  circuitstore query")]


ELSEWHERE = {"graph": "ladybug://{top}/else/graph", "catalog": "sqlite:///{top}/else/a catalog"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "elsewhere", "options"),
    [
        ("circuitstore-data", {}, []),
        ("my store", {}, ["--store", "my store"]),
        (
            "../beside",
            ELSEWHERE,
            ["--store", "{top}/beside", "--graph", ELSEWHERE["graph"], "--catalog", ELSEWHERE["catalog"]],
        ),
    ],
)
def test_printed_commands_can_be_run(tmp_path, monkeypatch, folder, elsewhere, options):
    place = {name: url.format(top=tmp_path) for name, url in elsewhere.items()}
    for name in ("STORE", "GRAPH", "CATALOG"):
        monkeypatch.delenv(f"CIRCUITSTORE_{name}", raising=False)
    for name in ("here", "else"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    location = (tmp_path / "here" / folder).resolve()
    fill(location, Answers.to(effect_items(2)), **place)
    with open_store(location, **place) as store:
        commands = printed(summarise(store))
    assert len(commands) == 3
    for words in commands:
        assert words[3:] == [option.format(top=tmp_path) for option in options]
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, done.exception
        assert len(done.stdout.splitlines()) > 2


@pytest.mark.slow
def test_hostile_names_do_not_break_queries(store_of):
    items = [renamed(i, HOSTILE + "'\"\\" + str(i.target_class.class_index)) for i in effect_items(2)]
    store = store_of(Answers.to(items))
    for query in summarise(store).queries:
        assert len(store.query(query))


@pytest.mark.slow
def test_a_store_without_attacks_also_has_queries(store_of):
    store = store_of(Answers.to(effect_items(2, ("natural",))))
    summary = summarise(store)
    assert len(summary.queries) == 3
    assert all(len(store.query(query)) for query in summary.queries)
    assert "gained" not in str(summary)


def test_a_mechanism_study_without_an_effect_study(store_of):
    summary = summarise(store_of(Answers.to(mechanism_items(2))))
    assert "Mechanism study" in str(summary)
    assert "Effect study" not in str(summary)


def test_an_empty_store_has_no_results_and_no_queries(tmp_path):
    create_store(tmp_path / "empty").close()
    with open_store(tmp_path / "empty") as store:
        summary = summarise(store)
    assert "No circuits yet" in str(summary)
    assert summary.queries == ()


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (0.0, "0.00"), (0.614, "0.61"), (-3.2, "-3.20"), (2e-5, "2e-05")],
)
def test_small_numbers_keep_two_significant_digits(value, text):
    assert format_number(value) == text
    assert re.fullmatch(r"–|-?\d.*", format_number(value))
