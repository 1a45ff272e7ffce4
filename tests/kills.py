"""A small indexing run by the command line, killed at any moment and run again until it is done."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from circuitstore.store import Store, open_store

from .forked import Forked

SPEC = """
name = "quick"
model = "digits"
[images]
source = "digits"
per_class = 8
only = ["three", "seven"]
[[condition]]
kind = "natural"
[[condition]]
kind = "typographic"
text = "other class"
[[recipe]]
method = "eap"
[[extract]]
edges = 20
[[extract]]
edges = 30
"""
"""Four items, eight circuits."""
IN_A_STORE = 4
"""Kills of the runs into one store."""
EARLY = 0.25
"""Share of the stores killed before their first answer too: so small a run takes most of its time up to it."""


@dataclass(frozen=True)
class Kill:
    """Where a kill fell.

    Attributes:
        discoveries, circuits: files in the archive then.
        unfinished: temporary files there.
    """

    discoveries: int
    circuits: int
    unfinished: int


class Trial:
    """The same run again and again, in separate stores, with the graph in the folder or on a server.

    Attributes:
        took_s: seconds of a run that is left in peace.
        begun: share of them up to the first answer.
        undisturbed: what its store holds.
        circuits: how many that are.
    """

    def __init__(self, folder: Path, graph: str | None, spec: str = SPEC) -> None:
        """Run it once in peace."""
        self.folder, self.graph = folder, graph
        self.log, self._spec = folder / "log", folder / "quick.toml"
        self._spec.write_text(spec)
        self._forked = Forked(self.log)
        began, began_at = time.monotonic(), time.time()
        status = self.index("undisturbed")
        assert status == 0, self.log.read_text()
        self.took_s = time.monotonic() - began
        first = min(path.stat().st_mtime for path in self.answers("undisturbed"))
        self.begun = (first - began_at) / self.took_s
        with self.open("undisturbed") as store:
            self.undisturbed, self.circuits = content(store), len(store.circuits())

    def close(self) -> None:
        self._forked.close()

    def open(self, name: str) -> Store:
        return open_store(self.folder / name, graph=self.graph)

    def index(self, name: str, kill_after_s: float | None = None, *, once: Callable[[], bool] = lambda: True) -> int:
        """Exit status of `circuitstore index` on a store, killed so long after something came about."""
        graph = [] if self.graph is None else ["--graph", self.graph]
        where = ["--store", str(self.folder / name), *graph]
        return self._forked.run(["index", str(self._spec), "--no-progress", *where], kill_after_s, once=once)

    def killed(self, name: str, dice: random.Random, most: int) -> list[Kill]:
        """Index into a store, killed at most so often, each time at a random moment, until it is done.

        Most stores are left in peace up to the first answer. At most `IN_A_STORE` kills: the longer it goes on, the
        more of them fall where all is done but the end.
        """
        kills: list[Kill] = []
        early = dice.random() < EARLY
        while True:
            span = self.took_s if early or self.answers(name) else self.took_s * (1 - self.begun)
            after = dice.random() * span if len(kills) < min(most, IN_A_STORE) else None
            began = time.monotonic()
            status = self.index(name, after, once=lambda: early or bool(self.answers(name)))
            if status == 0:  # the machine's load changes, and the first run of all is slower than others
                took_s = time.monotonic() - began
                self.took_s = max(self.took_s, took_s) if kills else took_s
                return kills
            assert status == -9 and after is not None, self.log.read_text()
            archive, answers = self.folder / name / "archive", len(self.answers(name))
            counts = [len(list(archive.glob(pattern))) for pattern in ("circuits/*/*.parquet", "**/*.tmp")]
            kills.append(Kill(answers, *counts))

    def answers(self, name: str, kind: str = "discoveries") -> list[Path]:
        """Return the files of a kind in the archive of a store."""
        return list((self.folder / name / "archive").glob(f"{kind}/*/*.parquet"))

    def differences(self, name: str) -> list[str]:
        """Return the differences from the undisturbed store; the graph is compared with the archive edge by edge."""
        with self.open(name) as store:
            found = [f"{row['kind']}: {row['what']}" for row in store.verify()]
            found += [f"left behind: {path}" for path in store.archive.leftovers()]
            here = content(store)
        return found + [f"other {part}" for part, value in self.undisturbed.items() if here[part] != value]


def content(store: Store) -> dict[str, object]:
    """All but times, numbers of attempts and the order of the work; checksums cover edges, values and evaluation."""
    circuits = store.circuits().drop(columns="created_ms").sort_values("id", ignore_index=True)
    return {
        "circuits": circuits.to_csv(),
        "items": store.items().drop(columns=["attempts", "changed_ms"]).to_csv(),
        "discoveries": {id: store.discovery(id).sha256 for id in store.archive.ids("discovery")},
        "circuit files": sorted(store.archive.ids("circuit")),
        "read-outs": {id: store.readout(id).sha256 for id in store.archive.ids("readout")},
        "examples": {id: store.example_images(id).sha256 for id in store.archive.ids("example")},
        "graph": store.graph.present(),
    }
