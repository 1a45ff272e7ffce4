"""Every page of the explorer in a browser: light, dark, narrow, by keys only, and within this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from circuitstore.store import open_store
from circuitstore.web.pages import PAGES
from playwright.sync_api import Browser, expect

from .browsing import Visit, visit

NARROW, WIDE = 380, 1280


@pytest.fixture(scope="module")
def addresses(explored: Path) -> dict[str, str]:
    """The address of a page with content, by the path in `PAGES`."""
    with open_store(explored) as store:
        a, b = store.circuits(condition="natural")["id"].tolist()[:2]
    filled = {page.path: page.path.replace("{id}", a).replace("{name}", "a0.h1") for page in PAGES}
    return filled | {"/diff": f"/diff?a={a}&b={b}"}


@pytest.fixture(scope="module")
def seen(browser: Browser, explorer: str) -> Iterator[Visit]:
    with visit(browser, explorer) as opened:
        yield opened


@pytest.mark.parametrize("path", [page.path for page in PAGES])
def test_a_page_is_whole_in_both_schemes_and_widths(seen: Visit, addresses: dict[str, str], path: str) -> None:
    for dark, width in ((False, WIDE), (True, NARROW)):
        seen.page.set_viewport_size({"width": width, "height": 900})
        seen.page.emulate_media(color_scheme="dark" if dark else "light")
        page = seen.open(addresses[path])
        expect(page.locator("main h1")).to_be_visible()
        expect(page.get_by_role("alert")).to_be_empty()
        seen.check()


@pytest.mark.parametrize("path", [page.path for page in PAGES])
def test_the_content_is_reached_by_keys(seen: Visit, addresses: dict[str, str], path: str) -> None:
    page = seen.open(addresses[path])
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null && document.activeElement.tagName !== 'MAIN'")
    unreachable = "main :is(a[href], button, input, select, textarea)[tabindex='-1']:not([role])"
    assert page.locator(unreachable).count() == 0


def test_a_request_that_leaves_this_machine_is_noticed(browser: Browser, explorer: str) -> None:
    """The policy stops it, and the harness reports it: otherwise the tests above could not fail."""
    with visit(browser, explorer) as opened:
        page = opened.open("/circuits")
        page.evaluate("fetch('http://192.0.2.1/').catch(() => 0)")
        page.wait_for_timeout(50)
        assert any("192.0.2.1" in problem for problem in opened.told())
