"""What keeping the answers costs beside finding them: wall time of `index` ÷ that of the same work without a store.

The work is the same in both: planning, discovery, extraction and evaluation of every item. They are taken in turn,
round by round, in one process; the store lies in a temporary folder. The CPU time of the threads that store is told
besides (on Linux): on a CPU they share the cores with the model, beside an accelerator they do not. It is that of
Python's threads that write archive, catalog and graph, and keep the lease. Not in it, though in the quotient: the
embedded graph engine's own threads, those of Neo4j's driver (and its server), and what the thread that computes does
for the store, such as rounding the scores as they are kept.

    python benchmarks/indexing.py                    ViT-S with random weights on noise, items of some seconds
    python benchmarks/indexing.py --model vit_base_patch16_224 --per-class 72 --device cuda
    python benchmarks/indexing.py --model digits     six short items of the demo's model
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
from circuitstore.ingest.work import Known, Workbench
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


def spec_of(asked: argparse.Namespace, folder: Path) -> Spec:
    """The run that is asked for; images that are needed for it are made in the folder."""
    if asked.model == "digits":
        where = {"model": '"digits"', "source": '"digits"'}
    else:
        classes = make_images(folder, asked.items, asked.per_class)
        table = ", ".join(f"{json.dumps(name)} = {index}" for name, index in classes.items())
        where = {
            "model": f'{{ timm = "{asked.model}", seed = 0 }}',
            "source": f"{{ folder = {json.dumps(str(folder))}, classes = {{ {table} }} }}",
        }
    return parse_spec(SPEC.format(**(vars(asked) | where)), folder=folder)


def make_images(folder: Path, classes: int, per_class: int) -> dict[str, int]:
    """Folders of noise, one a class; gives back the class index of each."""
    dice = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class {label}").mkdir()
        for number in range(per_class):
            pixels = dice.integers(0, 256, (56, 56, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((224, 224)).save(folder / f"class {label}" / f"{number}.png")
    return {f"class {label}": label for label in range(classes)}


class Watch(threading.Thread):
    """Sees, every twentieth of a second, how much CPU time the threads that store have had."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._seen: dict[int | None, int] = {}

    def run(self) -> None:
        while True:
            for thread in threading.enumerate():
                if thread.name.startswith("circuitstore-"):
                    with suppress(OSError):
                        said = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
                        self._seen[thread.native_id] = int(said.split()[0])
            time.sleep(0.05)

    @property
    def seconds(self) -> float:
        return sum(self._seen.values()) / 1e9


def alone(spec: Spec) -> float:
    """Seconds in which everything is answered and nothing kept."""
    began = time.perf_counter()
    plan = make_plan(spec)
    bench = Workbench(plan, Choice(plan))
    for planned in plan.items:
        list(bench.answer(planned, Known()))
    return time.perf_counter() - began


def planning(spec: Spec) -> float:
    began = time.perf_counter()
    make_plan(spec)
    return time.perf_counter() - began


def stored(spec: Spec, watch: Watch) -> tuple[float, float, float]:
    """Seconds of a run, CPU seconds of its threads that store, and seconds of the same run again, all being done."""
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
    parser.add_argument("--per-class", type=int, default=8, help="images (default %(default)s; half of them score)")
    parser.add_argument("--method", default="eap-ig")
    parser.add_argument("--form", default="split")
    parser.add_argument("--edges", type=int, default=400, help="of a circuit (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(spec_of(asked, Path(folder)), asked.rounds)


def measure(spec: Spec, rounds: int) -> None:
    items = len(make_plan(spec).items)
    print(f"{items} items, {torch.get_num_threads()} threads; load average {os.getloadavg()[0]:.1f} at the beginning")
    watch = Watch()
    watch.start()
    alone(spec)  # the first time is slower than others
    bare, run, ends, cpu = [], [], [], []
    for number in range(rounds):
        bare.append(alone(spec))
        whole, spent, again = stored(spec, watch)
        run.append(whole)
        cpu.append(spent / items)
        ends.append(again - planning(spec))
        print(f"round {number + 1}: alone {bare[-1]:.1f} s, index {whole:.1f} s, {whole / bare[-1]:.3f}", flush=True)
    print(f"work alone: {np.median(bare) / items:.2f} s an item")
    print(f"index ÷ the same work without a store: {quotients(run, bare)}; wanted at most 1.05")
    between = [whole - end for whole, end in zip(run, ends, strict=True)]
    print(f"the same without what opening and closing the store takes: {quotients(between, bare)}")
    print(f"CPU time of the threads that store: {np.median(cpu) * 1e3:.0f} ms an item")
    print(f"opening and closing: {np.median(ends):.2f} s a run")


def quotients(over: list[float], under: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = np.percentile(np.array(over) / np.array(under), [25, 50, 75])
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
