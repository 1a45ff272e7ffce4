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

Which circuits count is given as ids: a text has `c.id IN $circuits`, or, where these may be all circuits of a store,
`$listed`, `$circuits` and `$left_out` (`ask.py`). A text that gives back `flag` or `flagged` gets flagged circuits
as well. A column `model_id` after `model` is not shown: it tells models of one name apart.

What the graph does not hold is answered by functions of `responses.py`, whose docstrings are the headers.

A file `cypher/NAME.near.cypher` is asked where the answer has no rows. Its comment says what is nearest, with the
columns of its one row in braces.

A file `cypher/NAME.ENGINE.cypher` declares that an engine is asked the same in other words, which give all rows in
one: Neo4j sends each row as a message, on which its driver spends 20 µs. The text has `WITH` instead of `RETURN`, after
`ORDER BY` also `LIMIT $most`, and then `RETURN collect(coalesce(column, [])) AS column` for every column: `collect`
leaves out what is null, and no value in the graph is a list. Columns that the answer is sorted by first, and that have
few values, may be returned as they are, once for all rows that share them (1 µs for each value that is not sent), and
then sorted by again.
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
from .parameters import TYPES, Only, Parameter
from .responses import ANSWERS, Answer

_PARAMETER = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<type>\w+)(?: = (?P<default>.*?))?; (?P<about>.+)", re.ASCII)
_ONLY = re.compile(r"only(?:, not (?P<but>\S+))?")
_ASKED = re.compile(r"\bc\.(\w+) (?:= (\$\w+)|IN \[([^\]]+)\])")
NEAR = "near"


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
        near: what to say where there are no rows, and the text that gives the row with what is nearest.
        answer: computes the rows from archive and catalog, where the graph does not hold them; the text is empty then.
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
        """Whether the text has this parameter."""
        return parameter in parameters_of(self.text)

    @property
    def shows_flags(self) -> bool:
        """Whether the answer says which circuits are flagged, so that these need not be left out."""
        return not {"flag", "flagged"}.isdisjoint(self.columns)

    def chosen(self, values: Mapping[str, Any]) -> dict[str, list[Any]]:
        """The properties that the text asks of every circuit, each with the values that it may have.

        Args:
            values: of the parameters.
        """
        if self.answer is not None:
            buts = {p.name: [p.default.but] for p in self.parameters if isinstance(p.default, Only) and p.default.but}
            chosen = {p.name: [*buts.get(p.name, []), values[p.name]] for p in self.parameters}
            return {"model_id" if name == "model" else name: value for name, value in chosen.items()}
        found: dict[str, list[Any]] = {}
        for name, one, several in _ASKED.findall(self.text):
            words = [word.strip() for word in (one or several).split(",")]
            found.setdefault(name, [values[w[1:]] if w.startswith("$") else w.strip("'") for w in words])
        return found


@cache
def parameters_of(text: str) -> frozenset[str]:
    """Names of the parameters in a Cypher text."""
    return frozenset(tokenize(text).params)


@cache
def named_queries() -> dict[str, NamedQuery]:
    """All named queries, by name."""
    folder = files("circuitstore.query") / "cypher"
    files_there = [f for f in folder.iterdir() if f.name.endswith(".cypher")]
    sources = {f.name.removesuffix(".cypher"): f.read_text("utf-8") for f in files_there}
    names = sorted(name for name in sources if "." not in name)
    found = {name: _with_further(parse(name, sources[name]), sources) for name in names}
    found |= {name: replace(parse(name, _source(answer)), answer=answer) for name, answer in ANSWERS.items()}
    return dict(sorted(found.items()))


def _source(answer: Answer) -> str:
    """The docstring of a function as the header of a query without a text."""
    return "\n".join(f"// {line}".rstrip() for line in (inspect.getdoc(answer) or "").splitlines())


def _with_further(query: NamedQuery, sources: Mapping[str, str]) -> NamedQuery:
    """The query with its further texts, by engine or for answers without rows; the comment before them apart."""
    start = f"{query.name}."
    further = {name.removeprefix(start): source for name, source in sources.items() if name.startswith(start)}
    near = further.pop(NEAR, None)
    return replace(
        query,
        packed={engine: source.partition("\n\n")[2].strip() for engine, source in further.items()},
        near=near and _near(near),
    )


def _near(source: str) -> tuple[str, str]:
    comment, _, text = source.partition("\n\n")
    return " ".join(line.removeprefix("// ") for line in comment.splitlines()), text.strip()


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


def is_name(text: str) -> bool:
    """Whether a text is the name of a query, right or wrong, and no Cypher."""
    return len(text.split()) == 1
