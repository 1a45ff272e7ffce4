"""A process that runs queries on a store, so that a crash or an endless query does not stop the tests.

As a program, it takes the arguments FOLDER GRAPH ROLE (GRAPH is `-` for the store's own; ROLE is `reader` or `writer`).
It reads lists of texts as lines of JSON, and prints the counts of results, the longest time of a query, and the content
of the store.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from circuitstore.errors import CircuitStoreError
from circuitstore.store import Store, open_store

TIMEOUT_S, PATIENCE_S = 1.0, 25.0


class Asker:
    """A process that is restarted if it dies or does not answer.

    Attributes:
        first: the content of the store at the start.
    """

    def __init__(self, folder: Path, graph: str | None, role: str) -> None:
        self._command = [sys.executable, __file__, str(folder), graph or "-", role]
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.first = self._answer(120.0)

    def _answer(self, patience_s: float) -> Any:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], patience_s)[0]:
            return "hangs"
        line = self.process.stdout.readline()
        return json.loads(line) if line else "crashes"

    def run(self, texts: Sequence[str]) -> Any:
        """Return the counts of results, the longest time and the content afterwards; or `hangs` or `crashes`."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(list(texts)).encode() + b"\n")
            answer = self._answer(PATIENCE_S + 2 * TIMEOUT_S * len(texts))
        except BrokenPipeError:
            answer = "crashes"
        if isinstance(answer, str):
            self.close()
            self._start()
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def ask(store: Store, text: str) -> str:
    """Run a text that passed the guard, without the check of names, so that more texts reach the engine."""
    try:
        store.graph.run(text, {"x": "z"} if "$x" in text else {}, timeout_s=TIMEOUT_S, max_rows=50)
    except CircuitStoreError as error:
        return type(error).__name__
    return "answered"


def main(folder: str, graph: str, role: str) -> None:
    sys.path.append(str(Path(__file__).parents[2]))
    from tests.query.content import content

    with ExitStack() as stack:
        store = stack.enter_context(open_store(folder, graph=None if graph == "-" else graph))
        if role == "writer":
            stack.enter_context(store.writer())
        print(json.dumps(content(store)), flush=True)
        for line in sys.stdin:
            slowest, counts = 0.0, Counter[str]()
            for text in json.loads(line):
                began = time.monotonic()
                counts[ask(store, text)] += 1
                slowest = max(slowest, time.monotonic() - began)
            print(json.dumps([counts, slowest, content(store)]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
