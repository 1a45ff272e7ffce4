"""Overhead of storing results: wall time of `index` ÷ wall time of the same work without a store.

Both do the same work: planning, discovery, extraction and evaluation of every item. They run in turn, round by round,
in one process; the store is in a temporary folder. On Linux the benchmark also reports the CPU time of the storing
threads, which share the cores with the model unless it runs on an accelerator. These are the Python threads that write
archive, catalog and graph and renew the lease. The ratio, but not this CPU time, also contains the embedded graph
engine's own threads, those of Neo4j's driver (and its server), and the computing thread's work for the store, such as
rounding scores.

    python benchmarks/indexing.py                    ViT-S with random weights on noise, items of some seconds
    python benchmarks/indexing.py --model vit_base_patch16_224 --per-class 72 --device cuda
    python benchmarks/indexing.py --model digits     short items of the demo model
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from circuitstore.ingest import Spec, index, make_plan, parse_spec
from circuitstore.ingest.choice import Choice
from circuitstore.ingest.work import StoredParts, Workbench
from circuitstore.store import create_store
from PIL import Image

SPEC = """
name = "benchmark"
model = {model}
device = "{device}"
[images]
source = {source}
per_class = {per_class}
choose = "all"
[[condition]]
kind = "natural"
[[recipe]]
method = "{method}"
form = "{form}"
[[extract]]
edges = {edges}
"""


def spec_of(args: argparse.Namespace, folder: Path) -> Spec:
    """Return the spec of the run, after creating its images in the folder."""
    if args.model == "digits":
        where = {"model": '"digits"', "source": '"digits"'}
    else:
        classes = make_images(folder, args.items, args.per_class)
        table = ", ".join(f"{json.dumps(name)} = {index}" for name, index in classes.items())
        where = {
            "model": f'{{ timm = "{args.model}", seed = 0 }}',
            "source": f"{{ folder = {json.dumps(str(folder))}, classes = {{ {table} }} }}",
        }
    return parse_spec(SPEC.format(**(vars(args) | where)), folder=folder)


def make_images(folder: Path, classes: int, per_class: int) -> dict[str, int]:
    """Create one folder of noise images per class; return the class index of each."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class {label}").mkdir()
        for number in range(per_class):
            pixels = rng.integers(0, 256, (56, 56, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((224, 224)).save(folder / f"class {label}" / f"{number}.png")
    return {f"class {label}": label for label in range(classes)}


class Watch(threading.Thread):
    """Samples the CPU time of the storing threads every twentieth of a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._seen: dict[int | None, int] = {}

    def run(self) -> None:
        while True:
            for thread in threading.enumerate():
                if thread.name.startswith("circuitstore-"):
                    with suppress(OSError):
                        text = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
                        self._seen[thread.native_id] = int(text.split()[0])
            time.sleep(0.05)

    @property
    def seconds(self) -> float:
        return sum(self._seen.values()) / 1e9


def without_store(spec: Spec) -> float:
    """Return the seconds for computing everything without storing it."""
    began = time.perf_counter()
    plan = make_plan(spec)
    bench = Workbench(plan, Choice(plan))
    for planned in plan.items:
        list(bench.answer(planned, StoredParts()))
    return time.perf_counter() - began


def planning(spec: Spec) -> float:
    began = time.perf_counter()
    make_plan(spec)
    return time.perf_counter() - began


def stored(spec: Spec, watch: Watch) -> tuple[float, float, float]:
    """Return the seconds of a run, the CPU seconds of its storing threads, and the seconds of repeating it."""
    with tempfile.TemporaryDirectory() as folder:
        create_store(Path(folder) / "data").close()
        before = watch.seconds
        first = indexed(spec, Path(folder))
        return first, watch.seconds - before, indexed(spec, Path(folder))


def indexed(spec: Spec, folder: Path) -> float:
    began = time.perf_counter()
    result = index(spec, location=folder / "data", progress=False)
    assert not result.failed, result.failed
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="vit_small_patch32_224", help="a timm name, or digits (default %(default)s)")
    parser.add_argument("--items", type=int, default=30, help="classes of noise (default %(default)s)")
    parser.add_argument("--per-class", type=int, default=8, help="images (default %(default)s; half are scored)")
    parser.add_argument("--method", default="eap-ig")
    parser.add_argument("--form", default="split")
    parser.add_argument("--edges", type=int, default=400, help="edges of a circuit (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(spec_of(args, Path(folder)), args.rounds)


def measure(spec: Spec, rounds: int) -> None:
    items = len(make_plan(spec).items)
    print(f"{items} items, {torch.get_num_threads()} threads; load average {os.getloadavg()[0]:.1f} at the start")
    watch = Watch()
    watch.start()
    without_store(spec)  # warm-up
    bare, run, ends, cpu = [], [], [], []
    for number in range(rounds):
        bare.append(without_store(spec))
        whole, spent, again = stored(spec, watch)
        run.append(whole)
        cpu.append(spent / items)
        ends.append(again - planning(spec))
        print(
            f"round {number + 1}: without a store {bare[-1]:.1f} s, index {whole:.1f} s, {whole / bare[-1]:.3f}",
            flush=True,
        )
    print(f"work without a store: {np.median(bare) / items:.2f} s per item")
    print(f"index ÷ the same work without a store: {ratios(run, bare)}; target at most 1.05")
    between = [whole - end for whole, end in zip(run, ends, strict=True)]
    print(f"the same without opening and closing the store: {ratios(between, bare)}")
    print(f"CPU time of the storing threads: {np.median(cpu) * 1e3:.0f} ms per item")
    print(f"opening and closing: {np.median(ends):.2f} s per run")


def ratios(over: list[float], under: list[float]) -> str:
    """Return median and quartiles of the ratios."""
    low, middle, high = np.percentile(np.array(over) / np.array(under), [25, 50, 75])
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
