"""Speed of the explorer: pages in a real browser, answers over HTTP, memory of the server.

Stores are synthetic: `large` has circuits of ViT-B's graph (split form) with 500, 5,000 and all 32,491 edges; `many`
has circuits of the demo's graph, of 1,000 classes under ten conditions. The server is `circuitstore serve` in a process
of its own. The browser is the installed Chromium without a GPU; each page is opened in a new context, so nothing is
cached.

    python benchmarks/explorer.py                   everything, a quarter of an hour, most of it for creating circuits
    python benchmarks/explorer.py --many 1000       fewer circuits
    python benchmarks/explorer.py --folder PLACE    stores in this folder, which are used again
    python benchmarks/explorer.py --pictures PLACE  also a picture of every page: light, dark and narrow
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from circuitstore.circuits import Extraction
from circuitstore.store import create_store, open_store
from circuitstore.testing.factories import make_discovery, make_examples, make_item, make_record, with_responses
from playwright.sync_api import Browser, Page, sync_playwright
from tqdm import tqdm

VIT_B = {"n_layers": 12, "n_heads": 12}
SIZES = (500, 5_000, 32_491)
"""Numbers of edges of the large circuits; the last is the whole graph."""

CONDITIONS = ("natural", "typographic", "blurred", "noise", "fgsm", "pgd", "rotation", "jpeg", "patch", "fog")
"""Names of conditions; the circuits are synthetic, so nothing is done to images."""

N_IMAGES = 6
"""Images of each synthetic discovery; circuits with fewer are flagged."""

Row = tuple[str, str, str]


def make_large(folder: Path) -> None:
    """Create circuits of ViT-B's size: four classes, natural and typographic, in each size, with example images."""
    items = [make_item(class_index=i, attack=attack, **VIT_B) for i in range(4) for attack in CONDITIONS[:2]]
    wanted = [(item.id, Extraction.of("edges", {"n": n})) for item in items for n in SIZES]
    with create_store(folder) as store, store.writer() as writer:
        writer.start_run("large", 'name = "large"', items, wanted)
        for item in tqdm(items, "creating large circuits"):
            discovery = make_discovery(0, item=item, n_images=N_IMAGES)
            writer.put(discovery, make_examples(item), run="large")
            for n in SIZES:
                record, responses = with_responses(make_record(discovery, n))
                writer.put(*responses, record, run="large")


