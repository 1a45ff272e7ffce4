"""Makes the parts of the documentation that are taken from the program: `python docs/generate.py`.

`docs/cli.md` from the help of every command, the tables of kinds in `docs/spec.md` from the registries,
the named queries in `docs/queries.md` from their headers.
With `--queries` also the answers of the queries in `README.md` and `docs/questions.md` and the picture of a circuit,
from the store that `make demo` filled; with `--graph URL` the answers are compared with those of that graph, too
(`circuitstore rebuild --graph URL` fills it).
Tests hold all of them against the program.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

HEAD = """# The command line

Made from `--help` by `python docs/generate.py`.

A command prints its rows on stdout and everything else (progress, notes, messages) on stderr. `-q` leaves only errors
on stderr, `-v` adds what is logged, `-vv` details and tracebacks; they may stand before the command or after it.

`circuitstore --install-completion` makes the tab key complete commands, options, named queries and pages in bash, zsh,
fish and PowerShell, from the next shell on. `circuitstore docs` lists the pages of this documentation, which are part
of an installed package too; `circuitstore docs spec` prints one.

## Tables

**On a terminal** a table is as wide as the terminal. Conditions, recipes and extractions have the shortest names that
tell them apart. Where room is short, ids and digits are shortened, what is the same in all rows is said once above the
table, what neighbouring rows share becomes a heading, texts are wrapped, and the last columns are left out. A note says
which columns were shortened or left out.

**In a pipe and in a file** a table is complete, and `--format csv`, `json` and `parquet` are complete everywhere, every
number with all of its digits. A missing value is empty in CSV and null in JSON; an infinite number is the text
`Infinity` in JSON; lists and maps within CSV are JSON.

**`--out FILE`** writes to a file, in the form that its name tells: `.csv`, `.json`, `.parquet`, or `.txt` for a table.
`--format` overrides that; a name that tells no form is refused without it. `--out -` is stdout. A file is written whole
or not at all: on a full disk the one that was there stays.

## Exit codes and the place of the store

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | done, and something is to be looked at: items failed, `verify` found differences, `doctor` found a fault |
| 2 | not done: a mistake in what was given, told in one message: what was expected, what came, where, what to do |
| 130 | interrupted by Ctrl-C; what was finished is stored, and the same command goes on |

