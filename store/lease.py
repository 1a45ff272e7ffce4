"""Names of writers, from which other processes can determine whether a writer is still alive."""

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
"""The context of every change by a writer: a rename, a removal, a commit. Entering it raises `LeaseLost` if the writer
has lost the lease; no other writer can start within it (`fence`)."""

LEASE_S = 60.0
"""Seconds after which a lease expires if it is not renewed."""

RENEW_S = 15.0
"""Seconds between renewals."""

PROC = Path("/proc")
"""Where the system describes processes; it may be missing, or hide those of other users."""


class LeaseLost(StoreBusy):
    """Another writer has taken over the lease, so this one must not write."""

    @classmethod
    def to(cls, owner: str | None) -> Self:
        """Create the error, given the current owner of the lease, or None."""
        who = f"{shown(owner)} took over" if owner else "another writer took over and has ended"
        return cls(
            f"the lease on the store was lost: it was not renewed for {LEASE_S:g} s (as when a computer sleeps), and "
            f"{who}; this process has changed nothing since; run the same command again"
        )


_TEXT = re.compile(r"process (\d+) on host (\S+) \(started (\S+), space (\S*), writer (\d+)\)")
_numbers = itertools.count(1)
_live: set[int] = set()  # numbers of the current writers of this process


def now_ms() -> int:
    """Return the current time in epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Owner:
    """The owner of a lease: one writer of one process.

    Attributes:
        host: name of its host.
        space: pid namespace (container) of its process; empty if unknown.
        pid: id of its process.
        started: start of the process, as boot id and clock ticks since boot; empty if unknown.
        number: distinguishes the writers of a process.
    """

    host: str
    space: str
    pid: int
    started: str
    number: int

    @classmethod
    def new(cls) -> Self:
        """Create a writer of this process; it is alive until it is retired or the process ends."""
        number = next(_numbers)
        _live.add(number)
        return cls(_host(), _space(), os.getpid(), started(os.getpid()), number)

    def retire(self) -> None:
        """Mark this writer as ended."""
        _live.discard(self.number)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse `text`; return None if it has another format."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        pid, host, begun, space, number = match.groups()
        return cls(host, space, int(pid), "" if begun == "unknown" else begun, int(number))

    @property
    def text(self) -> str:
        """Unique description: `process 4711 on host atlas (started 5d3c:123456, space 4026531836, writer 1)`."""
        begun = self.started or "unknown"
        return f"process {self.pid} on host {self.host} (started {begun}, space {self.space}, writer {self.number})"

    @property
    def is_dead(self) -> bool:
        """Whether it is known to be dead: it ran on this host, and the writer or its process has ended."""
        if (self.host, self.space) != (_host(), _space()):
            return False
        if not exists(self.pid):
            return True
        state, begun = _seen(self.pid)
        if state in ("Z", "X") or (begun and self.started and begun != self.started):
            return True
        return self.pid == os.getpid() and self.number not in _live


def shown(owner: str) -> str:
    """Return the owner of a lease as messages name it: process and host."""
    known = Owner.parse(owner)
    return owner if known is None else f"process {known.pid} on host {known.host}"


def is_alive(owner: str) -> bool:
    """Return whether the owner of a lease, given as its text, is known to be alive: on this host and not dead."""
    known = Owner.parse(owner)
    return known is not None and (known.host, known.space) == (_host(), _space()) and not known.is_dead


def is_dead(owner: str) -> bool:
    """Return whether the owner of a lease, given as its text, is known to be dead."""
    known = Owner.parse(owner)
    return known is not None and known.is_dead


def exists(pid: int) -> bool:
    """Return whether a process with this id exists on this host; True if that is unknown."""
    if sys.platform == "win32":
        return True  # `os.kill` would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def started(pid: int) -> str:
    """Return the start of a process of this host, as boot id and clock ticks; empty if unknown.

    Process ids are reused, but not together with a start.
    """
    return _seen(pid)[1]


def _seen(pid: int) -> tuple[str, str]:
    """Return state (`Z`: a zombie) and start of a process; both empty if unknown."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return "", ""
    state, *rest = stat.rpartition(")")[2].split()  # the name before may contain any characters
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
