from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from circuitstore.store.lease import Owner, is_dead, started
from hypothesis import given
from hypothesis import strategies as st

word = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-:", min_size=1)


@given(st.builds(Owner, host=word, space=st.just("") | st.integers(0).map(str), pid=st.integers(1), started=word))
def test_an_owner_is_read_back_from_its_text(owner: Owner) -> None:
    if owner.started != "unknown":
        assert Owner.parse(owner.text) == owner


def test_this_process_lives() -> None:
    me = Owner.me()
    assert me.pid == os.getpid() and not me.is_dead and not is_dead(me.text)
    assert str(os.getpid()) in me.text and me.host in me.text


def test_a_process_that_has_ended_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = replace(Owner.me(), pid=child.pid, started=started(child.pid))
    assert not owner.is_dead
    child.communicate(b"\n")
    assert owner.is_dead


def test_a_process_that_waits_for_its_parent_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = replace(Owner.me(), pid=child.pid, started=started(child.pid))
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie: its number still exists
    assert owner.is_dead
    child.communicate()


def test_a_number_that_came_again_is_another_process() -> None:
    assert replace(Owner.me(), started="earlier:1").is_dead


def test_nothing_is_known_of_other_hosts_and_containers() -> None:
    gone = replace(Owner.me(), started="earlier:1")
    assert not replace(gone, host="elsewhere").is_dead
    assert not replace(gone, space="1").is_dead
    assert not is_dead("somebody else's words")
