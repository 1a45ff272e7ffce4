"""Where the store is: command line, then environment, then `circuitstore.toml`, then the default folder."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from ..errors import InputError, unknown

FILE = "circuitstore.toml"
PREFIX = "CIRCUITSTORE_"


class Settings(BaseSettings):
    """The place of a store. What is None follows from the rest: everything lies in the store's folder.

    Attributes:
        store: folder of the store.
        graph: URL of the graph, `ladybug:///…`, `neo4j://…` or `bolt://…`; without an account, which stays in the
            environment.
        catalog: URL of the catalog, `sqlite:///…`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, toml_file=FILE, extra="forbid", frozen=True
    )

    store: Path | None = None
    graph: str | None = None
    catalog: str | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def place(self) -> dict[str, Any]:
        """The arguments that `open_store` and `create_store` take."""
        return {"location": self.store, "graph": self.graph, "catalog": self.catalog}


def read_settings(store: Path | None = None, graph: str | None = None, catalog: str | None = None) -> Settings:
    """Settings in force in the current folder; what is given here goes before everything else.

    Raises:
        InputError: `circuitstore.toml` is no TOML, or has unknown or wrong fields.
    """
    given = {"store": store, "graph": graph, "catalog": catalog}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{FILE}: no valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise unknown("setting", place, Settings.model_fields, where=FILE) from error
        raise InputError(f"setting {place}: {first['msg']}, got {first['input']!r}") from error
