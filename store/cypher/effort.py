"""Limits on Cypher text that no timeout could stop.

Both engines check the time between rows, but not while they parse a text, plan it or evaluate one expression. Without
these limits a query can run for minutes after its timeout, or use up all memory:

- LadybugDB's parser doubles its work with each nested CASE, Neo4j's planner with each nested subquery;
- LadybugDB's planner doubles its work with each relationship that it may join in another order;
- Neo4j converts conditions to a normal form that grows exponentially with XOR, and its regular expressions backtrack;
- `WITH a + a AS a`, `WITH [a, a] AS a` double a value at each step; `[x IN a | a]` squares it, and `any(x IN a WHERE
  any(y IN a WHERE …))` the time.

The cost of the remaining queries is at most polynomial in the text and in the values of parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .tokens import END, Token, Tokens, words

MAX_CASES = 8
"""Nested CASEs."""

MAX_SUBQUERIES = 3
"""Nested EXISTS and COUNT."""

MAX_RELATIONSHIPS = 8
"""Relationships in MATCH clauses that no WITH or UNION separates."""

MAX_XORS = 5
MAX_NOTS = 5
"""Consecutive NOTs."""

MAX_LABELS = 20
"""Labels or types of one node or relationship."""

MAX_PROPERTIES = 4
"""Properties of properties: `a.b.c.d.e`."""

MAX_GROWTH = 100
"""Maximum size of a value relative to the values from which it is built."""

_CLAUSES = words("MATCH OPTIONAL WHERE WITH UNWIND RETURN ORDER UNION")
_KEYWORDS = _CLAUSES | words(
    "BY SKIP LIMIT ALL AS DISTINCT AND OR XOR NOT IN STARTS ENDS CONTAINS IS CASE WHEN THEN ELSE END NULL TRUE FALSE "
    "ASC ASCENDING DESC DESCENDING"
)
_APART = words("AND OR XOR NOT IN STARTS ENDS CONTAINS IS AS")
_COMPARISONS = frozenset({"=", "<", ">", "<=", ">=", "<>", "=~", ","})
_QUANTIFIERS = words("ANY ALL NONE SINGLE")
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")


def check_effort(tokens: Tokens) -> None:
    """Check that a text with matching brackets keeps the limits.

    Raises:
        QueryRefused: it does not; the message gives the place and what to write instead.
    """
    opened = list(_openers(tokens))
    for rule in (_nested, _relationships, _repeated, _comprehensions, _growth):
        rule(tokens, opened)


def _openers(tokens: Tokens) -> Iterator[tuple[int, ...]]:
    """Yield for each token the indices of the brackets and CASEs around it, outermost first."""
    inside: list[int] = []
    for i, token in enumerate(tokens):
        case_ends = token.upper == "END" and bool(inside) and tokens[inside[-1]].upper == "CASE"
        if (token.text in _CLOSE or case_ends) and inside:
            inside.pop()
        yield tuple(inside)
        if token.text in _OPEN or (token.upper == "CASE" and not _is_name(tokens, i)):
            inside.append(i)


def _is_name(tokens: Tokens, i: int) -> bool:
    """Return whether a token is the name of a property, label, type or function."""
    return tokens.at(i - 1).text in (".", ":", "|") or tokens.at(i + 1).text in ("(", ":")


def _nested(tokens: Tokens, opened: Sequence[tuple[int, ...]]) -> None:
    for i, token in enumerate(tokens):
        around = [*opened[i], i]
        for name, maximum, is_one in (
            ("CASE", MAX_CASES, _is_case),
            ("EXISTS and COUNT", MAX_SUBQUERIES, _is_subquery),
            ("any, all, none and single", 1, _is_quantifier),
        ):
            if is_one(tokens, i) and sum(is_one(tokens, k) for k in around) > maximum:
                tokens.refuse(token, f"{name} may not be nested deeper than {maximum}; split the query with WITH")


def _is_case(tokens: Tokens, i: int) -> bool:
    return tokens[i].upper == "CASE" and not _is_name(tokens, i)


def _is_subquery(tokens: Tokens, i: int) -> bool:
    return tokens[i].text == "{" and tokens.at(i - 1).upper in ("EXISTS", "COUNT")


def _is_quantifier(tokens: Tokens, i: int) -> bool:
    return tokens[i].text == "(" and tokens.at(i - 1).text.strip("`").upper() in _QUANTIFIERS


def _relationships(tokens: Tokens, opened: Sequence[tuple[int, ...]]) -> None:
    """Limit the relationships, which begin with `-[` or `--`; WITH, UNION and subqueries restart the count."""
    counts: dict[int, int] = {}
    for i, token in enumerate(tokens):
        part = next((k for k in reversed(opened[i]) if tokens[k].text == "{"), -1)
        if (
            token.upper in ("WITH", "UNION")
            and not _is_name(tokens, i)
            and tokens.at(i - 1).upper
            not in (
                "STARTS",
                "ENDS",
            )
        ):
            counts[part] = 0
        if token.text == "-" and tokens.at(i + 1).text in ("[", "-"):
            counts[part] = counts.get(part, 0) + 1
            if counts[part] > MAX_RELATIONSHIPS:
                tokens.refuse(
                    token,
                    f"more than {MAX_RELATIONSHIPS} relationships are matched at once; separate them by WITH, "
                    "or follow paths with [:FEEDS*1..5]",
                )


def _repeated(tokens: Tokens, opened: Sequence[tuple[int, ...]]) -> None:
    xors = nots = labels = properties = 0
    for i, token in enumerate(tokens):
        before = tokens.at(i - 1)
        if token.text == "=~":
            tokens.refuse(token, "=~ is not allowed; write CONTAINS, STARTS WITH or ENDS WITH")
        xors += token.upper == "XOR"
        nots = nots + 1 if token.upper == "NOT" or token.text in ("!", "-", "+") else nots * (token.text == "(")
        if token.text in (":", "|", "&", "!"):
            labels = labels + 1
        elif token.kind not in ("word", "quoted") or before.text not in (":", "|", "&", "!"):
            labels = 0
        if token.text == ".":
            properties += 1
        elif before.text != ".":
            properties = 0
        for found, maximum, what in (
            (xors, MAX_XORS, "XORs"),
            (nots, MAX_NOTS, "NOTs or signs in a row"),
            (labels, MAX_LABELS, "labels or types at once"),
            (properties, MAX_PROPERTIES, "properties of properties"),
        ):
            if found > maximum:
                tokens.refuse(token, f"more than {maximum} {what}; shorten it, or split the query with WITH")


def _comprehensions(tokens: Tokens, opened: Sequence[tuple[int, ...]]) -> None:
    """Allow `|` only between types."""
    for i, token in enumerate(tokens):
        if token.text != "|":
            continue
        first = opened[i][-1] if opened[i] else i
        within = tokens.all[first + 1 : i]
        types = all(t.kind in ("word", "quoted", "param") or t.text in (":", "|", "&", "!") for t in within)
        is_list = any(t.upper == "IN" for t in within) or not types
        if first == i or (tokens[first].text == "[" and is_list):
            tokens.refuse(token, "list comprehensions […|…] are not allowed; write UNWIND list AS x … collect(x)")


def _growth(tokens: Tokens, opened: Sequence[tuple[int, ...]]) -> None:
    """Limit the growth of values: a value is at most n times as large as one that its expression uses n times."""
    maximum = growth = 1
    names = 0
    grows = matches = False
    for i, token in enumerate([*tokens, END]):
        inside = opened[i] if i < len(tokens) else ()
        ends = _ends_clause(tokens, i, inside)
        if ends or (len(inside) == 0 and (token.upper in _APART or token.text in _COMPARISONS)):
            maximum, names, grows = max(maximum, names if grows else 1), 0, False
        if ends:
            growth, maximum, matches = growth * maximum, 1, token.upper in ("MATCH", "OPTIONAL")
            if growth > MAX_GROWTH:
                at = tokens[-1] if token is END else token
                tokens.refuse(
                    at,
                    f"a value built by + and […] up to here could be more than {MAX_GROWTH} times as large as its "
                    "parts; use fewer names, or fewer WITH",
                )
            growth = 1 if token.upper == "UNION" else growth
        grows = grows or token.text == "+" or (token.text in ("[", "{") and not matches)
        names += token.kind == "param" or _is_variable(tokens, i, token)


def _is_variable(tokens: Tokens, i: int, token: Token) -> bool:
    """Return whether a token may be a variable; a label counts, since after `:` it may be a map's value."""
    is_value = token.kind in ("word", "quoted") and token.upper not in _KEYWORDS
    return is_value and tokens.at(i - 1).text != "." and tokens.at(i + 1).text not in ("(", ":")


def _ends_clause(tokens: Tokens, i: int, inside: tuple[int, ...]) -> bool:
    """Return whether a clause of the query or of a subquery begins here, or the text ends."""
    if i >= len(tokens):
        return True
    top = not inside or tokens[inside[-1]].text == "{"
    return (
        top
        and tokens[i].upper in _CLAUSES
        and not _is_name(tokens, i)
        and tokens.at(i - 1).upper
        not in (
            "STARTS",
            "ENDS",
        )
    )
