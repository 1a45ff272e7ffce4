"""What keeping the answers costs beside finding them: wall time of `index` ÷ that of the same work without a store.

The work is the same in both: discovery, extraction and evaluation of every item, by the demo's model. They are taken
in turn, round by round, in one process; the store lies in a temporary folder, its graph in the embedded engine. What a
run takes that finds everything done (opening, planning, closing) is taken off: once in a run of days, it would be
most of these short ones.

    python benchmarks/indexing.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from circuitstore.ingest import Spec, index, make_plan, parse_spec
from circuitstore.ingest.work import Workbench
from circuitstore.store import create_store

SPEC = """
name = "benchmark"
model = "digits"
device = "{device}"
[images]
source = "digits"
per_class = {per_class}
only = [{classes}]
[[condition]]
kind = "natural"
[[recipe]]
method = "eap-ig"
[[extract]]
edges = {edges}
"""


def alone(spec: Spec) -> int:
    """Answer everything and keep nothing; gives back how many items there are."""
    plan = make_plan(spec)
    bench = Workbench(plan)
    for planned in plan.items:
        discovery = bench.discover(planned.item)
        for extraction in planned.extractions:
            bench.circuit(discovery, extraction, None)
    return len(plan.items)


def stored(spec: Spec) -> tuple[float, float]:
    """Seconds of a run, and of the same run again, which finds everything done."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        create_store(Path(folder) / "data").close()
        for _ in range(2):
            began = time.perf_counter()
            result = index(spec, location=Path(folder) / "data", progress=False)
            seconds.append(time.perf_counter() - began)
            assert not result.failed, result.failed
    return seconds[0], seconds[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--per-class", type=int, default=24)
    parser.add_argument("--classes", nargs="+", default=["zero", "one", "two", "three", "four", "five"])
    parser.add_argument("--edges", type=int, default=200, help="of a circuit")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    classes = ", ".join(f'"{name}"' for name in asked.classes)
    spec = parse_spec(SPEC.format(**(vars(asked) | {"classes": classes})))
    items = alone(spec)  # the first time is slower than others
    ratios, extra, fixed = [], [], []
    for _ in range(asked.rounds):
        began = time.perf_counter()
        alone(spec)
        bare = time.perf_counter() - began
        run, again = stored(spec)
        ratios.append((run - again) / bare)
        extra.append((run - again - bare) / items)
        fixed.append(again)
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    print(f"index ÷ the same work without a store: {middle:.3f} ({low:.3f} to {high:.3f}); wanted at most 1.05")
    print(f"the store's own time: {np.median(extra) * 1e3:.0f} ms an item of one circuit")
    print(f"opening, planning and closing: {np.median(fixed):.1f} s a run")


if __name__ == "__main__":
    main()
