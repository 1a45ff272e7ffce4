"""The password of a Neo4j server: taken from the environment or the settings file, and shown nowhere."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest
from circuitstore.cli.commands import main
from circuitstore.cli.settings import read_settings
from circuitstore.errors import InputError, StoreError
from circuitstore.store import Account, create_store, open_store

WRONG = "not-the-password-at-all"
USER, PASSWORD = "CIRCUITSTORE_NEO4J_USER", "CIRCUITSTORE_NEO4J_PASSWORD"
COMMANDS = [
    ["status"],
    ["query", "MATCH (c:Circuit) RETURN c.id"],
    ["query", "MATCH (c:Circuit) RETURN (c"],
    ["verify"],
    ["doctor"],
    ["gc"],
    ["rebuild"],
    ["migrate"],
]


@pytest.fixture
def place(folder: Path, world, neo4j_server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A filled store whose graph is on the server, named by a settings file in the current folder."""
    neo4j_server.empty()
    with create_store(folder, graph=neo4j_server.url) as store, store.writer() as writer:
        world.fill(writer)
    monkeypatch.chdir(tmp_path)
    for name in ("STORE", "GRAPH", "CATALOG"):
        monkeypatch.delenv(f"CIRCUITSTORE_{name}", raising=False)
    Path("circuitstore.toml").write_text(f'store = "{folder}"\ngraph = "{neo4j_server.url}"\n')
    return folder


def settings_with(password: str, mode: int = 0o600) -> None:
    path = Path("circuitstore.toml")
    path.write_text(path.read_text() + f'neo4j_password = "{password}"\n')
    path.chmod(mode)


def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["circuitstore", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    said = capfd.readouterr()
    return int(end.value.code or 0), said.out + said.err


@pytest.mark.parametrize("source", ["environment", "settings"])
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_no_command_shows_or_keeps_it(place, neo4j_server, monkeypatch, capfd, caplog, source, right):
    secret = neo4j_server.password if right else WRONG
    caplog.set_level(logging.DEBUG, logger="circuitstore")
    if source == "settings":
        monkeypatch.delenv(PASSWORD)
        settings_with(secret)
    else:
        monkeypatch.setenv(PASSWORD, secret)
    if not right:  # of a separate user: several wrong ones, and nobody is let in for a while
        monkeypatch.setenv(USER, "ada")
    said = {" ".join(command): run(monkeypatch, capfd, *command) for command in COMMANDS}
    assert secret not in f"{said} {caplog.text}"
    if right:
        assert {name: code for name, (code, _) in said.items() if code} == {" ".join(COMMANDS[2]): 2}
        kept = neo4j_server.ask("MATCH (n) RETURN n") + neo4j_server.ask("MATCH ()-[r]->() RETURN r")
        assert secret not in str(kept)
    else:
        assert "'ada'" in said["rebuild"][1] and "neo4j_password" in said["rebuild"][1]
    for path in place.rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes(), path


def test_no_representation_or_traceback_shows_it(place, neo4j_server, monkeypatch):
    settings_with(WRONG)
    monkeypatch.delenv(PASSWORD)
    settings = read_settings()
    with open_store(**settings.place) as store, pytest.raises(StoreError) as refused:
        shown = [settings, settings.place, store, store.location, vars(store.location)]
        store.query("MATCH (c:Circuit) RETURN c.id")
    report = "".join(traceback.format_exception(refused.value))
    assert "refuses" in report and WRONG not in f"{shown} {report}"


def test_the_environment_goes_before_the_file(place, monkeypatch):
    settings_with("of-the-file")
    monkeypatch.setenv(USER, "ada")
    monkeypatch.setenv(PASSWORD, "of-the-environment")
    assert read_settings().account == Account("of-the-environment", "ada")
    monkeypatch.delenv(PASSWORD)
    assert read_settings().account == Account("of-the-file", "ada")


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_file_that_others_may_read_is_logged(place, caplog, mode, warned):
    settings_with("secret-of-the-file", mode)
    read_settings()
    assert ("other users may read" in caplog.text and "chmod 600" in caplog.text) is warned
    assert "secret-of-the-file" not in caplog.text


@pytest.mark.parametrize("line", ["neo4j_password = 7171717", 'neo4j_pasword = "7171717"', "neo4j_password = '7171717"])
def test_a_mistake_in_the_file_is_reported_without_the_password(place, line, monkeypatch):
    monkeypatch.delenv(PASSWORD)
    path = Path("circuitstore.toml")
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(InputError, match=r"circuitstore.toml|setting neo4j_password") as refused:
        read_settings()
    assert "7171717" not in "".join(traceback.format_exception(refused.value))


def test_a_graph_of_another_store_is_called_so(place, folder, neo4j_server, monkeypatch, capfd):
    with create_store(folder.with_name("other")):
        pass
    arguments = ("--store", str(folder.with_name("other")))
    code, said = run(monkeypatch, capfd, "verify", *arguments)
    assert code == 1 and "foreign graph" in said and "another database" in said
    code, said = run(monkeypatch, capfd, "doctor", *arguments)
    assert code == 1 and "belongs to store" in said
    assert run(monkeypatch, capfd, "rebuild", *arguments)[0] == 2
    assert run(monkeypatch, capfd, "verify")[0] == 0
