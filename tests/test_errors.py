"""Passwords stay out of messages, whoever writes them."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr
from urllib.parse import quote

import pytest
from circuitstore.cli.commands import main
from circuitstore.cli.output import Masked
from circuitstore.errors import CircuitStoreError, InputError, masked
from hypothesis import given
from hypothesis import strategies as st

SCHEMES = ("postgresql+psycopg", "postgresql", "bolt", "neo4j+s", "https")
text = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'\""), min_size=1)


@given(st.sampled_from(SCHEMES), st.sampled_from(["://", ":/"]), text)
def test_no_password_is_shown_that_stands_before_the_host(scheme: str, mark: str, password: str) -> None:
    """As it should be written, with `%`, and as it is written by mistake; also where `//` became `/` in a path."""
    for written in (quote(password, safe=""), password):
        said = masked(f"cannot open '{scheme}{mark}user:{written}@host:5432/name', try another")
        assert said == f"cannot open '{scheme}{mark}user:***@host:5432/name', try another"


@given(st.sampled_from(["password", "sslpassword", "access_token", "client_secret", "PASSWD", "pwd"]), text)
def test_no_secret_is_shown_that_stands_in_a_field(name: str, secret: str) -> None:
    said = masked(f"sqlite:///a?mode=ro&{name}={quote(secret, safe='')}&timeout=3")
    assert said == f"sqlite:///a?mode=ro&{name}=***&timeout=3"


@pytest.mark.parametrize(
    "plain",
    [
        "postgresql+psycopg://circuitstore@localhost/circuitstore cannot be reached",
        "ladybug:///folder/run@2.lbdb is damaged",
        "bolt://localhost:7687/neo4j refuses user 'neo4j'",
        "expected NAME=VALUE, for instance class=three, got 'password'",
        "process 4711 on host atlas (started 5d3c:123456); write to me@example.org: C:/folder",
    ],
)
def test_what_holds_no_secret_is_left_as_it_is(plain: str) -> None:
    assert masked(plain) == plain


def test_errors_mask_what_they_were_given() -> None:
    for kind in (CircuitStoreError, InputError):
        assert str(kind("bolt://me:Pa55@host is down")) == "bolt://me:***@host is down"
    assert InputError("a", 3).args == ("a", 3)


def test_a_stream_is_masked_and_remains_a_stream() -> None:
    under = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stderr(Masked(under)):
        print("Traceback: bolt://me:Pa55@host", file=sys.stderr, flush=True)
        assert sys.stderr.encoding == "utf-8" and not hasattr(sys.stderr, "buffer")
    under.seek(0)
    assert under.read() == "Traceback: bolt://me:***@host\n"


@pytest.mark.parametrize(
    "words",
    [
        ["query", "studies", "--param", "bolt://me:Pa55@host"],
        ["query", "studies", "--param", "class=bolt://me:Pa55@host"],
        ["query", "studies", "--timeout", "bolt://me:Pa55@host"],
        ["compare", "--where", "bolt://me:Pa55@host"],
        ["bolt://me:Pa55@host"],
        ["status", "--store", "bolt://me:Pa55@host"],
        ["status", "--graph", "bolt://me:Pa55@host"],
        ["status", "--catalog", "mysql://me:Pa55@host/name"],
        ["index", "bolt://me:Pa55@host"],
    ],
    ids=" ".join,
)
def test_the_command_line_shows_no_password(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["circuitstore", *words])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert end.value.code == 2 and said.err and "Pa55" not in said.out + said.err
    assert list(tmp_path.iterdir()) == []
