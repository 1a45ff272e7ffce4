"""Who writes: one process, named so that others can tell whether it still lives."""

from __future__ import annotations

import os
import re
import socket
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

LEASE_S = 60.0
"""Seconds for which a lease holds without being renewed."""

RENEW_S = 15.0
"""Seconds between renewals."""

_TEXT = re.compile(r"process (\d+) on host (\S+) \(started (\S+), space (\S*)\)")


def now_ms() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Owner:
    """A process.

    Attributes:
        host: name of its machine.
        space: the pid namespace (container) that its number belongs to; empty where unknown.
        pid: its number.
        started: when it started: boot of the machine and clock ticks since; empty where unknown.
    """

    host: str
    space: str
    pid: int
    started: str

    @classmethod
    def me(cls) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(re.sub(r"\s", "-", socket.gethostname()) or "unknown", _space(), pid, started(pid))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Inverse of `text`; None for a text of another kind."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        pid, host, begun, space = match.groups()
        return cls(host, space, int(pid), "" if begun == "unknown" else begun)

    @property
    def text(self) -> str:
        """For people, and exact: `process 4711 on host atlas (started 5d3c:123456, space 4026531836)`."""
        return f"process {self.pid} on host {self.host} (started {self.started or 'unknown'}, space {self.space})"

    @property
    def is_dead(self) -> bool:
        """Whether it is known to be dead: of this host, and no process of its number started when it did."""
        if (self.host, self.space) != (Owner.me().host, _space()):
            return False
        return not _exists(self.pid) or started(self.pid) != self.started


def shown(owner: str) -> str:
    """The owner of a lease as messages name it: process and host."""
    known = Owner.parse(owner)
    return owner if known is None else f"process {known.pid} on host {known.host}"


def is_dead(owner: str) -> bool:
    """Whether the owner of a lease, given as its text, is known to be dead."""
    known = Owner.parse(owner)
    return known is not None and known.is_dead


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def started(pid: int) -> str:
    """When a process of this host started, as boot id and clock ticks; empty where the system does not tell.

    A number can come again, a number with its start cannot. A zombie counts as not started.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()  # the name before may hold anything
    return "" if state in "ZX" else f"{_boot()}:{rest[18]}"


@lru_cache(maxsize=1)
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@lru_cache(maxsize=1)
def _space() -> str:
    try:
        return re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        return ""
