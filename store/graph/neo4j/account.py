"""The account of a Neo4j server: user and password, which no message or repr contains."""

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
        password: never shown; None if the server has no authentication.
        user: name of the user, shown in messages.
    """

    password: str | None = field(default=None, repr=False)
    user: str = DEFAULT_USER

    @classmethod
    def of_environment(cls) -> Self:
        """Return the account in `CIRCUITSTORE_NEO4J_USER` and `CIRCUITSTORE_NEO4J_PASSWORD`."""
        return cls(os.environ.get(PASSWORD) or None, os.environ.get(USER) or DEFAULT_USER)
