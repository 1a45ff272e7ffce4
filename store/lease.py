"""Who writes: one writer of one process, named so that others can tell whether it still lives."""

from __future__ import annotations

import itertools
import os
import re
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from ..errors import StoreBusy

Permit = Callable[[], AbstractContextManager[object]]
"""What a writer enters around everything that takes effect: a rename, a removal, a commit. It raises `LeaseLost` if the
writer may not write any more, and no other writer begins while it is entered (`fence`)."""

LEASE_S = 60.0
"""Seconds for which a lease holds without being renewed."""

RENEW_S = 15.0
"""Seconds between renewals."""

PROC = Path("/proc")
"""Where the system tells of processes; it may tell nothing, or nothing of those of others."""


class LeaseLost(StoreBusy):
    """Another writer has taken the lease over, be it at work or not: this one must write no more."""

    @classmethod
    def to(cls, owner: str | None) -> Self:
        """The error, given whose the lease is now; None: nobody's."""
        who = f"{shown(owner)} took over" if owner else "another writer took over and has ended"
        return cls(
            f"the lease on the store was lost: it was not renewed for {LEASE_S:g} s, as when a machine sleeps, and "
            f"{who}; nothing was changed since; run the same command again"
        )


_TEXT = re.compile(r"process (\d+) on host (\S+) \(started (\S+), space (\S*), writer (\d+)\)")
_numbers = itertools.count(1)
_live: set[int] = set()  # numbers of this process's writers that have not ended


def now_ms() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Owner:
    """A writer.

    Attributes:
        host: name of its machine.
        space: the pid namespace (container) that its process belongs to; empty where unknown.
        pid: number of its process.
        started: when that started: boot of the machine and clock ticks since; empty where unknown.
        number: tells the writers of a process apart.
    """

    host: str
    space: str
    pid: int
    started: str
    number: int

    @classmethod
    def new(cls) -> Self:
        """A new writer of this process; it lives until it is retired, or the process ends."""
        number = next(_numbers)
        _live.add(number)
        return cls(_host(), _space(), os.getpid(), started(os.getpid()), number)

    def retire(self) -> None:
        """This writer has ended."""
        _live.discard(self.number)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Inverse of `text`; None for a text of another kind."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        pid, host, begun, space, number = match.groups()
        return cls(host, space, int(pid), "" if begun == "unknown" else begun, int(number))

    @property
    def text(self) -> str:
        """For people, and exact: `process 4711 on host atlas (started 5d3c:123456, space 4026531836, writer 1)`."""
        begun = self.started or "unknown"
        return f"process {self.pid} on host {self.host} (started {begun}, space {self.space}, writer {self.number})"

    @property
    def is_dead(self) -> bool:
        """Whether it is known to be dead: of this host, and its process, or it alone, has ended."""
        if (self.host, self.space) != (_host(), _space()):
            return False
        if not exists(self.pid):
            return True
        state, begun = _seen(self.pid)
        if state in ("Z", "X") or (begun and self.started and begun != self.started):
            return True
        return self.pid == os.getpid() and self.number not in _live


def shown(owner: str) -> str:
    """The owner of a lease as messages name it: process and host."""
    known = Owner.parse(owner)
    return owner if known is None else f"process {known.pid} on host {known.host}"


def is_alive(owner: str) -> bool:
    """Whether the owner of a lease, given as its text, is known to be alive: of this host, and not dead."""
    known = Owner.parse(owner)
    return known is not None and (known.host, known.space) == (_host(), _space()) and not known.is_dead


def is_dead(owner: str) -> bool:
    """Whether the owner of a lease, given as its text, is known to be dead."""
    known = Owner.parse(owner)
    return known is not None and known.is_dead


def exists(pid: int) -> bool:
    """Whether there is a process of this number on this host; True where the system cannot be asked."""
    if sys.platform == "win32":
        return True  # there `os.kill` ends the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def started(pid: int) -> str:
    """When a process of this host started, as boot id and clock ticks; empty where the system does not tell.

    A number can come again, a number with its start cannot.
    """
    return _seen(pid)[1]


def _seen(pid: int) -> tuple[str, str]:
    """State (`Z`: a zombie) and start of a process; both empty where the system does not tell."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return "", ""
    state, *rest = stat.rpartition(")")[2].split()  # the name before may hold anything
    return state, f"{_boot()}:{rest[18]}"


@lru_cache(maxsize=1)
def _host() -> str:
    return re.sub(r"\s", "-", socket.gethostname()) or "unknown"


@lru_cache(maxsize=1)
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@lru_cache(maxsize=1)
def _space() -> str:
    try:
        return re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        return ""
