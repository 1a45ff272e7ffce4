"""The pages of a circuit, of two circuits and of a component in a browser: the drawing, its keys, and its files."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from circuitstore.circuits import CircuitRecord
from circuitstore.store import Store, open_store
from playwright.sync_api import Browser, Page, expect

from .browsing import visit
from .explored import NOTE

PATHS = ".drawing .edges path"


@pytest.fixture(scope="module")
def store(explored: Path) -> Iterator[Store]:
    with open_store(explored) as store:
        yield store


@pytest.fixture(scope="module")
def record(store: Store) -> CircuitRecord:
    return store.circuit(store.circuits(attack="natural")["id"][0])


def drawn(page: Page) -> list[str]:
    """Return the paths of the edges that are drawn, the strongest first."""
    return page.locator(PATHS).evaluate_all("paths => paths.map((path) => path.getAttribute('d')).reverse()")


def numbers(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+", path)]


def test_the_drawing_is_that_of_the_report_at_every_size(
    browser: Browser, explorer: str, record: CircuitRecord
) -> None:
    circuit = record.circuit
    svg = circuit.draw(max_edges=circuit.n_edges).svg
    found = re.findall(r'<path d="([^"]+)" stroke[^>]*><title>([^ ,]+)', svg)
    report = {name.replace("&gt;", ">").replace("&lt;", "<"): numbers(path) for path, name in found}
    names = [circuit.universe.edge_names[i] for i in circuit.order]
    with visit(browser, explorer) as seen:
        page = seen.open(f"/c/{record.id}?n={circuit.n_edges}")
        for size in (circuit.n_edges, 5, 12):
            page.locator("input[type=range]").fill(str(size))
            expect(page.locator(PATHS)).to_have_count(size)
            for path, name in zip(drawn(page), names[:size], strict=True):
                assert numbers(path) == pytest.approx(report[name], abs=1)
        expect(page.locator("output")).to_have_text(f"12 of {circuit.n_edges} edges shown")
        assert "n=12" in page.url
        expect(page.locator(".edge-table tbody tr")).to_have_count(12)
        seen.check()


def test_keys_pin_hide_walk_and_group(browser: Browser, explorer: str, record: CircuitRecord) -> None:
    frame = record.to_pandas()
    pinned = frame.sort_values("rank")["sender"].iloc[0]
    own = frame[(frame["sender"] == pinned) | (frame["receiver"] == pinned)]
    strongest = frame[frame["sender"] == pinned].sort_values("rank")["receiver"].iloc[0]
    with visit(browser, explorer, dark=True) as seen:
        page = seen.open(f"/c/{record.id}?pin={pinned}")
        node = page.get_by_role("button", name=re.compile(f"^{re.escape(pinned)}, "))
        expect(node).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("h")
        expect(page.locator(PATHS)).to_have_count(len(own))
        page.keyboard.press("h")
        node.focus()
        page.keyboard.press("ArrowRight")
        focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert focused.startswith(f"{strongest}, ")
        page.keyboard.press("Shift+Enter")
        expect(page.locator(".node.pinned")).to_have_count(2)
        page.keyboard.press("g")
        expect(page.locator(".node.group")).to_have_count(1)
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.locator(".help")).to_be_visible()
        seen.check()


def test_the_view_leaves_as_files_and_as_cypher(
    browser: Browser, explorer: str, record: CircuitRecord, store: Store
) -> None:
    with visit(browser, explorer) as seen:
        page = seen.open(f"/c/{record.id}?n=7&order=score")
        expect(page.locator(PATHS)).to_have_count(7)
        found = {}
        for name in ("CSV", "JSON", "SVG", "PNG"):
            with page.expect_download() as download:
                page.get_by_role("button", name=name, exact=True).click()
            found[name] = Path(download.value.path()).read_bytes()
        rows = list(csv.DictReader(found["CSV"].decode().splitlines()))
        frame = record.to_pandas()
        strongest = frame.reindex(frame["score"].abs().sort_values(ascending=False).index)["edge"].head(7)
        assert [row["edge"] for row in rows] == list(strongest)
        told = json.loads(found["JSON"])
        assert (told["shown"], told["of"], len(told["rows"])) == (7, len(frame), 7)
        root = ET.fromstring(found["SVG"].decode())
        paths = [path for path in root.iter("{http://www.w3.org/2000/svg}path") if "C" in path.get("d", "")]
        assert len(paths) == 7
        assert found["PNG"][:4] == b"\x89PNG"
        text = page.evaluate(
            "async ([base, id, view]) => (await import(base)).cypher(id, view)",
            [
                page.evaluate("document.querySelector('script[src]').src").replace(
                    "pages/circuit.js", "drawing/exports.js"
                ),
                record.id,
                {"n": 7, "order": "score", "pin": [], "hide": False},
            ],
        )
        assert set(store.query(text).frame["edge"]) == set(strongest)


def test_many_edges_are_drawn_on_a_canvas(browser: Browser, explorer: str, record: CircuitRecord) -> None:
    with visit(browser, explorer) as seen:
        page = seen.open(f"/c/{record.id}")
        ink = page.evaluate(
            """async ([base, api]) => {
              const [{ CanvasEdges }, { Graph }, { strokesOf }] = await Promise.all(
                ["edges.js", "graph.js", "strokes.js"].map((name) => import(base + name)));
              const found = await (await fetch(api)).json();
              const graph = new Graph(found.picture);
              const canvas = new CanvasEdges(graph);
              Object.assign(canvas.element, { width: graph.layout.width, height: graph.layout.body });
              const strokes = strokesOf(graph, "score", false);
              const ink = async (n) => {
                await canvas.show(Array.from(graph.order("rank").subarray(0, n)), strokes, { k: 1, x: 0, y: 0 });
                const { width, height } = canvas.element;
                const { data } = canvas.element.getContext("2d").getImageData(0, 0, width, height);
                return data.filter((value, i) => i % 4 === 3 && value > 0).length;
              };
              return [await ink(5), await ink(graph.size), await ink(5)];
            }""",
            [
                page.evaluate("document.querySelector('script[src]').src").replace("pages/circuit.js", "drawing/"),
                f"/api/1/circuits/{record.id}",
            ],
        )
        assert ink[0] == ink[2] > 0  # edges that were drawn are taken back
        assert ink[1] > ink[0]


def test_two_circuits_and_a_component(browser: Browser, explorer: str, store: Store) -> None:
    rows = store.circuits(class_index=0).sort_values("attack")
    a, b = rows["id"]
    with visit(browser, explorer, width=400) as seen:
        page = seen.open(f"/diff?a={a}&b={b}&n=20")
        expect(page.locator(".explore " + PATHS)).to_have_count(20)
        expect(page.locator(".small .drawing")).to_have_count(2)
        both = page.locator(".small figcaption").all_text_contents()
        shown = [int(re.search(r"\((\d+) of", text).group(1)) for text in both]
        dashes = page.locator(".explore " + PATHS).evaluate_all(
            "all => all.map((one) => one.getAttribute('stroke-dasharray'))"
        )
        common = dashes.count(None)
        assert sum(shown) - common == 20
        expect(page.locator(".note .text")).to_have_text(NOTE)
        seen.check()
        page = seen.open(f"/c/{min(a, b)}")
        expect(page.locator(".note .text")).to_have_text(NOTE)
        page = seen.open("/head/m1")
        expect(page.get_by_role("heading", level=1)).to_have_text("m1 in all circuits")
        expect(page.locator(".note .text")).to_have_text(NOTE)
        seen.check()
    with visit(browser, explorer) as seen:
        page = seen.open(f"/diff?a={a}&b={a}")
        expect(page.get_by_role("alert")).to_contain_text("expected two circuits")
