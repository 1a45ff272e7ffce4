"""Who asks a Neo4j server: user and password, kept out of every text."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Self

USER, PASSWORD = "CIRCUITSTORE_NEO4J_USER", "CIRCUITSTORE_NEO4J_PASSWORD"
DEFAULT_USER = "neo4j"


@dataclass(frozen=True)
class Account:
    """An account of a Neo4j server.

    Attributes:
        password: shown nowhere; None asks without one, as a server without authentication allows.
        user: its name, shown in messages.
    """

    password: str | None = field(default=None, repr=False)
    user: str = DEFAULT_USER

    @classmethod
    def of_environment(cls) -> Self:
        """The account that `CIRCUITSTORE_NEO4J_USER` and `CIRCUITSTORE_NEO4J_PASSWORD` name."""
        return cls(os.environ.get(PASSWORD) or None, os.environ.get(USER) or DEFAULT_USER)
