"""Runs texts of the portable dialect on both engines, which must give the same answer or both raise an error.

    python tests/query/parity.py --minutes 10

Generates texts with values of all types, including meaningless ones, runs them on a store on LadybugDB and on the same
circuits on Neo4j, and prints those that have different answers, or an answer on one engine only. The exit status is 1
if there was one.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))

from circuitstore.errors import CircuitStoreError
from circuitstore.store import Store, create_store, open_store, rebuild_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

Choose = Callable[[Sequence[Any]], Any]
"""Chooses one of several values, by a random generator or by Hypothesis."""

TIMEOUT_S = 20.0

PROPERTIES = {
    "c": {
        "text": ["class", "condition", "id"],
        "whole": ["n_edges", "n_nodes", "class_index", "seed"],
        "number": ["faithfulness", "retention", "metric_full"],
    },
    "n": {"text": ["name", "kind"], "whole": ["layer", "head", "neuron"], "number": ["full_in", "full_out"]},
    "f": {"text": ["edge", "port"], "whole": ["rank"], "number": ["score", "frequency"]},
    "k": {"text": ["key", "name"], "whole": ["class_index"], "number": []},
    "r": {"text": ["method", "dtype"], "whole": ["seed"], "number": [], "truth": ["signed"]},
}
PATTERNS = [
    ("(c:Circuit)", "c"),
    ("(c:Circuit)-[:HAS]->(n:Node)", "cn"),
    ("(c:Circuit)-[:HAS]->(n:Node)-[f:FEEDS]->(:Node)", "cnf"),
    ("(c:Circuit)-[:OF_CLASS]->(k:Class)", "ck"),
    ("(c:Circuit)-[:FOUND_BY]->(r:Recipe)", "cr"),
    ("(n:Node {kind: 'mlp'})-[f:FEEDS]->(:Node {name: 'logits'})", "nf"),
    ("(n:Node)", "n"),
    ("(:Circuit)-[:HAS]->(n:Node)-[:FEEDS*1..2]->(:Node {name: 'logits'})", "n"),
    ("(c:Circuit)-[:HAS]->(:Node {name: 'input'})-[:FEEDS]->(n:Node)-[f:FEEDS]->(:Node)", "cnf"),
    ("(n:Node)<-[:HAS]-(c:Circuit)<-[:UNDER|OF_CLASS]-(:Class)", "cn"),
    ("(c:Circuit) MATCH (n:Node) WHERE n.name = c.class", "cn"),
    ("(c:Circuit), (k:Class {name: 'class-1'})", "ck"),
    ("(c:Circuit {class: 'nothing'})", "c"),
]
LITERALS = {
    "text": ["'class-1'", "'m1'", "''", "'3'", "'a'", "'Z'", "'natural'"],
    "whole": ["0", "1", "2", "3", "-1", "40"],
    "number": ["0.5", "1.5", "0.0", "2.0", "-0.25", "1e3"],
    "truth": ["true", "false"],
}
GIVEN: dict[str, list[Any]] = {
    "text": ["class-1", "3", "", "é", "m0"],
    "whole": [0, 1, 3, -2],
    "number": [0.5, 1.0, -1.5],
    "truth": [True, False],
}
KINDS = ("text", "whole", "number", "truth")


class Maker:
    """Generates a text and its parameters; one value in `odd` has a wrong type, or none if it is 0."""

    def __init__(self, choose: Choose, odd: int = 15) -> None:
        self.choose, self.odd = choose, odd
        self.params: dict[str, Any] = {}
        self.bound = ""
        self.aliases: dict[str, str] = {}

    def one_in(self, n: int) -> bool:
        return n > 0 and self.choose(range(n)) == 0

    def text(self) -> str:
        part = self.part()
        if self.one_in(12):
            part += self.choose(["\nUNION ", "\nUNION ALL "]) + self.part()
        return part

    def part(self) -> str:
        self.bound, self.aliases = "", {}
        start = self.choose(["match", "match", "match", "match", "unwind", "none"])
        lines = []
        if start == "match":
            pattern, self.bound = self.choose(PATTERNS)
            lines += [f"MATCH {pattern}"]
            if self.one_in(2):
                lines += [f"WHERE {self.truth(3)}"]
            if self.one_in(4) and "c" in self.bound and "n" not in self.bound:
                lines += [self.choose(["OPTIONAL ", ""]) + "MATCH (c)-[:HAS]->(n:Node {name: 'm1'})"]
                self.bound += "n"
                lines += [f"WHERE {self.truth(2)}"] if self.one_in(2) else []
        elif start == "unwind":
            kind = self.choose(KINDS)
            lines += [f"UNWIND {self.list_of(kind)} AS x"]
            self.aliases["x"] = kind
        if start != "none" and self.one_in(4):
            lines += [self.with_()]
        lines += [self.return_()]
        return "\n".join(lines)

    def with_(self) -> str:
        kinds = [self.choose(KINDS) for _ in range(self.choose([1, 2]))]
        items = [self.choose([self.aggregate, self.value, self.value])(kind) for kind in kinds]
        text = "WITH " + ", ".join(f"{item} AS v{i}" for i, item in enumerate(items))
        self.bound, self.aliases = "", {f"v{i}": kind for i, kind in enumerate(kinds)}
        return text + (f" WHERE {self.truth(2)}" if self.one_in(2) else "")

    def return_(self) -> str:
        kinds = [self.choose(KINDS) for _ in range(self.choose([1, 1, 2, 3]))]
        make = self.choose([self.aggregate, self.value])
        items = [self.choose([make, self.value])(kind) for kind in kinds]
        names = [f"o{i}" for i in range(len(items))]
        text = "RETURN " + self.choose(["", "", "DISTINCT "]) + ", ".join(map("{} AS {}".format, items, names))
        if self.one_in(2):
            text += " ORDER BY " + ", ".join(name + self.choose(["", "", " DESC"]) for name in names)
            if self.one_in(2):
                text += self.choose([" LIMIT 1", " LIMIT 3", " SKIP 1", " SKIP 2 LIMIT 2"])
        return text

    def aggregate(self, kind: str) -> str:
        inner = self.value(kind)
        options = [f"count({inner})", f"count(DISTINCT {inner})", "count(*)", f"min({inner})", f"max({inner})"]
        options += [f"collect({inner})", f"collect(DISTINCT {inner})"]
        if kind == "whole":  # the last digits of other sums depend on the order
            options += [f"sum({inner})", f"avg({inner})", f"sum({inner})"]
        found = self.choose(options)
        if kind in ("whole", "number") and self.one_in(5):
            found = self.choose([f"1.0 * {found} / count(*)", f"coalesce({found}, 0)", f"{found} + 1"])
        return found

    def kind_for(self, kind: str) -> str:
        return self.choose(KINDS) if self.one_in(self.odd) else kind

    def value(self, kind: str, depth: int = 2) -> str:
        kind = self.kind_for(kind)
        if depth <= 0 or self.one_in(2):
            return self.leaf(kind)
        if kind == "truth":
            return f"({self.truth(depth - 1)})"
        if kind == "whole" and ("c" in self.bound or "n" in self.bound) and self.one_in(8):
            return f"COUNT {{ {self.inner()} }}"
        ways = (
            ["{a} + {b}"] if kind == "text" else ["{a} + {b}", "{a} - {b}", "{a} * {b}", "{a} / 2", "1.0 * {a} / 0.5"]
        )
        ways = [f"({way})" for way in ways] + ["coalesce({a}, {b})", "CASE WHEN {t} THEN {a} ELSE {b} END"]
        ways += ["CASE {a} WHEN {b} THEN {a} ELSE {b} END", "CASE WHEN {t} THEN {a} END"]
        ways += [] if kind == "text" else ["abs({a})", "-{a}"]
        ways += ["({a} % {b})"] if kind == "whole" else []
        return self.filled(self.choose(ways), kind, kind, depth)

    def inner(self) -> str:
        """Return a pattern that extends the bound variables."""
        of_c = [
            "(c)-[:HAS]->(:Node {name: 'm1'})",
            "(c)-[:HAS]->(y:Node) WHERE y.layer = 1",
            "(:Model)<-[:OF_MODEL]-(c)",
        ]
        of_n = ["(n)-[:FEEDS]->(:Node {name: 'logits'})", "(n)<-[:FEEDS]-(:Node)", "(n)-[:FEEDS*1..2]->(:Node)"]
        return "MATCH " + self.choose((of_c if "c" in self.bound else []) + (of_n if "n" in self.bound else []))

    def filled(self, way: str, kind: str, other: str, depth: int) -> str:
        """Return the parts of an expression, each generated where it is used."""
        makers: dict[str, Callable[[], str]] = {
            "{a}": lambda: self.value(kind, depth - 1),
            "{b}": lambda: self.value(self.kind_for(other), depth - 1),
            "{t}": lambda: self.truth(depth - 1),
            "{l}": lambda: self.list_of(self.kind_for(kind)),
        }
        for part, make in makers.items():
            while part in way:
                way = way.replace(part, make(), 1)
        return way

    def leaf(self, kind: str) -> str:
        if self.one_in(20):
            return "null"
        leaves = [f"{v}.{p}" for v in self.bound for p in PROPERTIES[v].get(kind, [])] * 3
        leaves += [name for name, of in self.aliases.items() if of == kind] * 3
        leaves += [*LITERALS[kind][:2], self.choose(LITERALS[kind])]
        return self.given(self.choose(GIVEN[kind])) if self.one_in(6) else self.choose(leaves)

    def truth(self, depth: int) -> str:
        kind = self.choose(KINDS)
        ways = ["{a} = {b}", "{a} <> {b}", "{a} < {b}", "{a} <= {b}", "{a} > {b}", "{a} >= {b}"]
        ways += ["{a} IN {l}", "{a} IN {l}", "{a} IS NULL", "{a} IS NOT NULL"]
        if kind == "text":
            ways += ["{a} STARTS WITH {b}", "{a} ENDS WITH {b}", "{a} CONTAINS {b}"]
        if "c" in self.bound or "n" in self.bound:
            ways += [f"EXISTS {{ {self.inner()} }}", f"COUNT {{ {self.inner()} }} > 0"]
        if depth > 0:
            ways += ["({t} AND {t})", "({t} OR {t})", "NOT ({t})", "({t} XOR {t})"] * 2
        return self.filled(self.choose(ways), kind, kind, depth)

    def list_of(self, kind: str) -> str:
        count = self.choose([1, 2, 2, 3])
        if self.one_in(3):
            values: list[Any] = [self.choose(GIVEN[self.kind_for(kind)]) for _ in range(count)]
            return self.given([*values, None] if self.one_in(8) else values)
        return "[" + ", ".join(self.value(kind, 0) for _ in range(count)) + "]"

    def given(self, value: Any) -> str:
        name = f"p{len(self.params)}"
        self.params[name] = value
        return f"${name}"


def made(choose: Choose, odd: int = 15) -> tuple[str, dict[str, Any]]:
    """Return a text of the portable dialect, and the values of its parameters."""
    maker = Maker(choose, odd)
    text = maker.text()
    return text, {name: value for name, value in maker.params.items() if f"${name}" in _words(text)}


def _words(text: str) -> set[str]:
    return set("".join(c if c.isalnum() or c in "$_" else " " for c in text).split())


def answer(store: Store, text: str, params: dict[str, Any]) -> Any:
    """Return columns, types and rows of an answer, or the error."""
    try:
        frame = store.query(text, params, timeout_s=TIMEOUT_S).frame
    except (CircuitStoreError, ValueError) as error:
        return error
    rows = [tuple(_plain(value) for value in row) for row in frame.itertuples(index=False, name=None)]
    return list(frame.columns), rows if "ORDER BY" in text and "UNION" not in text else sorted(rows, key=repr)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return sorted((_plain(v) for v in value), key=repr)
    if value is None or type(value).__name__ == "NAType" or value != value:
        return None
    if isinstance(value, float):
        return 0.0 if value == 0 else float(f"{value:.9g}") if math.isfinite(value) else value
    return value


def same(a: Any, b: Any) -> bool:
    """Return whether two answers, or errors, agree; LadybugDB may skip a value that Neo4j divides by zero."""
    if "/ by zero" in str(b):
        return True
    if isinstance(a, CircuitStoreError) or isinstance(b, CircuitStoreError):
        return isinstance(a, CircuitStoreError) and isinstance(b, CircuitStoreError)
    return a == b


def make_store(folder: Path) -> None:
    """Make a store with twelve circuits, one of them without an evaluation."""
    with create_store(folder) as store, store.writer() as writer:
        writer.start_run("run", "", [])
        for i in range(12):
            attack = ("natural", "blurred")[i % 2]
            item = make_item(i % 3, class_index=i // 2, attack=attack, n_layers=2, n_heads=2)
            discovery = make_discovery(i, item=item)
            record = make_record(discovery, 10 + i)
            if i == 3:
                record = replace(record, evaluation=None)
            writer.put(discovery, run="run")
            writer.put(record, run="run")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--odd", type=int, default=15, help="one value in so many is of another kind than is due, 0: none"
    )
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        from tests.neo4j_server import Neo4jServer, OwnServer

        server = Neo4jServer.given() or OwnServer(folder / "server")
        stack.callback(server.close)
        os.environ["CIRCUITSTORE_NEO4J_USER"], os.environ["CIRCUITSTORE_NEO4J_PASSWORD"] = server.user, server.password
        make_store(folder / "data")
        rebuild_store(folder / "data", graph=server.url)
        ours = stack.enter_context(open_store(folder / "data"))
        theirs = stack.enter_context(open_store(folder / "data", graph=server.url))
        sys.exit(bool(compare(ours, theirs, given.minutes * 60, given.seed, given.odd)))


def compare(ours: Store, theirs: Store, seconds: float, seed: int, odd: int) -> int:
    """Print the texts that have different answers, and return their number."""
    dice, end, counts = random.Random(seed), time.monotonic() + seconds, Counter[str]()
    while time.monotonic() < end:
        text, params = made(dice.choice, odd)
        a, b = answer(ours, text, params), answer(theirs, text, params)
        counts["refused by both" if isinstance(a, Exception) and isinstance(b, Exception) else "asked"] += 1
        if not same(a, b):
            counts["different"] += 1
            print(f"--- {text}\n    {params}\n    LadybugDB: {str(a)[:300]}\n    Neo4j:     {str(b)[:300]}", flush=True)
    print(dict(counts))
    return counts["different"]


if __name__ == "__main__":
    main()
