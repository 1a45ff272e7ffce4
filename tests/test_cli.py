"""The command line: quick help, settings, forms of output, and what a user's mistake looks like."""

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
from circuitstore.cli.commands import parse_pairs, typed, worded
from circuitstore.cli.doctor import examine
from circuitstore.cli.output import count
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


def test_help_loads_no_library_and_so_is_quick() -> None:
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


def test_an_unknown_command_or_option_is_refused() -> None:
    for arguments in (["frobnicate"], ["query", "--frobnicate"], ["index"]):
        assert run(*arguments).returncode == 2


def test_settings_go_from_the_command_line_to_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRCUITSTORE_STORE", "")
    assert read_settings().store is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('sotre = "x"', "circuitstore.toml: unknown setting 'sotre'; did you mean 'store'"),
        ("graph = 7", "setting graph"),
        ("graph = ", "circuitstore.toml: not valid TOML"),
    ],
)
def test_a_wrong_settings_file_is_named(text: str, told: str) -> None:
    Path("circuitstore.toml").write_text(text)
    with pytest.raises(InputError, match=r"setting|TOML") as caught:
        read_settings()
    assert told in str(caught.value)
    assert told in refused("status")


def test_a_missing_store_is_one_message(tmp_path: Path) -> None:
    for command in (["status"], ["query", "MATCH (c:Circuit) RETURN c.id"], ["verify"], ["report"], ["gc"]):
        assert "nowhere" in refused(*command, "--store", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_missing_spec_is_one_message() -> None:
    assert "nothing.toml" in refused("index", "nothing.toml")


def test_parameters_are_json_or_text() -> None:
    given = ["n=5", "share=0.5", "name=seven", 'digits="7"', "flag=true", "none=null", "text=a=b", "empty="]
    assert parse_pairs("--param", given, typed) == {
        "n": 5,
        "share": 0.5,
        "name": "seven",
        "digits": "7",
        "flag": True,
        "none": None,
        "text": "a=b",
        "empty": "",
    }


def test_parameters_whose_kind_is_known_are_text_and_several_of_one_name_a_list() -> None:
    given = ["id=123456", "hex=1e5", "class=three", "class=7", 'quoted="7"', "list=[1, 2]", "none=null", "flag=true"]
    assert parse_pairs("--param", given, worded) == {
        "id": "123456",
        "hex": "1e5",
        "class": ["three", "7"],
        "quoted": "7",
        "list": [1, 2],
        "none": None,
        "flag": "true",
    }


@pytest.mark.parametrize("pair", ["n", "=5", "a b=5", "1=2"])
def test_what_is_no_parameter_is_refused(pair: str) -> None:
    with pytest.raises(InputError, match="NAME=VALUE"):
        parse_pairs("--param", [pair], typed)
    assert "NAME=VALUE" in refused("query", "MATCH (c:Circuit) RETURN c.id", "--param", pair)


def test_the_doctor_finds_this_machine_fit(tmp_path: Path) -> None:
    findings = examine(Settings(store=tmp_path / "not yet" / "made")).frame.set_index("check")
    assert (findings["state"] != "failed").all()
    assert findings.loc["torch", "found"]
    assert "can be made" in findings.loc["store folder", "found"]
    assert not (tmp_path / "not yet").exists()


def test_one_is_no_plural(filled_store: Path) -> None:
    findings = examine(Settings(store=filled_store / "circuitstore-data")).frame.set_index("check")
    assert findings.loc["catalog", "found"] == "opened, 8 circuits in 1 run"
    assert [count(n, "row") for n in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]


def test_the_doctor_names_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    findings = examine(Settings(store=tmp_path / "file")).frame.set_index("check")
    assert findings.loc["store folder", "state"] == "failed"
    assert findings.loc["store folder", "remedy"]
    assert run("doctor", "--store", tmp_path / "file").returncode == 1


@pytest.fixture
def store(filled_store: Path, tmp_path: Path) -> Path:
    """A store of made-up circuits of one's own."""
    return Path(shutil.copytree(filled_store / "circuitstore-data", tmp_path / "store"))


def test_status_tells_runs_and_items(store: Path) -> None:
    (told,) = rows("status", "--store", store).to_dict("records")
    assert (told["run"], told["items"], told["done"], told["circuits"]) == ("made up", 8, 8, 8)
    items = rows("status", "made up", "--store", store)
    assert list(items["class"].unique()) == [f"class-{i}" for i in range(4)]
    assert set(items["state"]) == {"done"}
    assert "made up" in refused("status", "made", "--store", store)


def test_query_answers_and_refuses(store: Path, tmp_path: Path) -> None:
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


def test_query_without_text_lists_the_named_ones() -> None:
    assert "top-edges" in set(rows("query")["query"])


def test_a_cut_answer_is_told(store: Path) -> None:
    done = run("query", "MATCH (c:Circuit) RETURN c.id AS id", "--max-rows", "3", "--store", store)
    assert len(done.stdout.splitlines()) == 2 + 3
    assert "note: " in done.stderr


def test_a_reader_that_leaves_early_is_no_error(store: Path) -> None:
    """`circuitstore query … | head -1`."""
    command = f"{sys.executable} -m circuitstore.cli query 'MATCH (n:Node) RETURN n.key AS key' --store {store}"
    done = subprocess.run(["bash", "-c", f"{command} | head -1"], capture_output=True, text=True)
    assert done.stdout == "key\n"
    assert "Traceback" not in done.stderr


def test_compare_gives_pairs_beside_their_floor(store: Path) -> None:
    told = rows("compare", "--by", "class", "--where", "attack=natural", "--store", store)
    assert len(told) == 6
    assert {"jaccard", "noise_floor", "chance"} <= set(told)
    assert "jaccard" in refused("compare", "--measure", "jacard", "--store", store)


def test_circuits_are_chosen_by_run_and_flag(store: Path) -> None:
    place, named = ["--store", store], ["query", "consensus-edges", "--param", "share=0"]
    everything = rows(*named, *place)
    assert len(everything) and rows(*named, "--run", "made up", "--flagged", *place).equals(everything)
    assert len(rows("compare", "--run", "made up", "--flagged", "--where", "attack=natural", *place)) == 6
    for command in (named, ["compare"]):
        assert "did you mean 'made up'" in refused(*command, "--run", "made", *place)
    text = "MATCH (c:Circuit) RETURN c.id"
    assert "named queries" in refused("query", text, "--flagged", *place)
    assert "named queries" in refused("query", text, "--run", "made up", *place)


def test_upkeep_of_a_store(store: Path) -> None:
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


def test_a_lost_catalog_is_made_anew(store: Path) -> None:
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
def test_a_graph_of_another_version_is_made_anew(store: Path, change: str) -> None:
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


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    """Interrupted after the first item of a long run; the same command then finds that item there."""
    only = 'only = ["zero", "one", "two", "three"]'
    long = SPEC.replace(only, "").replace("steps = 2", "steps = 40")
    (tmp_path / "spec.toml").write_text(long)
    process = start("index", "spec.toml", "--store", "store", "--no-progress")
    until(lambda: list(tmp_path.glob("store/archive/circuits/*/*.parquet")) or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    told = ended(process)
    assert process.returncode == 130, told
    assert "again to go on" in told
    assert "Traceback" not in told
    states = rows("status", "few", "--store", "store").set_index("class")["state"]
    assert len(states) == 10
    assert states["zero"] == "done" != states["nine"]
    (tmp_path / "spec.toml").write_text(long.replace("[images]", '[images]\nonly = ["zero"]'))
    again = run("index", "spec.toml", "--store", "store", "--no-progress")
    assert again.returncode == 0, again.stderr
    assert "all 1 items are there already" in again.stderr


def test_ctrl_c_before_the_command_has_begun_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circuitstore.cli.commands.app", lambda: signal.raise_signal(signal.SIGINT))
    assert run("runs") == Done(130, "", "")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_command_in_the_background_goes_on_ignoring_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """`circuitstore index … &` in a script begins so."""

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


def test_a_second_ctrl_c_ends_the_process_though_the_first_waits() -> None:
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


def test_a_spec_is_told_what_it_would_cost_and_writes_nothing(tmp_path: Path) -> None:
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
    assert "weights: shipped with circuitstore" in done.stderr and "pixels: size (32, 32)" in done.stderr
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "circuitstore-data").exists()
    assert ".png" in refused("preview", "spec.toml", "--out", "sheet.html")


def test_index_begins_with_the_table(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(LOOKED_AT)
    dry = run("index", "spec.toml", "--dry-run", "--no-progress")
    first = run("index", "spec.toml", "--no-progress")
    again = run("index", "spec.toml", "--no-progress")
    for done in (dry, first):
        assert done.returncode == 0 and done.stderr.startswith("model: digits, 4 layers of 4 heads")
        assert "attacked_accuracy" in done.stderr
    assert "looked at: 2 items done" in first.stderr and first.stdout == ""
    assert "attacked_accuracy" not in again.stderr and "all 2 items are there already" in again.stderr
