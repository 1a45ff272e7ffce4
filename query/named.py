"""Named queries: Cypher texts with a header that says what they answer, and how they are run.

A query is a file `cypher/NAME.cypher`. Its header is the leading comment:

    // What it answers, in one sentence or a few.
    //
    // Parameters:
    //   limit: integer = 20; how many
    // Columns:
    //   edge: name of the edge

A parameter has a name, a type, a default after `=` (none: it must be given) and a meaning after `;`;
several names with one meaning may stand together. `parameters.py` tells the types and defaults.

A file `cypher/NAME.ENGINE.cypher` declares that an engine is asked the same in other words, which give all rows in
one: Neo4j sends each row as a message, on which its driver spends 20 µs. The text has `WITH` instead of `RETURN`, after
`ORDER BY` also `LIMIT $most`, and then `RETURN collect(coalesce(column, [])) AS column` for every column: `collect`
leaves out what is null, and no value in the graph is a list. Columns that the answer is sorted by first, and that have
few values, may be returned as they are, once for all rows that share them (1 µs for each value that is not sent), and
then sorted by again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..errors import InputError, unknown
from ..results import Table
from ..store.graph.tables import unpacked
from .parameters import TYPES, Only, Parameter, resolve

if TYPE_CHECKING:
    from ..store import Store

_PARAMETER = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<type>\w+)(?: = (?P<default>.*?))?; (?P<about>.+)", re.ASCII)
_ONLY = re.compile(r"only(?:, not (?P<but>\S+))?")


@dataclass(frozen=True)
class NamedQuery:
    """A Cypher text in the portable dialect, with what its header tells.

    Attributes:
        name: file name without ending.
        about: what it answers.
        parameters: in the order in which they are resolved.
        columns: of the answer, with their meaning.
        text: the Cypher, without the header.
        packed: what an engine is asked instead, by its name; many rows of the answer in one.
    """

    name: str
    about: str
    parameters: tuple[Parameter, ...]
    columns: Mapping[str, str]
    text: str
    packed: Mapping[str, str] = field(default_factory=dict)


@cache
def named_queries() -> dict[str, NamedQuery]:
    """All named queries, by name."""
    folder = files("circuitstore.query") / "cypher"
    files_there = [f for f in folder.iterdir() if f.name.endswith(".cypher")]
    sources = {f.name.removesuffix(".cypher"): f.read_text("utf-8") for f in files_there}
    names = sorted(name for name in sources if "." not in name)
    return {name: replace(parse(name, sources[name]), packed=_packed(name, sources)) for name in names}


def _packed(name: str, sources: Mapping[str, str]) -> dict[str, str]:
    """The texts of a query for single engines, by engine, without the comment before them."""
    found = {of.removeprefix(f"{name}."): source for of, source in sources.items() if of.startswith(f"{name}.")}
    return {engine: source.partition("\n\n")[2].strip() for engine, source in found.items()}


def list_named() -> Table:
    """What named queries there are; columns `query, answers, parameters`, defaults in brackets."""
    rows = [(q.name, q.about, ", ".join(p.usage for p in q.parameters)) for q in named_queries().values()]
    return Table(pd.DataFrame(rows, columns=["query", "answers", "parameters"]))


def get_named(name: str) -> NamedQuery:
    """The named query.

    Raises:
        InputError: there is none of that name; names the nearest.
    """
    if name not in named_queries():
        raise unknown("named query", name, named_queries())
    return named_queries()[name]


def parse(name: str, source: str) -> NamedQuery:
    """A named query from the text of its file.

    Raises:
        InputError: the header is not as the module's text says.
    """
    head, _, body = source.partition("\n\n")
    lines = [line.removeprefix("//").removeprefix(" ") for line in head.splitlines()]
    sections = re.split(r"^(?:Parameters|Columns):(?: none)?$", "\n".join(lines), flags=re.MULTILINE)
    if len(sections) != 3 or not head.startswith("//"):
        raise InputError(f"{name}.cypher: expected a header with what it answers, Parameters: and Columns:")
    about, parameters, columns = sections
    return NamedQuery(
        name,
        " ".join(about.split()),
        tuple(p for entry in _entries(parameters) for p in _parameters(name, entry)),
        dict(_column(name, entry) for entry in _entries(columns)),
        body.strip(),
    )


def _entries(section: str) -> list[str]:
    return [line.strip() for line in section.strip().splitlines()]


def _column(query: str, entry: str) -> tuple[str, str]:
    name, colon, about = entry.partition(": ")
    if not colon:
        raise InputError(f"{query}.cypher: a column is written as NAME: MEANING, got {entry!r}")
    return name, about


def _parameters(query: str, entry: str) -> list[Parameter]:
    """`a, b: string = "x"; what they are` as two parameters."""
    match = _PARAMETER.fullmatch(entry)
    if match is None or match["type"] not in TYPES:
        raise InputError(
            f"{query}.cypher: a parameter is written as NAME: TYPE = DEFAULT; MEANING with one of the types "
            f"{', '.join(TYPES)}, got {entry!r}"
        )
    default = match["default"]
    if default is not None:
        only = _ONLY.fullmatch(default)
        default = Only(only["but"]) if only else json.loads(default)
    return [Parameter(name, match["type"], default, match["about"]) for name in match["names"].split(", ")]


def run(
    store: Store,
    text_or_name: str,
    params: Mapping[str, Any] | None = None,
    *,
    timeout_s: float = 30.0,
    max_rows: int = 10_000,
) -> Table:
    """Answer a named query, or a Cypher text of the user's. What has no space in it is a name.

    Args:
        params: values by name; those of a named query that have a default may be left out.
        timeout_s: seconds after which the query is given up.
        max_rows: rows after which the answer is cut, with a note.

    Returns:
        The rows; of a named query also the fact `parameters`, all values that were used.

    Raises:
        InputError: no such named query; a parameter is missing, unknown or of the wrong type, or names a
            class, condition … of which the store has no circuit.
        QueryRefused: the text could do more than read.
        QueryFailed: it does not parse, names what is not in the schema, or ran out of time.
    """
    given = dict(params or {})
    if len(text_or_name.split()) != 1:
        return store.query(text_or_name, given, timeout_s=timeout_s, max_rows=max_rows)
    query = get_named(text_or_name.strip())
    values, notes = resolve(store, f"query {query.name}", query.parameters, given)
    packed = query.packed.get(store.graph.engine)
    if packed is None:
        table = store.query(query.text, values, timeout_s=timeout_s, max_rows=max_rows)
    else:
        table = unpacked(store.query(packed, values | {"most": max_rows + 1}, timeout_s=timeout_s), max_rows)
    return replace(table, notes=(*notes, *table.notes), facts={**table.facts, "parameters": values})
