"""Passwords are masked in all messages."""

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
def test_a_password_before_the_host_is_masked(scheme: str, mark: str, password: str) -> None:
    """Passwords are masked with and without `%` escapes, and where `//` became `/` in a path."""
    for written in (quote(password, safe=""), password):
        masked_text = masked(f"cannot open '{scheme}{mark}user:{written}@host:5432/name', try another")
        assert masked_text == f"cannot open '{scheme}{mark}user:***@host:5432/name', try another"


@given(st.sampled_from(["password", "sslpassword", "access_token", "client_secret", "PASSWD", "pwd"]), text)
def test_a_secret_in_a_field_is_masked(name: str, secret: str) -> None:
    masked_text = masked(f"sqlite:///a?mode=ro&{name}={quote(secret, safe='')}&timeout=3")
    assert masked_text == f"sqlite:///a?mode=ro&{name}=***&timeout=3"


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
def test_a_text_without_secrets_is_unchanged(plain: str) -> None:
    assert masked(plain) == plain


def test_errors_mask_their_messages() -> None:
    for kind in (CircuitStoreError, InputError):
        assert str(kind("bolt://me:Pa55@host is down")) == "bolt://me:***@host is down"
    assert InputError("a", 3).args == ("a", 3)


def test_a_masked_stream_is_still_a_stream() -> None:
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
    printed = capsys.readouterr()
    assert end.value.code == 2 and printed.err and "Pa55" not in printed.out + printed.err
    assert list(tmp_path.iterdir()) == []
