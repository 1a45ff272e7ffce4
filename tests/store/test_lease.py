from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from circuitstore.store import lease
from circuitstore.store.lease import Owner, is_dead, started
from hypothesis import given
from hypothesis import strategies as st

word = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-:", min_size=1)


@given(
    st.builds(
        Owner,
        host=word,
        space=st.just("") | st.integers(0).map(str),
        pid=st.integers(1),
        started=word,
        number=st.integers(0),
    )
)
def test_an_owner_is_read_back_from_its_text(owner: Owner) -> None:
    if owner.started != "unknown":
        assert Owner.parse(owner.text) == owner


def test_a_writer_of_this_process_lives_until_it_is_retired() -> None:
    me, other = Owner.new(), Owner.new()
    assert me.pid == os.getpid() and me.text != other.text
    assert not me.is_dead and not is_dead(me.text)
    assert str(os.getpid()) in me.text and me.host in me.text
    me.retire()
    assert is_dead(me.text) and not is_dead(other.text)


def test_a_process_that_has_ended_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = replace(Owner.new(), pid=child.pid, started=started(child.pid))
    assert not owner.is_dead
    child.communicate(b"\n")
    assert owner.is_dead


def test_a_process_that_waits_for_its_parent_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = replace(Owner.new(), pid=child.pid, started=started(child.pid))
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie: its number still exists
    assert owner.is_dead
    child.communicate()


def test_a_number_that_came_again_is_another_process() -> None:
    assert replace(Owner.new(), started="earlier:1").is_dead


def test_nothing_is_known_of_other_hosts_and_containers() -> None:
    gone = replace(Owner.new(), started="earlier:1")
    assert not replace(gone, host="elsewhere").is_dead
    assert not replace(gone, space="1").is_dead
    assert not is_dead("somebody else's words")


def test_what_the_system_does_not_tell_counts_as_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where `/proc` hides the processes of others."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = replace(Owner.new(), pid=child.pid, started=started(child.pid))
    monkeypatch.setattr(lease, "PROC", tmp_path)
    assert started(child.pid) == ""
    assert not owner.is_dead and not replace(owner, started="").is_dead
    child.communicate(b"\n")
    assert owner.is_dead
