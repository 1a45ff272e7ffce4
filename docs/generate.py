"""Generates parts of the documentation from the program: `python docs/generate.py`.

Writes `docs/cli.md` from the help of all commands, the tables of kinds in `docs/spec.md`, of formats in
`docs/formats.md` and of detectors in `docs/detection.md` from the registries, and the named queries in
`docs/queries.md` from their headers. With `--queries`, it also writes the answers of the queries in `README.md` and
`docs/questions.md` and the picture of a circuit, from the store that `make demo` fills. With `--graph URL`, it compares
these answers with those of another graph, which `circuitstore rebuild --graph URL` fills.
Tests compare all generated parts with the program.
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

Generated from `--help` by `python docs/generate.py`.

A command prints its rows on stdout, and progress, notes and messages on stderr. With `-q` it prints only errors on
stderr, with `-v` also the log, with `-vv` also details and tracebacks; these options may precede or follow the command.

`circuitstore --install-completion` installs tab completion of commands, options, named queries and pages for bash, zsh,
fish and PowerShell; it works in the next shell. `circuitstore docs` lists the pages of this documentation, which are
installed with the package; `circuitstore docs spec` prints one.

## Tables

**On a terminal** a table is as wide as the terminal. Conditions, recipes and extractions are shown with their shortest
distinct names. If there is not enough room, ids and digits are shortened, a value that is the same in all rows is
printed once above the table, values that neighbouring rows share become headings, texts are wrapped, and the last
columns are left out. A note lists the columns that were shortened or left out.

**In a pipe and in a file** a table is complete, except that `preview` shortens the names of conditions, and so are
`--format csv`, `json` and `parquet` everywhere; numbers have all of their digits. A missing value is empty in CSV and
null in JSON; an infinite number is the text `Infinity` in JSON; lists and maps in CSV are JSON.

**`--out FILE`** writes to a file, in the format of its suffix: `.csv`, `.json`, `.parquet`, or `.txt` for a table.
`--format` overrides the suffix, and is required for other suffixes. `--out -` is stdout. A file is written completely
or not at all: if the disk is full, an existing file stays unchanged.

## Exit codes

| exit code | meaning |
|---|---|
| 0 | success |
| 1 | done, but with findings: items failed, `verify` found differences, or `doctor` found a fault |
| 2 | a user error; one message says what was expected, what was given, where, and what to do |
| 130 | interrupted by Ctrl-C; finished items are stored, and the same command continues |

## Location of the store

The first of these that is set applies: the options `--store`, `--graph` and `--catalog`; the environment variables
`CIRCUITSTORE_STORE`, `CIRCUITSTORE_GRAPH` and `CIRCUITSTORE_CATALOG`; the fields `store`, `graph` and `catalog` of
`circuitstore.toml` in the current folder; the folder `./circuitstore-data`. The account of a graph on a Neo4j server is
read from `CIRCUITSTORE_NEO4J_USER` and `CIRCUITSTORE_NEO4J_PASSWORD`, or else from `neo4j_user` and `neo4j_password` in
that file, which other users should not be able to read.
"""


def help_of(*command: str) -> str:
    """Return the help text of a command, 80 columns wide."""
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


def commands(*group: str) -> list[str]:
    """Return the names of the commands, in the order of the help; those of a group follow its name."""
    _, found, listed = help_of(*group).partition("Commands:\n")
    if not found:
        return [" ".join(group)]
    names = [line.split()[0] for line in listed.split("\n\n")[0].splitlines() if re.match(r"  \w", line)]
    return [command for name in names for command in commands(*group, name)]


def cli_reference() -> str:
    """Return the text of `docs/cli.md`."""
    sections = [f"## circuitstore {name}\n\n```text\n{help_of(*name.split())}\n```\n" for name in commands()]
    return "\n".join([HEAD, f"```text\n{help_of()}\n```\n", *sections])


