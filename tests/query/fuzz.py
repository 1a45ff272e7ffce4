"""Runs mutations of hostile and harmless texts that pass the guard, and looks for writes, crashes and hangs.

    python tests/query/fuzz.py --minutes 10 --engine ladybug
    python tests/query/fuzz.py --minutes 10 --engine neo4j

A separate process runs the texts in batches. If the content of the store then differs, or the process died or did not
answer, the batch is reduced to the text that caused it, which is printed. The exit status is 1 if there was one.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

from circuitstore.store import create_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

from tests.query.asker import Asker
from tests.query.mutations import mutated, passes

BATCH = 40


def make_small(folder: Path, graph: str | None) -> None:
    """Make a store with two circuits."""
    with create_store(folder, graph=graph) as store, store.writer() as writer:
        found = [make_discovery(item=make_item(class_index=i, n_layers=2, n_heads=2)) for i in range(2)]
        records = [make_record(d, 12) for d in found]
        wanted = [(r.discovery_id, r.extraction) for r in records]
        writer.start_run("run", 'name = "run"', [d.item for d in found], wanted)
        for discovery, record in zip(found, records, strict=True):
            writer.put(discovery, run="run")
            writer.put(record, run="run")


def culprit(asker: Asker, texts: Sequence[str]) -> list[str]:
    """Return the text, or the smallest part of the batch, that reproduces the fault."""
    while len(texts) > 1:
        half = len(texts) // 2
        for some in (texts[:half], texts[half:]):
            if isinstance(asker.run(some), str):
                texts = some
                break
        else:
            break
    return list(texts)


def fuzz(folder: Path, graph: str | None, seconds: float, seed: int, role: str) -> int:
    """Print the bad texts, and return their number."""
    dice, total, bad, slowest, made = random.Random(seed), Counter[str](), 0, 0.0, 0
    asker = Asker(folder, graph, role)
    first, end = asker.first, time.monotonic() + seconds
    while time.monotonic() < end:
        batch = []
        while len(batch) < BATCH:
            made += 1
            text = mutated(dice.choice)
            if passes(text):
                batch.append(text)
        answer = asker.run(batch)
        if isinstance(answer, str):
            bad += 1
            print(answer, culprit(asker, batch), flush=True)
            continue
        counts, slow, now = answer
        total, slowest = total + Counter(counts), max(slowest, slow)
        if now != first:
            bad += 1
            written = [t for t in batch if asker.run([t])[2] != now] or batch
            print("writes", written, flush=True)
            first = asker.run([])[2]
    asker.close()
    print(
        f"{made} texts made, {sum(total.values())} passed the guard: {dict(total)}; slowest {slowest:.1f} s; {bad} bad"
    )
    return bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--engine", choices=["ladybug", "neo4j"], default="ladybug")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with ExitStack() as stack:
        folder, graph = Path(stack.enter_context(tempfile.TemporaryDirectory())), None
        if given.engine == "neo4j":
            from tests.neo4j_server import Neo4jServer, OwnServer

            server = Neo4jServer.given() or OwnServer(folder / "server")
            stack.callback(server.close)
            os.environ["CIRCUITSTORE_NEO4J_USER"], os.environ["CIRCUITSTORE_NEO4J_PASSWORD"] = (
                server.user,
                server.password,
            )
            graph = server.url
        make_small(folder / "data", graph)
        half = given.minutes * 30
        bad = fuzz(folder / "data", graph, half, given.seed, "reader")
        bad += fuzz(folder / "data", graph, half, given.seed + 1, "writer")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
