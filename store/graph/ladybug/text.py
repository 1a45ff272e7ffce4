"""Adapting a portable query to LadybugDB, so that its answer is that of openCypher.

These differences are worked around. The engine's sum of no values is null instead of 0, and sums of integers have
another type. A small integer parameter has eight bits, so `$a * $b` overflows. `COUNT { MATCH (c)… }` loses the rows in
which it is 0, unless a property of c is read. -0.0 is sorted below all other numbers. Values are never inserted into
the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from ....errors import QueryFailed
from ...cypher.clauses import Reading, read
from ...cypher.schema import SHARED
from ...cypher.tokens import Token, Tokens, tokenize

_KEYS = {label: schema.names[0] for label, schema in SHARED.items()} | {"Circuit": "id", "Node": "key", "Note": "id"}

_UNTYPED = {"SKIP", "LIMIT", ".."}
"""Tokens after which the engine accepts only a bare number or parameter."""


def adapted(text: str, params: Mapping[str, Any]) -> str:
    """Return the text for LadybugDB; the input has passed the guard, so its brackets match."""
    found = tokenize(text)
    reading = _reading(found, params)
    inserts = [(end, " + 0.0") for end in reading.sorted_numbers]
    for i, token in enumerate(found):
        before, after = (found[k] if 0 <= k < len(found) else token for k in (i - 1, i + 1))
        if token.upper == "SUM" and after.text == "(" and before.text not in (".", ":"):
            before_it, after_it = ("to_int64(", ")") if token.start in reading.whole_sums else ("", "")
            end = found[_closing(found, i + 1)].start + 1
            inserts += [(token.start, f"{before_it}coalesce("), (end, f", 0){after_it}")]
        elif token.upper == "COUNT" and after.text == "{":
            end = _closing(found, i + 1)
            if key := _key_of_outer(found, i, end):
                inserts += [
                    (token.start, "("),
                    (found[end].start + 1, f" + CASE WHEN {key} IS NULL THEN 0 ELSE 0 END)"),
                ]
        elif _is_whole(token, params) and not {before.upper, before.text} & _UNTYPED:
            inserts += [(token.start, "to_int64("), (token.start + len(token.text), ")")]
    for at, words in sorted(inserts, key=lambda one: one[0], reverse=True):
        text = text[:at] + words + text[at:]
    return text


def _reading(tokens: Tokens, params: Mapping[str, Any]) -> Reading:
    with suppress(QueryFailed):  # a text of this package, for this engine only
        return read(tokens, params)
    return Reading()


def _is_whole(token: Token, params: Mapping[str, Any]) -> bool:
    return token.kind == "param" and type(params.get(token.text[1:].strip("`"))) is int


def _closing(found: Tokens, start: int) -> int:
    """Return the index of the bracket that closes the one at `start`."""
    depth = 0
    for i in range(start, len(found)):
        depth += (found[i].text in "([{") - (found[i].text in ")]}")
        if depth == 0:
            return i
    return len(found) - 1


def _key_of_outer(found: Tokens, start: int, end: int) -> str:
    """Return a property of the first node in a subquery that an earlier pattern has bound; '' if there is none."""
    labels: dict[str, str] = {}
    for i in _nodes(found, 1, start):
        label = found[i + 2].text.strip("`") if found[i + 1].text == ":" else ""
        labels[found[i].text] = labels.get(found[i].text) or label
    node = next((found[i].text for i in _nodes(found, start + 1, end) if found[i].text in labels), "")
    return node and f"{node}.{_KEYS.get(labels[node], 'name')}"


def _nodes(found: Tokens, start: int, end: int) -> Iterator[int]:
    """Yield the indices of names that are nodes in a pattern, or arguments of a function."""
    for i in range(start, end):
        is_name = found[i].kind in ("word", "quoted") and found[i].upper not in ("COUNT", "EXISTS")
        if is_name and found[i - 1].text == "(" and found[i + 1].text in (":", ")", "{"):
            yield i
