r"""A check, the same for both engines, that a Cypher text can only read the graph. It has a list of allowed words.

The text is split into tokens, and every word must have a known role: an allowed keyword, an allowed function before
`(`, a property after `.`, a label or type after `:` or `|`, a map key, or a variable where a value is expected. Two
values in a row are never valid Cypher, so an unknown clause cannot follow anything, and a text cannot begin with one.
The text is not parsed: the engine may still reject a text that passes, but no reading of it writes or reaches a file or
the network. Text that no timeout could stop is also rejected: `effort.py`.

The engines add a second check. Neo4j runs every query in READ access mode, in which all changes of data and schema
fail, but LOAD CSV and read-only procedures do not. LadybugDB runs it on a read-only handle or in a read-only
transaction of the writer, without changes of data or schema; but LOAD FROM and COPY … TO reach any file, INSTALL and
LOAD EXTENSION the network, CALL changes settings of the engine, and a second statement in the same text escapes the
transaction. Only this module prevents these.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NoReturn

from ...errors import cut, nearest
from .effort import check_effort
from .tokens import Token, Tokens, refuse, words

MAX_TOKENS = 1_500
MAX_DEPTH = 40
"""LadybugDB's parser is recursive: 9,900 sums or 280 nested CASEs end the process with a stack overflow."""

CLAUSES = ("MATCH", "OPTIONAL MATCH", "WHERE", "WITH", "UNWIND", "RETURN", "ORDER BY", "SKIP", "LIMIT", "UNION")


_FIRST = words("MATCH OPTIONAL WITH UNWIND RETURN")
_CONNECTING = _FIRST | words(
    "WHERE ORDER BY SKIP LIMIT UNION ALL AS DISTINCT AND OR XOR NOT IN STARTS ENDS CONTAINS IS "
    "CASE WHEN THEN ELSE SHORTEST TRAIL ACYCLIC"
)
_VALUES = words("NULL TRUE FALSE END ASC ASCENDING DESC DESCENDING")
"""Keywords after which a value is complete."""

_BRACED = words("EXISTS COUNT")
"""Keywords before `{`, functions before `(`."""

_NEVER_BARE = words(
    "CREATE MERGE SET DELETE DETACH NODETACH REMOVE INSERT FOREACH CALL LOAD COPY EXPORT IMPORT ATTACH INSTALL "
    "UNINSTALL DROP ALTER GRANT DENY REVOKE TERMINATE SHOW USE CYPHER EXPLAIN PROFILE"
)
"""Not allowed even as variables. The rule about two values in a row already excludes these clauses."""

FUNCTIONS = words(
    "count collect sum avg min max stdev stdevp percentilecont percentiledisc "
    "abs ceil ceiling floor round sign sqrt exp log10 ln pow sin cos tan pi "
    "coalesce nullif size length head last any all none single exists isempty "
    "tolower lower trim ltrim rtrim left right split "
    "tointeger tofloat tostring toboolean "
    "id elementid type label labels keys properties nodes relationships rels startnode endnode "
    "shortestpath allshortestpaths"
)
"""Functions of either engine without side effects. Excluded are functions whose result is much larger than their
arguments (repeated `replace` of one letter by many, or `cast` to an array of 2,000,000,000 numbers, used up all
memory), and those that differ between the engines: `log` has base 10 or e, `substring` counts from 1 or 0, `reverse`
reverses a list or its text, `toUpper` has other capitals."""

_OF_ENTITIES = words("id elementid type label labels keys properties nodes relationships rels startnode endnode")
"""Functions of nodes, relationships and paths: LadybugDB crashes if the argument is a literal null."""

_OPEN, _CLOSE = "([{", ")]}"
_PAIR = dict(zip(_OPEN, _CLOSE, strict=True))


@lru_cache(maxsize=64)
def check_read_only(tokens: Tokens) -> None:
    """Check that a Cypher text can only read the graph, on LadybugDB and on Neo4j.

    Raises:
        QueryRefused: it may do more; the message gives the word and its place.
    """
    _Check(tokens).run()


