r"""Is a Cypher text harmless? One answer for both engines, by what is allowed, never by what is forbidden.

The text is cut into tokens and every word must have a known role: an allowed keyword, an allowed
function before `(`, a property after `.`, a label or type after `:` or `|`, a map key, or a variable
where a value is due. Two values in a row never are Cypher, so a clause that this module does not
know cannot follow anything, and a text cannot begin with one. Nothing here parses: a text that passes
may still be refused by the engine, but none of its readings writes, reaches a file or the network.
What no timeout would end is refused as well: `effort.py`.

Behind this wall stands a second one, which differs. Neo4j runs every query in READ access mode, in which all
that changes data or schema fails; LOAD CSV and procedures that only read are let through. LadybugDB runs it on a
handle that is open for reading only, or in a read-only transaction of the writer's: no data and no schema change;
but LOAD FROM and COPY … TO reach any file, INSTALL and LOAD EXTENSION the network, CALL sets the engine's own settings,
and a second statement in the same text escapes the transaction. Against these there is this wall alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NoReturn

from ...errors import cut, nearest
from .effort import check_effort
from .tokens import Token, Tokens, refuse, words

MAX_TOKENS = 1_500
MAX_DEPTH = 40
"""LadybugDB's parser recurses: 9,900 sums or 280 nested CASEs end the process with a stack overflow."""

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
"""Not even variables: the rule on two values in a row already stops these clauses; this is the second lock."""

FUNCTIONS = words(
    "count collect sum avg min max stdev stdevp percentilecont percentiledisc "
    "abs ceil ceiling floor round sign sqrt exp log10 ln pow sin cos tan pi "
    "coalesce nullif size length head last any all none single exists isempty "
    "tolower lower trim ltrim rtrim left right split "
    "tointeger tofloat tostring toboolean "
    "id elementid type label labels keys properties nodes relationships rels startnode endnode "
    "shortestpath allshortestpaths"
)
"""Of either engine, none with an effect, or an answer much larger than what it is given: `replace` of one letter by
many, again and again, and `cast` to an array of 2,000,000,000 numbers took all memory there was. Nor any that means
different things on the two: `log` is to the base 10 or e, `substring` counts from 1 or 0, `reverse` turns a list or its
text round, `toUpper` has capitals of its own."""

_OF_ENTITIES = words("id elementid type label labels keys properties nodes relationships rels startnode endnode")
"""Functions of nodes, relationships and paths: LadybugDB crashes when one is given null itself."""

_OPEN, _CLOSE = "([{", ")]}"
_PAIR = dict(zip(_OPEN, _CLOSE, strict=True))


@lru_cache(maxsize=64)  # of texts that passed
def check_read_only(tokens: Tokens) -> None:
    """Return if a Cypher text can only read the graph, on LadybugDB and on Neo4j.

    Raises:
        QueryRefused: it could do more, or is not surely harmless; names the word and its place.
    """
    _Check(tokens).run()


class _Check:
    """One pass over the tokens.

    `complete`: a value has just ended. `map_colon`: the last colon followed a map key, so that a value
    comes after it and no label.
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
            refuse(self.tokens.text, 0, f"the query is empty; it begins with one of {', '.join(sorted(_FIRST))}")
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
        """`name` in `{name: …, name: …}`."""
        inside = bool(self.brackets) and self.brackets[-1] == "{"
        return inside and self.tokens.at(i - 1).text in ("{", ",") and self.tokens.at(i + 1).text == ":"

    def is_name(self, i: int) -> bool:
        """Property, label, type or map key: any word may stand there, keywords too."""
        before = self.tokens.at(i - 1)
        if before.text == ":":
            return not self.map_colon
        keyword_type = before.text == "|" and self.tokens.at(i).upper not in _NEVER_BARE | {"CASE", "NOT", "WHERE"}
        return before.text == "." or keyword_type or self.is_map_key(i)

    def symbol(self, i: int, token: Token) -> None:
        match token.text:
            case ";":
                if i + 1 < len(self.tokens):
                    self.tokens.refuse(token, "one statement a query; nothing may follow the ;")
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
            self.tokens.refuse(token, "a dot stands between a variable and a property")

    def word(self, i: int, token: Token) -> None:
        """A bare word in the place of a keyword, a function or a variable."""
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
        """A literal, parameter, variable, name or function: never right after another value."""
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
            self.tokens.refuse(self.tokens.at(start), f"{cut(name)}( is no allowed function; {hint}")
        given = self.tokens.at(i + 2)
        if name.lower() in _OF_ENTITIES and (given.kind not in ("word", "quoted") or given.upper in _VALUES):
            self.tokens.refuse(given, f"{name}( takes a node, relationship or path by its name")

    def not_allowed(self, token: Token) -> NoReturn:
        named = token.upper in _NEVER_BARE and token is not self.tokens[0]
        hint = " (as a name, write it in backticks)" if named else ""
        self.tokens.refuse(
            token,
            f"{cut(token.text)} is not allowed here{hint}; a query only reads, with the clauses {', '.join(CLAUSES)} "
            "and the subqueries EXISTS { … } and COUNT { … }",
        )
