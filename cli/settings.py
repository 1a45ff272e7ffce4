"""Where the store is: command line, then environment, then `circuitstore.toml`, then the default folder."""

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
    """The place of a store. What is None follows from the rest: everything lies in the store's folder.

    Attributes:
        store: folder of the store.
        graph: URL of the graph, `ladybug:///…`, `neo4j://…` or `bolt://…`; without an account, which is in the
            fields below.
        catalog: URL of the catalog, `sqlite:///…` or `postgresql+psycopg://…`; not shown, as it may hold a
            password.
        neo4j_user: of the graph's server.
        neo4j_password: its password, shown nowhere.
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
        return init_settings, env_settings, InitSettingsSource(settings_cls, _in_file())

    @property
    def place(self) -> dict[str, Any]:
        """The arguments that `open_store` and `create_store` take."""
        return {"location": self.store, "graph": self.graph, "catalog": self.catalog, "account": self.account}

    @property
    def account(self) -> Account:
        """Who asks the graph's server."""
        secret = self.neo4j_password
        return Account(None if secret is None else secret.get_secret_value(), self.neo4j_user)


def read_settings(store: str | None = None, graph: str | None = None, catalog: str | None = None) -> Settings:
    """Settings in force in the current folder; what is given here goes before everything else.

    Raises:
        InputError: `circuitstore.toml` is no TOML, or has unknown or wrong fields.
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
        got = "what is there" if place == "neo4j_password" else repr(first["input"])
        raise InputError(f"setting {place}: {first['msg']}, got {got}") from error


def _in_file() -> dict[str, Any]:
    """What `circuitstore.toml` says; nothing where there is none."""
    try:
        return read_toml(Path(FILE).read_text(encoding="utf-8"), FILE)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{FILE}: cannot be read: {error}") from error


def _warn_of_readable_password() -> None:
    """A note where others on this machine may read the password in the settings file."""
    if os.name == "posix" and "neo4j_password" in _in_file() and Path(FILE).stat().st_mode & 0o077:
        log.warning("%s holds a password and others may read it; close it to them with: chmod 600 %s", FILE, FILE)
