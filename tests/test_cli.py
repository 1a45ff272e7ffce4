"""The command line: help, settings, formats of output, and user errors."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import ladybug
import pandas as pd
import pytest
from circuitstore.cli.doctor import examine
from circuitstore.cli.output import count
from circuitstore.cli.pairs import json_or_text, parse_pairs, text
from circuitstore.cli.settings import Settings, read_settings
from circuitstore.errors import InputError
from circuitstore.store import Account, open_store

from .command import Done, ended, refused, rows, run, start
from .waiting import until


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("STORE", "GRAPH", "CATALOG", "NEO4J_USER", "NEO4J_PASSWORD"):
        monkeypatch.delenv(f"CIRCUITSTORE_{name}", raising=False)


def test_help_imports_no_large_library() -> None:
    code = (
        "import sys, circuitstore.cli as c; sys.argv[1:] = ['--help']\n"
        "try: c.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'timm', 'numpy', 'pandas', 'pyarrow', 'sqlalchemy', 'ladybug', 'neo4j', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Commands:" in loaded.stdout
    assert loaded.stderr.strip() == "[]"


def test_an_unknown_command_or_option_is_a_user_error() -> None:
    for arguments in (["frobnicate"], ["query", "--frobnicate"], ["index"]):
        assert run(*arguments).returncode == 2


def test_the_command_line_precedes_the_environment_and_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings() == Settings(store=None, graph=None, catalog=None)
    Path("circuitstore.toml").write_text('store = "of-file"\ngraph = "ladybug:///file"\ncatalog = "sqlite:///file"')
    monkeypatch.setenv("CIRCUITSTORE_STORE", "of-environment")
    monkeypatch.setenv("CIRCUITSTORE_GRAPH", "ladybug:///environment")
    found = read_settings(store="of-command-line")
    assert found.place == {
        "location": "of-command-line",
        "graph": "ladybug:///environment",
        "catalog": "sqlite:///file",
        "account": Account(),
    }
    assert read_settings().store == "of-environment"


def test_an_empty_variable_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRCUITSTORE_STORE", "")
    assert read_settings().store is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('sotre = "x"', "circuitstore.toml: unknown setting 'sotre'; did you mean 'store'"),
        ("graph = 7", "setting graph"),
        ("graph = ", "circuitstore.toml: not valid TOML"),
    ],
)
def test_mistakes_in_the_settings_file_raise_an_error(text: str, message: str) -> None:
    Path("circuitstore.toml").write_text(text)
    with pytest.raises(InputError, match=r"setting|TOML") as caught:
        read_settings()
    assert message in str(caught.value)
    assert message in refused("status")


def test_a_missing_store_is_one_message(tmp_path: Path) -> None:
    for command in (["status"], ["query", "MATCH (c:Circuit) RETURN c.id"], ["verify"], ["report"], ["gc"]):
        assert "nowhere" in refused(*command, "--store", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_missing_spec_is_one_message() -> None:
    assert "nothing.toml" in refused("index", "nothing.toml")


def test_parameters_are_json_or_text() -> None:
    given = ["n=5", "share=0.5", "name=seven", 'digits="7"', "flag=true", "none=null", "text=a=b", "empty="]
    assert parse_pairs("--param", given, json_or_text) == {
        "n": 5,
        "share": 0.5,
        "name": "seven",
        "digits": "7",
        "flag": True,
        "none": None,
        "text": "a=b",
        "empty": "",
    }


def test_values_of_known_type_stay_text_and_repeated_names_give_a_list() -> None:
    given = ["id=123456", "hex=1e5", "class=three", "class=7", 'quoted="7"', "list=[1, 2]", "none=null", "flag=true"]
    assert parse_pairs("--param", given, text) == {
        "id": "123456",
        "hex": "1e5",
        "class": ["three", "7"],
        "quoted": "7",
        "list": [1, 2],
        "none": None,
        "flag": "true",
    }


@pytest.mark.parametrize("pair", ["n", "=5", "a b=5", "1=2"])
def test_a_pair_without_a_name_or_value_raises_an_error(pair: str) -> None:
    with pytest.raises(InputError, match="NAME=VALUE"):
        parse_pairs("--param", [pair], json_or_text)
    assert "NAME=VALUE" in refused("query", "MATCH (c:Circuit) RETURN c.id", "--param", pair)


def test_the_doctor_finds_no_problem_on_this_machine(tmp_path: Path) -> None:
    findings = examine(Settings(store=tmp_path / "not yet" / "made")).frame.set_index("check")
    assert (findings["state"] != "failed").all()
    assert findings.loc["torch", "found"]
    assert "can be created" in findings.loc["store folder", "found"]
    assert not (tmp_path / "not yet").exists()


def test_counts_use_singular_and_plural(filled_store: Path) -> None:
    findings = examine(Settings(store=filled_store / "circuitstore-data")).frame.set_index("check")
    assert findings.loc["catalog", "found"] == "opened, 8 circuits in 1 run"
    assert [count(n, "row") for n in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]


def test_the_doctor_reports_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    findings = examine(Settings(store=tmp_path / "file")).frame.set_index("check")
    assert findings.loc["store folder", "state"] == "failed"
    assert findings.loc["store folder", "remedy"]
    assert run("doctor", "--store", tmp_path / "file").returncode == 1


@pytest.fixture
def store(filled_store: Path, tmp_path: Path) -> Path:
    """A copy of the store of made-up circuits."""
    return Path(shutil.copytree(filled_store / "circuitstore-data", tmp_path / "store"))


def test_status_shows_runs_and_items(store: Path) -> None:
    (row,) = rows("status", "--store", store).to_dict("records")
    assert (row["run"], row["items"], row["done"], row["circuits"]) == ("made up", 8, 8, 8)
    items = rows("status", "made up", "--store", store)
    assert list(items["class"].unique()) == [f"class-{i}" for i in range(4)]
    assert set(items["state"]) == {"done"}
    assert "made up" in refused("status", "made", "--store", store)


def test_query_prints_answers_and_errors(store: Path, tmp_path: Path) -> None:
    text = "MATCH (c:Circuit {class: $class}) RETURN c.attack AS attack, c.n_edges AS edges ORDER BY attack"
    with open_store(store) as opened:
        expected = opened.query(text, {"class": "class-1"}).to_pandas()
    answered = rows("query", text, "--param", "class=class-1", "--store", store)
    pd.testing.assert_frame_equal(answered, expected, check_dtype=False)
    out = tmp_path / "rows.parquet"
    done = run("query", text, "--param", "class=class-1", "--store", store, "--format", "parquet", "--out", out)
    assert done.returncode == 0
    pd.testing.assert_frame_equal(pd.read_parquet(out), expected, check_dtype=False)
    assert "class" in refused("query", text, "--store", store)
    assert refused("query", "MATCH (c:Circuit) SET c.n_edges = 0", "--store", store)
    assert refused("query", "MATCH (c:Circuit RETURN c", "--store", store)
    assert "top-edges" in refused("query", "top-edge", "--store", store)


def test_query_without_text_lists_named_queries() -> None:
    assert "top-edges" in set(rows("query")["query"])


def test_a_cut_answer_is_noted(store: Path) -> None:
    done = run("query", "MATCH (c:Circuit) RETURN c.id AS id", "--max-rows", "3", "--store", store)
    assert len(done.stdout.splitlines()) == 2 + 3
    assert "note: " in done.stderr


def test_a_reader_of_a_pipe_may_exit_early(store: Path) -> None:
    """`circuitstore query … | head -1`."""
    command = f"{sys.executable} -m circuitstore.cli query 'MATCH (n:Node) RETURN n.key AS key' --store {store}"
    done = subprocess.run(["bash", "-c", f"{command} | head -1"], capture_output=True, text=True)
    assert done.stdout == "key\n"
    assert "Traceback" not in done.stderr


def test_similar_stores_and_removes_relationships(store: Path) -> None:
    counted = ("query", "MATCH (:Circuit)-[s:SIMILAR]->(:Circuit) RETURN count(*) AS n", "--store", store)
    table = rows("similar", "--nearest", "2", "--where", "attack=natural", "--where", "metric=logit", "--store", store)
    assert table["similar"].tolist() == (2 * table["circuits"]).tolist() == rows(*counted)["n"].tolist()
    removed = run("similar", "--nearest", "0", "--store", store)
    assert removed.returncode == 0 and "were removed" in removed.stderr and not removed.stdout
    assert rows(*counted)["n"].tolist() == [0]
    assert "jaccard" in refused("similar", "--measure", "jacard", "--store", store)


def test_compare_prints_pairs_with_their_noise_floor(store: Path) -> None:
    table = rows("compare", "--by", "class", "--where", "attack=natural", "--store", store)
    assert len(table) == 6
    assert {"jaccard", "noise_floor", "chance"} <= set(table)
    assert "jaccard" in refused("compare", "--measure", "jacard", "--store", store)


def test_circuits_are_selected_by_run_and_flag(store: Path) -> None:
    place, named = ["--store", store], ["query", "consensus-edges", "--param", "share=0"]
    everything = rows(*named, *place)
    assert len(everything) and rows(*named, "--run", "made up", "--flagged", *place).equals(everything)
    assert len(rows("compare", "--run", "made up", "--flagged", "--where", "attack=natural", *place)) == 6
    for command in (named, ["compare"]):
        assert "did you mean 'made up'" in refused(*command, "--run", "made", *place)
    text = "MATCH (c:Circuit) RETURN c.id"
    assert "named queries" in refused("query", text, "--flagged", *place)
    assert "named queries" in refused("query", text, "--run", "made up", *place)


def test_maintenance_of_a_store(store: Path) -> None:
    assert run("verify", "--store", store).returncode == 0
    (store / "graph.lbdb").unlink()
    broken = run("verify", "--store", store)
    assert broken.returncode in (1, 2)
    assert run("rebuild", "--store", store).returncode == 0
    assert run("verify", "--store", store).returncode == 0
    assert run("migrate", "--store", store).returncode == 0
    assert run("gc", "--store", store).returncode == 0
    assert len(rows("query", "MATCH (c:Circuit) RETURN c.id AS id", "--store", store)) == 8
    assert run("delete", "made up", "--store", store).returncode == 0
    assert "made up" in refused("delete", "made up", "--store", store)
    assert run("gc", "--store", store).returncode == 0
    assert len(rows("query", "MATCH (c:Circuit) RETURN c.id AS id", "--store", store)) == 0


def test_a_lost_catalog_is_rebuilt(store: Path) -> None:
    for file in store.glob("catalog.sqlite*"):
        file.unlink()
    assert "circuitstore rebuild" in refused("status", "--store", store)
    assert run("rebuild", "--store", store).returncode == 0
    assert len(rows("query", "MATCH (c:Circuit) RETURN c.id AS id", "--store", store)) == 8
    assert run("verify", "--store", store).returncode == 0


def test_a_lost_catalog_costs_no_results(store: Path, tmp_path: Path) -> None:
    for file in store.glob("catalog.sqlite*"):
        file.unlink()
    (tmp_path / "spec.toml").write_text(SPEC)
    archived = sorted(store.glob("archive/*/*/*.parquet"))
    for command in (["index", "spec.toml"], ["gc"], ["delete", "made up"], ["migrate"]):
        run(*command, "--store", store)
    assert sorted(store.glob("archive/*/*/*.parquet")) == archived
    assert "circuitstore rebuild" in refused("index", "spec.toml", "--store", store)
    assert run("rebuild", "--store", store).returncode == 0
    assert run("gc", "--store", store).returncode == 0
    assert sorted(store.glob("archive/*/*/*.parquet")) == archived


@pytest.mark.parametrize("change", ["SET m.checksum = 'altered'", "CREATE (:Migration {version: 99, name: 'newer'})"])
def test_a_graph_of_another_version_is_rebuilt(store: Path, change: str) -> None:
    text = "MATCH (c:Circuit) RETURN c.id AS id"
    with (
        ladybug.Database(store / "graph.lbdb", max_db_size=1 << 36) as database,
        ladybug.Connection(database) as connection,
    ):
        connection.execute(f"MATCH (m:Migration {{version: 1}}) {change}")
    (store / "graph.lbdb.lock").unlink()
    for command in (["query", text], ["gc"]):
        assert "circuitstore rebuild" in refused(*command, "--store", store)
    assert run("rebuild", "--store", store).returncode == 0
    assert len(rows("query", text, "--store", store)) == 8
    assert run("verify", "--store", store).returncode == 0


def test_report_is_one_file(store: Path, tmp_path: Path) -> None:
    done = run("report", "--store", store, "--out", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


SPEC = """
name = "few"
model = "digits"
[images]
source = "digits"
per_class = 16
only = ["zero", "one", "two", "three"]
[[condition]]
kind = "natural"
[[recipe]]
method = "eap-ig"
form = "head"
steps = 2
[[extract]]
edges = 30
"""


def test_ctrl_c_says_how_to_continue(tmp_path: Path) -> None:
    """Interrupt a long run after its first item; the same command then finds that item in the store."""
    only = 'only = ["zero", "one", "two", "three"]'
    long = SPEC.replace(only, "").replace("steps = 2", "steps = 40")
    (tmp_path / "spec.toml").write_text(long)
    process = start("index", "spec.toml", "--store", "store", "--no-progress")
    until(lambda: list(tmp_path.glob("store/archive/circuits/*/*.parquet")) or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    output = ended(process)
    assert process.returncode == 130, output
    assert "again to continue" in output
    assert "Traceback" not in output
    states = rows("status", "few", "--store", "store").set_index("class")["state"]
    assert len(states) == 10
    assert states["zero"] == "done" != states["nine"]
    (tmp_path / "spec.toml").write_text(long.replace("[images]", '[images]\nonly = ["zero"]'))
    again = run("index", "spec.toml", "--store", "store", "--no-progress")
    assert again.returncode == 0, again.stderr
    assert "all 1 items are already in the store" in again.stderr


def test_ctrl_c_before_the_command_has_begun_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circuitstore.cli.commands.app", lambda: signal.raise_signal(signal.SIGINT))
    assert run("runs") == Done(130, "", "")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_background_command_continues_to_ignore_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script starts `circuitstore index … &` in this way."""

    def app() -> None:
        signal.raise_signal(signal.SIGINT)
        raise SystemExit(0)

    monkeypatch.setattr("circuitstore.cli.commands.app", app)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run("runs") == Done(0, "", "")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_ends_the_process_while_the_first_is_deferred() -> None:
    code = """
import signal
from circuitstore.cli import commands
from circuitstore.store.interrupts import deferred

def app():
    with deferred():
        signal.raise_signal(signal.SIGINT)
        print("on", flush=True)
        signal.raise_signal(signal.SIGINT)
        print("never", flush=True)

commands.app = app
commands.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "on\n"), done.stderr


def test_a_dry_run_prints_costs_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    done = run("index", "spec.toml", "--store", "store", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:3] == ["recipe", "condition", "items"]
    assert not (tmp_path / "store").exists()


LOOKED_AT = """
name = "looked at"
model = "digits"
[images]
source = "digits"
per_class = 8
only = ["three"]
[[condition]]
kind = "natural"
[[condition]]
kind = "typographic"
[[recipe]]
method = "eap"
form = "block"
[[extract]]
edges = 9
"""


def test_preview_gives_a_table_and_a_sheet(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(LOOKED_AT)
    done = run("preview", "spec.toml", "--format", "json", "--out", "sheet.png")
    assert done.returncode == 0, done.stderr
    natural, attacked = json.loads(done.stdout)
    assert natural["accuracy"] is not None and natural["success"] is None and attacked["success"] is not None
    assert "weights: shipped with circuitstore" in done.stderr and "pixels: size (64, 64)" in done.stderr
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "circuitstore-data").exists()
    assert ".png" in refused("preview", "spec.toml", "--out", "sheet.html")
    assert attacked["condition"].startswith("typographic(")
    table = run("preview", "spec.toml").stdout
    assert "typographic" in table and "typographic(" not in table


def test_index_begins_with_the_table(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(LOOKED_AT)
    dry = run("index", "spec.toml", "--dry-run", "--no-progress")
    first = run("index", "spec.toml", "--no-progress")
    again = run("index", "spec.toml", "--no-progress")
    for done in (dry, first):
        assert done.returncode == 0 and done.stderr.startswith("model: digits, 4 layers of 4 heads")
        assert "attacked_accuracy" in done.stderr
    assert "looked at: 2 items done" in first.stderr and first.stdout == ""
    assert "attacked_accuracy" not in again.stderr and "all 2 items are already in the store" in again.stderr
