"""The explorer in a real browser: a server on the loopback, and pages that fail on what they must not do."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from circuitstore.store import open_store
from circuitstore.web import create_app
from circuitstore.web.access import Access
from playwright.sync_api import Browser, Page, sync_playwright

from ..waiting import until

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SERIOUS = ("serious", "critical")
"""Impacts of findings of axe that fail a test."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the installed Chromium. Required if `CI=true`, otherwise the test is skipped without one."""
    path = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if path is None:
        reason = f"no browser for the tests: install one of {', '.join(PROGRAMS)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def served(folder: Path, *, notes: bool = False) -> Iterator[str]:
    """Serve a store on a free port of the loopback, without a token, and yield the URL."""
    with socket.socket() as listening, open_store(folder) as store:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app: Any = create_app(store, Access.of("127.0.0.1", port, token=False), notes=notes)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: server.started, "the explorer did not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


@dataclass(eq=False)
class Visit:
    """A page in a context of its own.

    Attributes:
        page: the page.
        url: URL of the explorer.
        problems: what went wrong since the last `check`: errors of scripts, requests that left the server, refused
            and failed requests.
    """

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self._note(message.type in ("error", "warning"), message.text))
        self.page.on("pageerror", lambda error: self.problems.append(f"error of a script: {error}"))
        self.page.on("request", lambda request: self._note(not self._is_own(request.url), f"left: {request.url}"))

    def _note(self, wrong: bool, text: str) -> None:
        if wrong:
            self.problems.append(text)

    def _is_own(self, url: str) -> bool:
        return urlsplit(url).scheme in ("data", "blob") or url.startswith(f"{self.url}/")

    def open(self, path: str) -> Page:
        """Open a page of the explorer, and wait until it asks for nothing more."""
        self.page.goto(self.url + path)
        self.page.wait_for_load_state("networkidle")
        return self.page

    def check(self) -> None:
        """Check that nothing went wrong, that the body does not scroll sideways, and what axe finds."""
        assert self.problems == [], "\n".join(self.problems)
        width, visible = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width <= visible, f"the page is {width} pixels wide in a window of {visible}"
        found = Axe().run(self.page).response["violations"]
        serious = [(v["id"], [n["target"] for n in v["nodes"]]) for v in found if v["impact"] in SERIOUS]
        assert serious == [], f"axe: {serious}"

    def told(self) -> list[str]:
        """Return what went wrong, and forget it."""
        problems, self.problems = self.problems, []
        return problems


@contextmanager
def visit(browser: Browser, url: str, *, width: int = 1280, dark: bool = False) -> Iterator[Visit]:
    """Yield a page in a window of a width, with the colours of a scheme."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", accept_downloads=True
    )
    try:
        yield Visit(context.new_page(), url)
    finally:
        context.close()