Where the store is, first found first: the options `--store`, `--graph`, `--catalog`; the environment
variables `CIRCUITSTORE_STORE`, `CIRCUITSTORE_GRAPH`, `CIRCUITSTORE_CATALOG`; the fields `store`, `graph`,
`catalog` of `circuitstore.toml` in the current folder; the folder `./circuitstore-data`. The account of a graph on a
Neo4j server: `CIRCUITSTORE_NEO4J_USER` and `CIRCUITSTORE_NEO4J_PASSWORD`, else `neo4j_user` and `neo4j_password` of
that file, which nobody else should be able to read.
"""


def help_of(*command: str) -> str:
    """The help text of a command, 80 columns wide."""
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "circuitstore.cli", *command, "--help"],
        env=environment,
        capture_output=True,
        check=True,
        text=True,
        encoding="utf-8",
    )
    return done.stdout.replace("python -m circuitstore.cli", "circuitstore").strip()


def commands() -> list[str]:
    """Names of the commands, in the order of the help."""
    listed = help_of().split("Commands:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in listed.splitlines() if re.match(r"  \w", line)]


def cli_reference() -> str:
    """The text of `docs/cli.md`."""
    sections = [f"## circuitstore {name}\n\n```text\n{help_of(name)}\n```\n" for name in commands()]
    return "\n".join([HEAD, f"```text\n{help_of()}\n```\n", *sections])


MADE = re.compile(r"<!-- made: (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def kinds() -> str:
    """Tables of methods, metrics, conditions and corruptions with their parameters."""
    from circuitstore.discovery import METHODS
    from circuitstore.evaluation import METRICS
    from circuitstore.images import CONDITIONS, CORRUPTIONS

    tables = {
        "Methods": [(m.key, f"{m.name} ({m.source})", m.params) for m in METHODS.values()],
        "Metrics": [(m.key, m.name, m.params) for m in METRICS.values()],
        "Conditions": [(c.key, c.name, c.params) for c in CONDITIONS.values()],
        "Corruptions": [(c.key, c.name, c.params) for c in CORRUPTIONS.values()],
    }
    return "\n".join(f"### {title}\n\n{_table(rows)}" for title, rows in tables.items())


def _table(rows: list[tuple[str, str, Mapping[str, Any]]]) -> str:
    lines = ["| name | what it is | parameters |", "|---|---|---|"]
    for name, about, params in rows:
        told = [f"{_default(key, param)}: {param.allowed}" for key, param in params.items()]
        lines.append(f"| `{name}` | {about} | {'<br>'.join(told)} |")
    return "\n".join(lines) + "\n"


def _default(key: str, param: Any) -> str:
    """As a spec writes it; TOML has no null, so what is None there is left out."""
    from circuitstore.circuits.kinds import ABSENT, REQUIRED

    if param.default is REQUIRED:
        return f"`{key}`, to be given"
    left_out = param.default is None or param.default is ABSENT
    return f"`{key}`, by default left out" if left_out else f"`{key} = {json.dumps(param.default)}`"


def queries() -> str:
    """What each named query answers, its parameters and columns."""
    from circuitstore.query import named_queries

    return "\n".join(_query(query) for query in named_queries().values())


def _query(query: Any) -> str:
    lines = [f"### {query.name}", "", query.about, ""]
    told = [(p.type, "" if p.default is None else str(p.default), p.about) for p in query.parameters]
    for what in dict.fromkeys(told):  # parameters of one meaning in one row
        names = ", ".join(f"`{p.name}`" for p, its in zip(query.parameters, told, strict=True) if its == what)
        lines.append(f"| {names} | {' | '.join(what)} |")
    if told:
        lines[4:4] = ["| parameter | type | default | meaning |", "|---|---|---|---|"]
        lines.append("")
    lines += ["| column | meaning |", "|---|---|", *(f"| `{n}` | {about} |" for n, about in query.columns.items())]
    lines += [f"\nAsked in other words on {engine}: `{query.name}.{engine}.cypher`." for engine in query.packed]
    return "\n".join(lines) + "\n"


def with_made_parts(text: str) -> str:
    """`text` with every marked part made anew."""
    makers = {"kinds": kinds, "queries": queries}
    return MADE.sub(lambda part: f"<!-- made: {part[1]} -->\n{makers[part[1]]()}<!-- end -->", text)


ASKED = re.compile(r"```bash\ncircuitstore query ([^\n]*)\n```\n```text\n(.*?)```", re.DOTALL)


def answer(query: str) -> str:
    """What `circuitstore query` prints for its arguments, as a shell reads them."""
    done = subprocess.run(
        [sys.executable, "-m", "circuitstore.cli", "query", *shlex.split(query)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        encoding="utf-8",
    )
    return done.stdout


def with_answers(text: str) -> str:
    """`text` with every query answered by the store in the root folder."""
    return ASKED.sub(lambda m: f"```bash\ncircuitstore query {m[1]}\n```\n```text\n{answer(m[1])}```", text)


CYPHER = re.compile(r"```cypher\n([^`]*)```\n```text\n.*?```", re.DOTALL)


def with_replies(text: str) -> str:
    """`text` with every block of Cypher answered by the same store."""
    return CYPHER.sub(lambda m: f"```cypher\n{m[1]}```\n```text\n{answer(shlex.quote(m[1]))}```", text)


def questions(text: str) -> list[str]:
    """The Cypher of all queries that a page asks and answers."""
    return [shlex.split(query)[0] for query, _ in ASKED.findall(text)] + CYPHER.findall(text)


def hold_against(graph: str, texts: list[str]) -> None:
    """Fails where the graph at this URL gives another answer than the store in the root folder."""
    from circuitstore.cli.settings import read_settings
    from circuitstore.store import open_store
    from pandas.testing import assert_frame_equal

    place = read_settings(str(ROOT / "circuitstore-data"), graph).place
    with open_store(place["location"]) as own, open_store(**place) as other:
        for text in texts:
            assert_frame_equal(own.query(text).to_pandas(), other.query(text).to_pandas(), rtol=1e-9, obj=text)


def draw_circuit() -> None:
    """Draw the circuit that the README shows: class three, natural, of the same store."""
    from circuitstore.store import open_store

    with open_store(ROOT / "circuitstore-data") as store:
        found = store.circuits("digits-typographic", attack="natural", metric="logit", **{"class": "three"})
        store.circuit(found["id"].iloc[0]).draw().save(ROOT / "docs" / "images" / "circuit.svg")


def main() -> None:
    """Write what is made."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--queries", action="store_true")
    parser.add_argument("--graph", metavar="URL")
    options = parser.parse_args()
    (ROOT / "docs" / "cli.md").write_text(cli_reference(), encoding="utf-8")
    for page in (ROOT / "docs" / "spec.md", ROOT / "docs" / "queries.md"):
        page.write_text(with_made_parts(page.read_text(encoding="utf-8")), encoding="utf-8")
    if options.queries:
        draw_circuit()
    for page in (ROOT / "README.md", ROOT / "docs" / "questions.md") if options.queries else ():
        text = with_replies(with_answers(page.read_text(encoding="utf-8")))
        page.write_text(text, encoding="utf-8")
        if options.graph:
            hold_against(options.graph, questions(text))


if __name__ == "__main__":
    main()
