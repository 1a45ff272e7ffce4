"""The location of the store: from the command line, the environment, `circuitstore.toml` or the default folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from ..errors import InputError, unknown
from ..notation import read_toml
from ..store.graph.neo4j.account import DEFAULT_USER, Account

FILE = "circuitstore.toml"
PREFIX = "CIRCUITSTORE_"

log = logging.getLogger("circuitstore")


class Settings(BaseSettings):
    """The location of a store. A graph or catalog that is None is in the folder of the store.

    Attributes:
        store: the folder of the store; None for the default folder.
        graph: the URL of the graph, `ladybug:///…`, `neo4j://…` or `bolt://…`, without the account, which is in the
            fields below.
        catalog: the URL of the catalog, `sqlite:///…` or `postgresql+psycopg://…`; never shown, because it may have a
            password.
        neo4j_user: the user on the Neo4j server.
        neo4j_password: the password on the Neo4j server; never shown.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    store: str | Path | None = None
    graph: str | None = None
    catalog: str | None = Field(None, repr=False)
    neo4j_user: str = DEFAULT_USER
    neo4j_password: SecretStr | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, InitSettingsSource(settings_cls, _read_file())

    @property
    def place(self) -> dict[str, Any]:
        """The arguments that `open_store` and `create_store` take."""
        return {"location": self.store, "graph": self.graph, "catalog": self.catalog, "account": self.account}

    @property
    def account(self) -> Account:
        """The account on the Neo4j server."""
        secret = self.neo4j_password
        return Account(None if secret is None else secret.get_secret_value(), self.neo4j_user)


def read_settings(store: str | None = None, graph: str | None = None, catalog: str | None = None) -> Settings:
    """Return the settings in force in the current folder; the arguments take precedence.

    Raises:
        InputError: `circuitstore.toml` is not valid TOML, or has unknown fields or wrong values.
    """
    given: dict[str, Any] = {"store": store, "graph": graph, "catalog": catalog}
    try:
        found = Settings(**{name: value for name, value in given.items() if value is not None})
        _warn_of_readable_password()
        return found
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise unknown("setting", place, Settings.model_fields, where=FILE) from error
        got = "another value" if place == "neo4j_password" else repr(first["input"])
        raise InputError(f"setting {place}: {first['msg']}, got {got}") from error


def _read_file() -> dict[str, Any]:
    """Return the contents of `circuitstore.toml`; empty if there is no such file."""
    try:
        return read_toml(Path(FILE).read_text(encoding="utf-8"), FILE)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{FILE}: cannot be read: {error}") from error


def _warn_of_readable_password() -> None:
    """Log a warning if other users may read the password in the settings file."""
    if os.name == "posix" and "neo4j_password" in _read_file() and Path(FILE).stat().st_mode & 0o077:
        log.warning("other users may read %s, which has a password; restrict access with: chmod 600 %s", FILE, FILE)