MADE = re.compile(r"<!-- made: (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def kinds() -> str:
    """Return tables of methods, metrics, conditions, corruptions and sources of images with their parameters."""
    from circuitstore.discovery import METHODS
    from circuitstore.evaluation import METRICS
    from circuitstore.images import CONDITIONS, CORRUPTIONS, SOURCES

    tables = {
        "Methods": [(m.key, f"{m.name} ({m.source})", m.params) for m in METHODS.values()],
        "Metrics": [(m.key, m.name, m.params) for m in METRICS.values()],
        "Conditions": [(c.key, c.name, c.params) for c in CONDITIONS.values()],
        "Corruptions": [(c.key, c.name, c.params) for c in CORRUPTIONS.values()],
        "Sources of images": [(s.key, s.name, s.params) for s in SOURCES.values()],
    }
    return "\n".join(f"### {title}\n\n{_table(rows)}" for title, rows in tables.items())


def _table(rows: list[tuple[str, str, Mapping[str, Any]]]) -> str:
    lines = ["| name | what it is | parameters |", "|---|---|---|"]
    for name, about, params in rows:
        cells = [f"{_default(key, param)}: {param.allowed}" for key, param in params.items()]
        lines.append(f"| `{name}` | {about} | {'<br>'.join(cells)} |")
    return "\n".join(lines) + "\n"


def _default(key: str, param: Any) -> str:
    """Return a parameter with its default, as a spec has it; TOML has no null, so None is left out."""
    from circuitstore.circuits.kinds import ABSENT, REQUIRED

    if param.default is REQUIRED:
        return f"`{key}`, to be given"
    left_out = param.default is None or param.default is ABSENT
    return f"`{key}`, by default left out" if left_out else f"`{key} = {json.dumps(param.default)}`"


def queries() -> str:
    """Return a section for each named query, with its parameters and columns."""
    from circuitstore.query import named_queries

    return "\n".join(_query(query) for query in named_queries().values())


def _query(query: Any) -> str:
    lines = [f"### {query.name}", "", query.about, ""]
    cells = [(p.type, "" if p.default is None else str(p.default), p.about) for p in query.parameters]
    for row in dict.fromkeys(cells):  # parameters with the same meaning share a row
        names = ", ".join(f"`{p.name}`" for p, own in zip(query.parameters, cells, strict=True) if own == row)
        lines.append(f"| {names} | {' | '.join(row)} |")
    if cells:
        lines[4:4] = ["| parameter | type | default | meaning |", "|---|---|---|---|"]
        lines.append("")
    lines += ["| column | meaning |", "|---|---|", *(f"| `{n}` | {about} |" for n, about in query.columns.items())]
    lines += [f"\nText for {engine}: `{query.name}.{engine}.cypher`." for engine in query.packed]
    return "\n".join(lines) + "\n"


def formats() -> str:
    """Return a table of the formats of other tools."""
    from circuitstore.formats import FORMATS

    lines = ["| format | | what it is | source |", "|---|---|---|---|"]
    lines += [f"| `{key}` | {kind.text} | {kind.name} | {kind.source} |" for key, kind in FORMATS.items()]
    return "\n".join(lines) + "\n"


def detectors() -> str:
    """Return a table of the detectors, with their passes per image and their parameters."""
    from circuitstore.defence import DETECTORS

    rows = []
    for kind in DETECTORS.values():
        forwards, backwards = kind.passes(**dict(DETECTORS.resolve(kind.key).params))
        passes = f"{forwards} forward" + (f", {backwards} backward" if backwards else "")
        source = f" ({kind.source})" if kind.source else ""
        rows.append((kind.key, f"{kind.name}{source}; {passes}", kind.params))
    return _table(rows)


def with_made_parts(text: str) -> str:
    """Return `text` with every generated part replaced."""
    makers = {"kinds": kinds, "queries": queries, "formats": formats, "detectors": detectors}
    return MADE.sub(lambda part: f"<!-- made: {part[1]} -->\n{makers[part[1]]()}<!-- end -->", text)


COMMAND = re.compile(r"```bash\ncircuitstore query ([^\n]*)\n```\n```text\n(.*?)```", re.DOTALL)


def answer(query: str) -> str:
    """Return what `circuitstore query` prints; the arguments are quoted as for a shell."""
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
    """Return `text` with the answers of all `circuitstore query` commands from the store in the root folder."""
    return COMMAND.sub(lambda m: f"```bash\ncircuitstore query {m[1]}\n```\n```text\n{answer(m[1])}```", text)


CYPHER = re.compile(r"```cypher\n([^`]*)```\n```text\n.*?```", re.DOTALL)


def with_replies(text: str) -> str:
    """Return `text` with the answers of all blocks of Cypher from the same store."""
    return CYPHER.sub(lambda m: f"```cypher\n{m[1]}```\n```text\n{answer(shlex.quote(m[1]))}```", text)


def questions(text: str) -> list[str]:
    """Return the Cypher of all queries on a page."""
    return [shlex.split(query)[0] for query, _ in COMMAND.findall(text)] + CYPHER.findall(text)


def compare_answers(graph: str, texts: list[str]) -> None:
    """Raise an error if the graph at this URL gives another answer than the store in the root folder."""
    from circuitstore.cli.settings import read_settings
    from circuitstore.store import open_store
    from pandas.testing import assert_frame_equal

    place = read_settings(str(ROOT / "circuitstore-data"), graph).place
    with open_store(place["location"]) as own, open_store(**place) as other:
        for text in texts:
            assert_frame_equal(own.query(text).to_pandas(), other.query(text).to_pandas(), rtol=1e-9, obj=text)


def draw_circuit() -> None:
    """Draw the circuit in the README: class three, natural, from the same store."""
    from circuitstore.store import open_store

    with open_store(ROOT / "circuitstore-data") as store:
        found = store.circuits("digits-typographic", attack="natural", metric="logit", **{"class": "three"})
        store.circuit(found["id"].iloc[0]).draw().save(ROOT / "docs" / "images" / "circuit.svg")


def main() -> None:
    """Write the generated parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--queries", action="store_true")
    parser.add_argument("--graph", metavar="URL")
    options = parser.parse_args()
    (ROOT / "docs" / "cli.md").write_text(cli_reference(), encoding="utf-8")
    for page in (ROOT / "docs" / name for name in ("spec.md", "queries.md", "formats.md", "detection.md")):
        page.write_text(with_made_parts(page.read_text(encoding="utf-8")), encoding="utf-8")
    if options.queries:
        draw_circuit()
    for page in (ROOT / "README.md", ROOT / "docs" / "questions.md") if options.queries else ():
        text = with_replies(with_answers(page.read_text(encoding="utf-8")))
        page.write_text(text, encoding="utf-8")
        if options.graph:
            compare_answers(options.graph, questions(text))


if __name__ == "__main__":
    main()
