"""A small store with everything that the explorer shows, served, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from .browsing import chromium, served
from .explored import make_store


@pytest.fixture(scope="session")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the store."""
    folder = tmp_path_factory.mktemp("explored") / "store"
    make_store(folder)
    return folder


@pytest.fixture(scope="module")
def explorer(explored: Path) -> Iterator[str]:
    """URL of the explorer of this store."""
    with served(explored) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The installed Chromium, one for each module: its event loop must not be left over for other tests."""
    with chromium() as found:
        yield found
