"""Messages for users about queries that fail on LadybugDB."""

from __future__ import annotations

import re
from textwrap import shorten

from ....errors import QueryFailed, unknown
from .. import errors
from ..portable import Ask
from .engine import Crashed, Ended, Overdue, TooLarge
from .file import BUFFER_POOL_SIZE

SHOWN = 300
"""Maximum number of characters of the engine's message that are shown."""

_PARSER = re.compile(
    r"Parser exception: (.*?)(?:: expected rule| expecting).*\(line: (\d+), offset: (\d+)\)", re.DOTALL
)
_TABLE = re.compile(r"Table (\S+) does not exist")
_PROPERTY = re.compile(r"Cannot find property (\S+) for (\w+)")
_OURS = ("Store", "Migration")


def is_unread(error: RuntimeError) -> bool:
    """Return whether the engine could not parse the text."""
    return str(error).startswith("Parser exception")


def query_failed(error: RuntimeError, text: str, timeout_s: float, max_mib: int, ask: Ask) -> QueryFailed:
    """Return the error for a query's `text`; `ask` queries the names in the schema."""
    said = str(error)
    if isinstance(error, Overdue) or "Interrupted" in said:
        return errors.too_long(timeout_s)
    if isinstance(error, TooLarge):
        return errors.too_large(max_mib)
    if isinstance(error, Crashed):
        return QueryFailed(
            f"{said} on this query, which is a bug of the engine; nothing is lost; write the query differently"
        )
    if isinstance(error, Ended) or "buffer pool is full" in said:
        return QueryFailed(
            f"the query needs more than {BUFFER_POOL_SIZE >> 20} MiB of memory; narrow it with WHERE, "
            "bound the hops of its paths (*1..3), or return fewer rows with LIMIT"
        )
    if found := _PARSER.search(said):
        what, line, offset = found.groups()
        at = "".join(text.splitlines()[int(line) - 1 : int(line)])
        place = f"line {line}, column {int(offset) + 1}, in {shorten(at, SHOWN)!r}"
        return QueryFailed(
            f"{place}: {shorten(what, SHOWN)}; see circuitstore docs queries for the dialect and its reserved words"
        )
    if found := _TABLE.search(said):
        labels = _labels(ask)
        return QueryFailed(f"{unknown('label or type', found[1], labels)}; see circuitstore docs graph for the schema")
    if found := _PROPERTY.search(said):
        name, variable = found.groups()
        properties = _properties(ask, text, variable)
        return QueryFailed(
            f"{unknown('property', name, properties, where=variable)}; see circuitstore docs graph for the schema"
        )
    what = (said.partition("exception: ")[2] or said).partition("Expected:")[0].rstrip(". \n")
    return QueryFailed(
        f"{shorten(what, SHOWN)}; see circuitstore docs queries for the dialect, circuitstore docs graph for the schema"
    )


def _labels(ask: Ask) -> list[str]:
    """Return labels and types of the schema."""
    return [name for [name] in ask("CALL show_tables() RETURN name", {}) if name not in _OURS]


def _properties(ask: Ask, text: str, variable: str) -> list[str]:
    """Return the properties of the label or type of a variable in the query; of all if it has none."""
    labels = _labels(ask)
    typed = re.search(rf"[(\[]\s*{variable}\s*:\s*(\w+)", text)
    names: set[str] = set()
    for label in [typed[1]] if typed and typed[1] in labels else labels:
        # the engine accepts no parameter here; the name comes from the schema
        names |= {name for [name] in ask(f"CALL table_info('{label}') RETURN name", {})}
    return sorted(names)
