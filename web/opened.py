"""The open store of a running explorer, as its routes get it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from ..store import Store
from .turns import Turns


@dataclass(frozen=True)
class Opened:
    """What the routes share.

    Attributes:
        store: the store, open for reading.
        notes: whether notes may be added.
        turns: runs the queries of all readers.
        adding: held while a note is added, because a process has one writer.
    """

    store: Store
    notes: bool = False
    turns: Turns = field(default_factory=Turns)
    adding: threading.Lock = field(default_factory=threading.Lock)


def _opened(request: Request) -> Opened:
    return request.app.state.opened


Shared = Annotated[Opened, Depends(_opened)]
"""The type of a route's parameter that gets the open store."""