def make_many(folder: Path, count: int) -> None:
    """Create circuits of the demo's size: `count` ÷ 10 classes under ten conditions."""
    items = [make_item(class_index=i, attack=attack) for i in range(count // 10) for attack in CONDITIONS]
    extraction = Extraction.of("edges", {"n": 40})
    with create_store(folder) as store, store.writer() as writer:
        writer.start_run("many", 'name = "many"', items, [(item.id, extraction) for item in items])
        for item in tqdm(items, "creating circuits"):
            discovery = make_discovery(0, item=item, n_images=N_IMAGES)
            writer.put(discovery, make_record(discovery), run="many")


# --- server ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A running `circuitstore serve`.

    Attributes:
        port: its port on the loopback.
        process: its process.
    """

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> tuple[float, int, bytes]:
        """Return the seconds until an answer was received, its size as sent, and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        started = time.perf_counter()
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - started
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")
        packed = answer.getheader("Content-Encoding") == "gzip"
        return seconds, len(body), gzip.decompress(body) if packed else body

    @property
    def cpu_s(self) -> float:
        """Its CPU time in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def mib(self) -> float:
        """Its resident memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def has_torch(self) -> bool:
        return "libtorch" in Path(f"/proc/{self.process.pid}/maps").read_text()


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """Serve a store until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "circuitstore.cli",
        "serve",
        "--store",
        str(folder),
        "--port",
        str(port),
        "--no-token",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield Server(port, process)
    finally:
        process.terminate()
        process.wait()


def spread(values: Sequence[float], unit: str, scale: float = 1e3) -> str:
    """Return median and quartiles, or the value if there is one."""
    low, middle, high = np.percentile(np.asarray(values) * scale, [25, 50, 75])
    return f"{middle:,.0f} {unit} ({low:,.0f} to {high:,.0f})"


def http_row(server: Server, what: str, path: str, rounds: int, target: str) -> Row:
    """Measure the answers to one request, and the server's CPU time, without the first answer."""
    first, _, _ = server.get(path)
    before = server.cpu_s
    answers = [server.get(path) for _ in range(rounds)]
    cpu = (server.cpu_s - before) / rounds
    times = f"{spread([seconds for seconds, _, _ in answers], 'ms')}, the first {first * 1e3:,.0f} ms"
    return what, f"{times}; {cpu * 1e3:,.0f} ms of CPU time; {answers[0][1] / 1e3:,.0f} kB sent", target


# --- browser --------------------------------------------------------------------------------------------------------

FRAMES = """async () => {
  const frame = () => new Promise((shown) => requestAnimationFrame(() => requestAnimationFrame(shown)));
  const spent = [];
  for (let step = 0; step < 60; step++) {
    await frame();
    const started = performance.now();
    (CHANGE)(step);
    await new Promise((shown) => requestAnimationFrame(() => setTimeout(shown)));
    spent.push(performance.now() - started);
  }
  return spent;
}"""
"""Returns the milliseconds of 60 changes, each until its frame is painted."""

SLIDE = """(step) => {
  const slider = document.querySelector("main input[type=range]");
  slider.value = Math.round(slider.max * (1 - step / 60));
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}"""

ALL = SLIDE.replace("1 - step / 60", "1")

HOVER = """(step) => {
  const nodes = document.querySelectorAll("main svg [tabindex]");
  const node = nodes[(7 * step) % nodes.length];
  const box = node.getBoundingClientRect();
  const at = { bubbles: true, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
  node.dispatchEvent(new PointerEvent("pointermove", at));
}"""


@contextmanager
def new_page(browser: Browser, **options: object) -> Iterator[Page]:
    """Yield a page of a new context, with nothing in its cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    context.set_default_timeout(120_000)
    yield context.new_page()
    context.close()


def first_view(browser: Browser, url: str, content: str) -> tuple[float, float, float]:
    """Return the milliseconds until the first paint and until the content is there, and the kB that were received."""
    with new_page(browser) as page:
        received: list[float] = []
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
        page.goto(url, wait_until="commit")
        page.wait_for_selector(content)
        there = page.evaluate("performance.now()")
        painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        return painted, there, sum(received) / 1e3


def view_row(browser: Browser, what: str, url: str, content: str, rounds: int, target: str) -> Row:
    seen = np.array([first_view(browser, url, content) for _ in range(rounds)])
    painted, there = (spread(seen[:, i], "ms", 1) for i in (0, 1))
    return what, f"painted {painted}, content {there}; {seen[:, 2].max():,.0f} kB", target


def drawing_rows(browser: Browser, server: Server, circuits: dict[int, str]) -> Iterator[Row]:
    """Yield how long a drawing takes: all edges, the pointer over nodes, moves of the slider."""
    limits = dict(zip(SIZES, (100, 300, 1_000), strict=True))
    for size, id in circuits.items():
        with new_page(browser) as page:
            page.goto(f"{server.url}/c/{id}")
            page.wait_for_selector("main svg [tabindex]")
            page.wait_for_load_state("networkidle")
            spent = page.evaluate(FRAMES.replace("CHANGE", SLIDE))
            every = page.evaluate(FRAMES.replace("< 60", "< 5").replace("CHANGE", ALL))
            yield f"drawing all edges, {size:,} requested", spread(every, "ms", 1), f"≤ {limits[size]:,} ms"
            if size == SIZES[1]:
                hover = page.evaluate(FRAMES.replace("CHANGE", HOVER))
                yield "pointer over a node, 5,000 edges, 95 %", f"{np.percentile(hover, 95):,.0f} ms", "≤ 50 ms"
                yield "move of the slider, 5,000 edges, 95 %", f"{np.percentile(spent, 95):,.0f} ms", "≤ 33 ms"


# --- all ------------------------------------------------------------------------------------------------------------

MATRIX = "/api/1/compare/similarities?by=class&condition=natural"


def large_rows(browser: Browser, folder: Path, rounds: int) -> Iterator[Row]:
    """Yield the figures of circuits of ViT-B's size."""
    with open_store(folder) as store:
        listed = store.circuits(condition="natural", **{"class": "class-0"}).sort_values("n_edges")
    circuits = dict(zip(SIZES, listed["id"], strict=True))
    with served(folder) as server:
        first = circuits[SIZES[0]]
        yield view_row(browser, "`/`, cold", server.url + "/", "main table", rounds, "≤ 500, ≤ 1,000 ms; ≤ 250 kB")
        path = f"{server.url}/c/{first}"
        yield view_row(browser, "`/c/ID` of 500 edges, cold", path, "main svg [tabindex]", rounds, "the same")
        yield from drawing_rows(browser, server, circuits)
        api = f"/api/1/circuits/{circuits[SIZES[1]]}"
        yield http_row(server, "API: circuit of 5,000 edges", api, rounds, "≤ 50 ms, ≤ 100 kB")


def many_rows(browser: Browser, folder: Path, rounds: int) -> Iterator[Row]:
    """Yield the figures of many circuits."""
    with served(folder) as server:
        yield http_row(server, "API: 100 of all circuits", "/api/1/circuits?limit=100", rounds, "≤ 100 ms")
        yield http_row(server, "API: all pairs of the classes", MATRIX, rounds, "≤ 1,500 ms")
        page = f"{server.url}/compare?by=class&condition=natural"
        yield view_row(browser, "`/compare`, all classes, cold", page, ".heatmap:not([hidden]) canvas", rounds, "")
        yield "memory of the server", f"{server.mib:,.0f} MiB", "≤ 300 MiB"
        yield "torch is loaded", "yes" if server.has_torch else "no", "no"


def pictures(browser: Browser, folder: Path, place: Path) -> None:
    """Save a picture of every page: light, dark and narrow."""
    with open_store(folder) as store:
        a, b = store.circuits()["id"].tolist()[:2]
    place.mkdir(parents=True, exist_ok=True)
    with served(folder) as server:
        for path in ("/", "/circuits", f"/c/{a}", f"/diff?a={a}&b={b}", "/compare", "/query", "/images", "/notes"):
            for name, width, scheme in (("light", 1280, "light"), ("dark", 1280, "dark"), ("narrow", 380, "light")):
                with new_page(browser, color_scheme=scheme) as page:
                    page.set_viewport_size({"width": width, "height": 900})
                    page.goto(server.url + path)
                    page.wait_for_load_state("networkidle")
                    title = path.strip("/").partition("?")[0].partition("/")[0] or "overview"
                    page.screenshot(path=place / f"{title}-{name}.png", full_page=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--many", type=int, default=10_000, help="circuits of the demo's size, a multiple of ten")
    parser.add_argument("--rounds", type=int, default=7, help="repetitions of each figure")
    parser.add_argument("--folder", type=Path, help="where the stores are, and stay")
    parser.add_argument("--pictures", type=Path, help="a folder for pictures of every page")
    args = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        sys.exit("no browser: install chromium")
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = args.folder or Path(temporary)
        large, many = folder / "large", folder / f"many-{args.many}"
        if not large.exists():
            make_large(large)
        if not many.exists():
            make_many(many, args.many)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        rows = []
        for part in (large_rows(browser, large, args.rounds), many_rows(browser, many, args.rounds)):
            for row in part:
                print(" | ".join(row), file=sys.stderr, flush=True)
                rows.append(row)
        if args.pictures:
            pictures(browser, large, args.pictures)
        browser.close()
    print(pd.DataFrame(rows, columns=["what", "median (quartiles)", "target"]).to_string(index=False))


if __name__ == "__main__":
    main()
