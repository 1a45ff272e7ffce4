"""Named queries: Cypher texts in files, with a header that documents them.

A query is a file `cypher/NAME.cypher`. Its header is the leading comment:

    // What it answers, in one sentence or a few.
    //
    // Parameters:
    //   limit: integer = 20; how many
    // Columns:
    //   edge: name of the edge

A parameter has a name, a type, a default after `=` (it is required without one) and a meaning after `;`. Several
parameters with the same meaning may share a line. Types and defaults are described in `parameters.py`.

The circuits that count are passed as ids: a text has `c.id IN $circuits`, or `$listed`, `$circuits` and `$left_out` if
all circuits of a store may count (see `ask.py`). A text that returns `flag` or `flagged` also gets flagged circuits. A
column `model_id` after `model` is not shown: it distinguishes models with the same name.

What the graph does not hold is answered by the functions in `functions.py`, whose docstrings are the headers.

The file `cypher/NAME.near.cypher` is run if the answer has no rows. It returns one row with what comes nearest; its
comment is the note to show, with columns of that row in braces.

The file `cypher/NAME.ENGINE.cypher` replaces the text on one engine and packs many rows into one: Neo4j sends each row
as a message, which costs its driver 20 µs. The text has `WITH` instead of `RETURN`, `LIMIT $max_rows` after `ORDER BY`,
and then `RETURN collect(coalesce(column, [])) AS column` for every column: `collect` omits nulls, and no value in the
graph is a list. The first sort columns, if they have few values, may be returned unpacked, once for all rows that share
them (which saves 1 µs per value), followed by another `ORDER BY`.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

from ..errors import InputError, unknown
from ..results import Table
from ..store.cypher.tokens import tokenize
from .entries import STUDY
from .functions import ANSWERS, WITHOUT_CIRCUITS
from .headers import Answer
from .parameters import TYPES, Only, Parameter

_PARAMETER = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<type>\w+)(?: = (?P<default>.*?))?; (?P<about>.+)", re.ASCII)
_ONLY = re.compile(r"only(?:, not (?P<other_than>\S+))?")
_CONDITION = re.compile(r"\bc\.(\w+) (?:= (\$\w+)|IN \[([^\]]+)\])")
NEAR = "near"


@dataclass(frozen=True)
class NamedQuery:
    """A Cypher text in the portable dialect, with the contents of its header.

    Attributes:
        name: the file name without its suffix.
        about: what the query answers.
        parameters: its parameters, in the order in which they are resolved.
        columns: the columns of the answer, with their meaning.
        text: the Cypher, without the header.
        answer: computes the rows from archive and catalog if the graph does not hold them; `text` is empty then.
        packed: by engine, the text that it runs instead, which packs many rows into one.
        near: the note for an answer without rows, and the text that returns its values.
    """

    name: str
    about: str
    parameters: tuple[Parameter, ...]
    columns: Mapping[str, str]
    text: str
    packed: Mapping[str, str] = field(default_factory=dict)
    near: tuple[str, str] | None = None
    answer: Answer | None = None

    def takes(self, parameter: str) -> bool:
        """Return whether the text has this parameter."""
        return parameter in parameters_of(self.text)

    @property
    def reads_circuits(self) -> bool:
        """Whether the answer is about circuits, rather than about read-outs, studies, images or notes."""
        if self.answer is not None:
            return self.name not in WITHOUT_CIRCUITS
        return self.takes("circuits") or any(p.type == "circuit" for p in self.parameters)

    @property
    def shows_flags(self) -> bool:
        """Whether the answer says which circuits are flagged, so that they need not be left out."""
        return not {"flag", "flagged"}.isdisjoint(self.columns)

    def filters(self, values: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return the conditions of the text on its circuits: by property, the values that it may have.

        Args:
            values: the values of the parameters.
        """
        if self.answer is not None:
            selecting = [p for p in self.parameters if p.name in (*STUDY, "class", "condition")]
            chosen = {p.name: [*_excluded(p), values[p.name]] for p in selecting}
            return {"model_id" if name == "model" else name: value for name, value in chosen.items()}
        found: dict[str, list[Any]] = {}
        for name, value, listed in _CONDITION.findall(self.text):
            words = [word.strip() for word in (value or listed).split(",")]
            found.setdefault(name, [values[w[1:]] if w.startswith("$") else w.strip("'") for w in words])
        return found