class _Check:
    """One pass over the tokens.

    `complete`: a value has just ended. `map_colon`: the last colon followed a map key, so a value follows, not a label.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.brackets: list[str] = []
        self.complete = False
        self.map_colon = False

    def run(self) -> None:
        if len(self.tokens) > MAX_TOKENS:
            too_many = f"more than {MAX_TOKENS} words and signs; pass long lists as parameters"
            self.tokens.refuse(self.tokens[MAX_TOKENS], too_many)
        if not self.tokens:
            refuse(self.tokens.text, 0, f"the query is empty; it must begin with one of {', '.join(sorted(_FIRST))}")
        if self.tokens[0].upper not in _FIRST:
            self.not_allowed(self.tokens[0])
        for i, token in enumerate(self.tokens):
            if token.kind in ("symbol", "range"):
                self.symbol(i, token)
            elif token.kind == "word" and not self.is_name(i):
                self.word(i, token)
            else:
                self.value(i, token)
        check_effort(self.tokens)

    def is_map_key(self, i: int) -> bool:
        """Return whether a token is a `name` in `{name: …, name: …}`."""
        inside = bool(self.brackets) and self.brackets[-1] == "{"
        return inside and self.tokens.at(i - 1).text in ("{", ",") and self.tokens.at(i + 1).text == ":"

    def is_name(self, i: int) -> bool:
        """Return whether a token is a property, label, type or map key, which may be any word, even a keyword."""
        before = self.tokens.at(i - 1)
        if before.text == ":":
            return not self.map_colon
        keyword_type = before.text == "|" and self.tokens.at(i).upper not in _NEVER_BARE | {"CASE", "NOT", "WHERE"}
        return before.text == "." or keyword_type or self.is_map_key(i)

    def symbol(self, i: int, token: Token) -> None:
        match token.text:
            case ";":
                if i + 1 < len(self.tokens):
                    self.tokens.refuse(token, "a query is one statement; nothing may follow the ;")
            case ".":
                self.dot(i, token)
            case ":":
                self.map_colon = self.is_map_key(i - 1)
            case bracket if bracket in _OPEN:
                self.open(token, bracket)
            case bracket if bracket in _CLOSE:
                if not self.brackets or _PAIR.get(self.brackets.pop()) != bracket:
                    self.tokens.refuse(token, f"{bracket} closes nothing")
            case "!" if self.complete:
                self.tokens.refuse(token, "! after a value is a factorial on LadybugDB, which may never end")
        self.complete = token.text in _CLOSE

    def open(self, token: Token, what: str) -> None:
        self.brackets.append(what)
        if len(self.brackets) > MAX_DEPTH:
            self.tokens.refuse(token, f"brackets and CASEs are nested more than {MAX_DEPTH} deep")

    def dot(self, i: int, token: Token) -> None:
        before, after = self.tokens.at(i - 1), self.tokens.at(i + 1)
        owner = before.kind in ("word", "quoted", "param") or before.text in _CLOSE
        if not owner or after.kind not in ("word", "quoted"):
            self.tokens.refuse(token, "a dot must be between a variable and a property")

    def word(self, i: int, token: Token) -> None:
        """Check a bare word in the place of a keyword, a function or a variable."""
        name, after = token.upper, self.tokens.at(i + 1).text
        if name == "CASE":
            self.open(token, name)
        elif name == "END" and self.brackets[-1:] == ["CASE"]:
            self.brackets.pop()
        function_all = name == "ALL" and after == "("
        if (name in _BRACED and after == "{") or (name in _CONNECTING and not function_all):
            self.complete = False
        elif name in _VALUES:
            self.complete = True
        elif name in _NEVER_BARE:
            self.not_allowed(token)
        else:
            self.value(i, token)

    def value(self, i: int, token: Token) -> None:
        """Check a literal, parameter, variable, name or function, which must not follow another value."""
        if self.complete:
            self.not_allowed(token)
        if token.kind in ("word", "quoted") and self.tokens.at(i + 1).text == "(":
            self.function(i, token)
        self.complete = True

    def function(self, i: int, token: Token) -> None:
        name = token.text.strip("`")
        start = i
        while self.tokens.at(start - 1).text == ".":
            start -= 2
            name = f"{self.tokens.at(start).text.strip('`')}.{name}"
        if name.lower() not in FUNCTIONS:
            close = nearest(name, FUNCTIONS)
            hint = f"did you mean {' or '.join(close)}?" if close else f"allowed are {', '.join(sorted(FUNCTIONS))}"
            self.tokens.refuse(self.tokens.at(start), f"{cut(name)}( is not an allowed function; {hint}")
        argument = self.tokens.at(i + 2)
        if name.lower() in _OF_ENTITIES and (argument.kind not in ("word", "quoted") or argument.upper in _VALUES):
            self.tokens.refuse(argument, f"{name}( takes a node, relationship or path by its name")

    def not_allowed(self, token: Token) -> NoReturn:
        named = token.upper in _NEVER_BARE and token is not self.tokens[0]
        hint = " (as a name, write it in backticks)" if named else ""
        self.tokens.refuse(
            token,
            f"{cut(token.text)} is not allowed here{hint}; a query only reads, with the clauses {', '.join(CLAUSES)} "
            "and the subqueries EXISTS { … } and COUNT { … }",
        )
