"""A grammar of mutated queries: hostile and harmless texts, changed in a few ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from circuitstore.errors import QueryRefused
from circuitstore.store.cypher.guard import check_read_only
from circuitstore.store.cypher.tokens import tokenize

from .harmless import HARMLESS
from .hostile import HOSTILE

Choose = Callable[[Sequence[Any]], Any]
"""Chooses one of several values, by a random generator or by Hypothesis."""

SHORT = [t for t in HOSTILE if len(t) < 1000]
FRAGMENTS = [
    *[
        "CREATE (:Dataset {name: 'z'})",
        "SET n.name = 'z'",
        "SET c.class = 'z'",
        "DELETE n",
        "DETACH DELETE c",
        "REMOVE n.name",
    ],
    *[
        "MERGE (:Dataset {name: 'z'})",
        "CALL db.labels()",
        "CALL { MATCH (n) DELETE n }",
        "LOAD FROM '/etc/passwd' RETURN *",
    ],
    *[
        "COPY (RETURN 1) TO '/tmp/stolen-by-fuzz.csv'",
        "DROP TABLE Node",
        "; ",
        ";",
        "FOREACH (x IN [1] | CREATE (:Dataset))",
    ],
    *[
        "WITH *",
        "WITH c",
        "WITH 1 AS one",
        "RETURN 1 AS one",
        "UNION",
        "UNION ALL",
        "MATCH (n:Node)",
        "OPTIONAL MATCH (n)",
    ],
    *[
        "UNWIND [1, 2] AS i",
        "WHERE true",
        "ORDER BY 1",
        "SKIP 1",
        "LIMIT 1",
        "AND",
        "OR",
        "NOT",
        "AS x",
        "x",
        "c",
        "n",
        "1",
    ],
    *[
        "'",
        '"',
        "`",
        "\\",
        "\\'",
        "''",
        "/*",
        "*/",
        "/**/",
        "//",
        "\n",
        "\r",
        "\t",
        "\x0b",
        "\x00",
        "\u2028",
        "\u00a0",
        "\ufeff",
    ],
    *[
        "\\u0027",
        "\\u0043REATE",
        "\u0421REATE",
        "$x",
        "$`x`",
        "$$",
        "$(x)",
        ":$(x)",
        ":Node",
        "|",
        "||",
        "&",
        "!",
        "..",
        ".",
    ],
    *["(", ")", "[", "]", "{", "}", ",", ":", "=", "+=", "+", "-", "->", "<-", "--", "{1,3}", "*", "*1..3", "+()", "%"],
    *[
        "EXISTS {",
        "COUNT {",
        "COLLECT {",
        "CASE WHEN",
        "THEN",
        "ELSE",
        "END",
        "IN",
        "IS NULL",
        "[x IN [1] |",
        "any(x IN",
    ],
    *[
        "EXPLAIN",
        "PROFILE",
        "CYPHER 25",
        "USE system",
        "SHOW USERS",
        "NEXT",
        "FINISH",
        "FILTER",
        "LET x =",
        "INSERT (:Node)",
    ],
]
_BREAKS = re.compile(r"(\s+|[^\w\s])")


def mutated(choose: Choose) -> str:
    """Return a harmless or hostile text, changed in one to five ways."""
    text = choose(choose([HARMLESS, HARMLESS, SHORT]))
    for _ in range(choose([1, 1, 2, 3, 5])):
        text = choose(_WAYS)(text, choose)
    return text


def _insert(text: str, choose: Choose) -> str:
    parts = _BREAKS.split(text)
    at = choose(range(len(parts) + 1))
    gap = choose([" ", " ", ""])
    return "".join([*parts[:at], gap, choose(FRAGMENTS), gap, *parts[at:]])


def _append(text: str, choose: Choose) -> str:
    return text + choose([" ", "\n", "", ";", "/**/", " //\n"]) + choose(FRAGMENTS)


def _drop(text: str, choose: Choose) -> str:
    parts = _BREAKS.split(text)
    at = choose(range(len(parts)))
    return "".join(parts[:at] + parts[at + choose([1, 1, 2, 3]) :])


def _splice(text: str, choose: Choose) -> str:
    """Join the beginning of one text and the end of another."""
    ours, theirs = _BREAKS.split(text), _BREAKS.split(choose(choose([HARMLESS, SHORT])))
    return "".join(ours[: choose(range(len(ours) + 1))]) + " " + "".join(theirs[choose(range(len(theirs))) :])


def _space(text: str, choose: Choose) -> str:
    gaps = [m.start() for m in re.finditer(r"\s", text)] or [0]
    at = choose(gaps)
    return text[:at] + choose(["/* */", "/**/", "/***/", "//\n", "\t", "\r\n", "\x0c", "\u2003", ""]) + text[at + 1 :]


def _case(text: str, choose: Choose) -> str:
    return choose([str.upper, str.lower, str.swapcase, str.title])(text)


def _escape(text: str, choose: Choose) -> str:
    if not text:
        return text
    at = choose(range(len(text)))
    code = ord(text[at]) & 0xFFFF
    return text[:at] + choose([f"\\u{code:04x}", f"\\{text[at]}", f"`{text[at]}`", f"'{text[at]}"]) + text[at + 1 :]


def _quote(text: str, choose: Choose) -> str:
    words = [m.span() for m in re.finditer(r"\w+", text)]
    if not words:
        return text
    start, end = choose(words)
    mark = choose("'\"`")
    return f"{text[:start]}{mark}{text[start:end]}{mark}{text[end:]}"


def _swap(text: str, choose: Choose) -> str:
    parts = _BREAKS.split(text)
    a, b = choose(range(len(parts))), choose(range(len(parts)))
    parts[a], parts[b] = parts[b], parts[a]
    return "".join(parts)


_WAYS = (_insert, _insert, _append, _drop, _splice, _space, _case, _escape, _quote, _swap)


def passes(text: str) -> bool:
    """Return whether the guard accepts a text."""
    try:
        check_read_only(tokenize(text))
    except QueryRefused:
        return False
    return True