def _excluded(parameter: Parameter) -> list[str]:
    """Return the value that circuits with the parameter's value are compared with, if its default names one."""
    default = parameter.default
    return [default.other_than] if isinstance(default, Only) and default.other_than else []


@cache
def parameters_of(text: str) -> frozenset[str]:
    """Return the names of the parameters in a Cypher text."""
    return frozenset(tokenize(text).params)


@cache
def named_queries() -> dict[str, NamedQuery]:
    """Return all named queries by name.

    Examples:
        >>> query = named_queries()["top-edges"]
        >>> query.about
        'The edges of a circuit with the largest scores by magnitude.'
        >>> [parameter.usage for parameter in query.parameters]
        ['circuit', '[limit=20]']
    """
    folder = files("circuitstore.query") / "cypher"
    sources = {
        f.name.removesuffix(".cypher"): f.read_text("utf-8") for f in folder.iterdir() if f.name.endswith(".cypher")
    }
    names = sorted(name for name in sources if "." not in name)
    found = {name: _with_variants(parse(name, sources[name]), sources) for name in names}
    found |= {name: replace(parse(name, _source(answer)), answer=answer) for name, answer in ANSWERS.items()}
    return dict(sorted(found.items()))


def _source(answer: Answer) -> str:
    """The docstring of a function as the header of a query without a text."""
    return "\n".join(f"// {line}".rstrip() for line in (inspect.getdoc(answer) or "").splitlines())


def _with_variants(query: NamedQuery, sources: Mapping[str, str]) -> NamedQuery:
    """Add the texts of other files to a query: those for one engine, and the one for answers without rows."""
    start = f"{query.name}."
    variants = {name.removeprefix(start): source for name, source in sources.items() if name.startswith(start)}
    near = variants.pop(NEAR, None)
    return replace(
        query,
        packed={engine: source.partition("\n\n")[2].strip() for engine, source in variants.items()},
        near=near and _near(near),
    )


def _near(source: str) -> tuple[str, str]:
    comment, _, text = source.partition("\n\n")
    return " ".join(line.removeprefix("// ") for line in comment.splitlines()), text.strip()


def list_named() -> Table:
    """Return a table of the named queries, with columns `query`, `answers` and `parameters`.

    Optional parameters are in brackets, with their defaults.

    Examples:
        >>> list_named().to_pandas().set_index("query").loc["top-edges", "parameters"]
        'circuit, [limit=20]'
    """
    rows = [(q.name, q.about, ", ".join(p.usage for p in q.parameters)) for q in named_queries().values()]
    return Table(pd.DataFrame(rows, columns=["query", "answers", "parameters"]))


def get_named(name: str) -> NamedQuery:
    """Return the named query.

    Raises:
        InputError: there is no such query; the message suggests the nearest name.
    """
    if name not in named_queries():
        raise unknown("named query", name, named_queries())
    return named_queries()[name]


def parse(name: str, source: str) -> NamedQuery:
    """Parse the text of a file into a named query.

    Raises:
        InputError: the header does not have the format described in the module docstring.
    """
    head, _, body = source.partition("\n\n")
    lines = [line.removeprefix("//").removeprefix(" ") for line in head.splitlines()]
    sections = re.split(r"^(?:Parameters|Columns):(?: none)?$", "\n".join(lines), flags=re.MULTILINE)
    if len(sections) != 3 or not head.startswith("//"):
        raise InputError(f"{name}.cypher: expected a header with a description, Parameters: and Columns:")
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
        raise InputError(f"{query}.cypher: expected a column as NAME: MEANING, got {entry!r}")
    return name, about


def _parameters(query: str, entry: str) -> list[Parameter]:
    """Parse `a, b: string = "x"; meaning` into two parameters."""
    match = _PARAMETER.fullmatch(entry)
    if match is None or match["type"] not in TYPES:
        raise InputError(
            f"{query}.cypher: expected a parameter as NAME: TYPE = DEFAULT; MEANING with one of the types "
            f"{', '.join(TYPES)}, got {entry!r}"
        )
    default = match["default"]
    if default is not None:
        only = _ONLY.fullmatch(default)
        default = Only(only["other_than"]) if only else json.loads(default)
    return [Parameter(name, match["type"], default, match["about"]) for name in match["names"].split(", ")]


def is_name(text: str) -> bool:
    """Return whether a text is the name of a query, existing or not, rather than Cypher.

    Examples:
        >>> is_name("top-edges"), is_name("MATCH (c:Circuit) RETURN c.id")
        (True, False)
    """
    return len(text.split()) == 1
