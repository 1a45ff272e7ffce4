r"""Is a Cypher text harmless? One answer for both engines, by what is allowed, never by what is forbidden.

The text is cut into tokens and every word must have a known role: an allowed keyword, an allowed
function before `(`, a property after `.`, a label or type after `:` or `|`, a map key, or a variable
where a value is due. Two values in a row never are Cypher, so a clause that this module does not
know cannot follow anything, and a text cannot begin with one. Nothing here parses: a text that passes
may still be refused by the engine, but none of its readings writes, reaches a file or the network.

Where LadybugDB and Neo4j cut tokens differently (doubled quotes, `**` in comments, other spaces,
unicode escapes, letters that fold to ASCII) the text is refused, so that both read what is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from ...errors import QueryRefused, nearest

MAX_LENGTH = 20_000
MAX_TOKENS = 1_500
MAX_DEPTH = 40
"""LadybugDB's parser recurses: 9,900 sums or 280 nested CASEs end the process with a stack overflow."""

CLAUSES = ("MATCH", "OPTIONAL MATCH", "WHERE", "WITH", "UNWIND", "RETURN", "ORDER BY", "SKIP", "LIMIT", "UNION")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FIRST = _words("MATCH OPTIONAL WITH UNWIND RETURN")
_CONNECTING = _FIRST | _words(
    "WHERE ORDER BY SKIP LIMIT UNION ALL AS DISTINCT AND OR XOR NOT IN STARTS ENDS CONTAINS IS "
    "CASE WHEN THEN ELSE SHORTEST TRAIL ACYCLIC"
)
_VALUES = _words("NULL TRUE FALSE END ASC ASCENDING DESC DESCENDING")
"""Keywords after which a value is complete."""

_BRACED = _words("EXISTS COUNT")
"""Keywords before `{`, functions before `(`."""

_NEVER_BARE = _words(
    "CREATE MERGE SET DELETE DETACH NODETACH REMOVE INSERT FOREACH CALL LOAD COPY EXPORT IMPORT ATTACH INSTALL "
    "UNINSTALL DROP ALTER GRANT DENY REVOKE TERMINATE SHOW USE CYPHER EXPLAIN PROFILE"
)
"""Not even variables: the rule on two values in a row already stops these clauses; this is the second lock."""

FUNCTIONS = _words(
    "count collect sum avg min max stdev stdevp percentilecont percentiledisc "
    "abs ceil ceiling floor round sign sqrt exp log log10 ln pow sin cos tan pi "
    "coalesce nullif size length head last reverse any all none single exists isempty "
    "tolower toupper lower upper trim ltrim rtrim left right substring replace split "
    "tointeger tofloat tostring toboolean cast "
    "id elementid type label labels keys properties nodes relationships rels startnode endnode "
    "shortestpath allshortestpaths"
)
"""Of either engine, none with an effect or an answer larger than what it is given."""

_TOKEN = re.compile(
    r"""
      (?P<space>   [ \t\r\n]+ | //[^\r\n]* | /\*.*?\*/ )
    | (?P<string>  '(?:[^'\\] | \\[\\'"bfnrt])*' | "(?:[^"\\] | \\[\\'"bfnrt])*" )
    | (?P<quoted>  `[^`\\]+` )
    | (?P<param>   \$(?:[A-Za-z_]\w* | \d+ | `[^`\\]+`) )
    | (?P<range>   \.\. )
    | (?P<number>  (?:\d+(?:\.\d+)? | \.\d+) (?:[eE][+-]?\d+)? )
    | (?P<word>    [A-Za-z_]\w* )
    | (?P<symbol>  <> | <= | >= | =~ | [()\[\]{},.:;|+\-*/%^=<>!&] )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_OPEN, _CLOSE = "([{", ")]}"
_PAIR = dict(zip(_OPEN, _CLOSE, strict=True))
_VALUE_KINDS = {"string", "quoted", "param", "number", "word"}


@dataclass(frozen=True)
class Token:
    """`kind` is the name of the group of the tokeniser's expression; `start` the offset in the text."""

    kind: str
    text: str
    start: int

    @property
    def upper(self) -> str:
        """The keyword that a bare word may be; '' for all else."""
        return self.text.upper() if self.kind == "word" else ""


_NOTHING = Token("end", "", -1)


def check_read_only(text: str) -> None:
    """Return if a Cypher text can only read the graph, on LadybugDB and on Neo4j.

    Raises:
        QueryRefused: it could do more, or is not surely harmless; names the word and its place.
    """
    _Check(text).run()


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a Cypher text, without spaces and comments.

    Raises:
        QueryRefused: a character outside strings, backticks and comments that begins no token.
    """
    _check_characters(text)
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            refuse(text, at, _unreadable(text[at]))
        kind, found = str(match.lastgroup), match.group()
        if found == "/" and text.startswith("/*", at):
            refuse(text, at, "a comment without end")
        if kind != "space":
            yield Token(kind, found, at)
        elif text.startswith("/*", at) and "**" in found[2:-2] + found[-2:-1]:
            refuse(text, at, "a comment with ** ends in different places for different engines; leave the stars out")
        at = match.end()


def refuse(text: str, at: int, what: str) -> NoReturn:
    """Raise `QueryRefused` with the place in words: line and column, from 1."""
    line = text.count("\n", 0, at) + 1
    column = at - text.rfind("\n", 0, at)
    raise QueryRefused(f"line {line}, column {column}: {what}")


def _check_characters(text: str) -> None:
    """What would change the reading of the text inside strings and comments too."""
    if len(text) > MAX_LENGTH:
        refuse(text, MAX_LENGTH, f"the text has {len(text)} characters, at most {MAX_LENGTH} are read")
    if found := re.search(r"\\u", text, re.IGNORECASE):
        refuse(text, found.start(), r"unicode escapes (\u…) are not allowed; write the character itself")
    if found := re.search(r"to_json\s*\(", text, re.IGNORECASE):  # LadybugDB's client pastes the parameter in there,
        refuse(text, found.start(), "to_json(…) is not allowed, in strings and comments neither")  # quotes and all
    if found := re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", text.replace("\r\n", " \n")):
        refuse(text.replace("\r\n", " \n"), found.start(), f"control character {found.group()!r} is not allowed")


def _unreadable(char: str) -> str:
    match char:
        case "'" | '"':
            return r"""a string without end, or with an escape other than \\ \' \" \b \f \n \r \t"""
        case "`":
            return "a name in backticks that is empty, without end, or holds a backslash"
        case "$":
            return "$ must be followed by the name of a parameter"
        case _ if char.isascii():
            return f"character {char!r} is no part of a query"
        case _:
            return f"character {char!r} may stand in strings, backticks and comments only"


class _Check:
    """One pass over the tokens.

    `complete`: a value has just ended. `map_colon`: the last colon followed a map key, so that a value
    comes after it and no label.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(tokens(text))
        self.brackets: list[str] = []
        self.complete = False
        self.map_colon = False

    def run(self) -> None:
        if len(self.tokens) > MAX_TOKENS:
            too_many = f"more than {MAX_TOKENS} words and signs; pass long lists as parameters"
            refuse(self.text, self.tokens[MAX_TOKENS].start, too_many)
        if not self.tokens:
            refuse(self.text, 0, f"the query is empty; it begins with one of {', '.join(sorted(_FIRST))}")
        if self.tokens[0].upper not in _FIRST:
            self.not_allowed(self.tokens[0])
        for i, token in enumerate(self.tokens):
            if token.kind in ("symbol", "range"):
                self.symbol(i, token)
            elif token.kind == "word" and not self.is_name(i):
                self.word(i, token)
            else:
                self.value(i, token)

    def at(self, i: int) -> Token:
        return self.tokens[i] if 0 <= i < len(self.tokens) else _NOTHING

    def is_map_key(self, i: int) -> bool:
        """`name` in `{name: …, name: …}`."""
        inside = bool(self.brackets) and self.brackets[-1] == "{"
        return inside and self.at(i - 1).text in ("{", ",") and self.at(i + 1).text == ":"

    def is_name(self, i: int) -> bool:
        """Property, label, type or map key: any word may stand there, keywords too."""
        before = self.at(i - 1)
        if before.text == ":":
            return not self.map_colon
        keyword_type = before.text == "|" and self.at(i).upper not in _NEVER_BARE | {"CASE", "NOT", "WHERE"}
        return before.text == "." or keyword_type or self.is_map_key(i)

    def symbol(self, i: int, token: Token) -> None:
        match token.text:
            case ";":
                if i + 1 < len(self.tokens):
                    refuse(self.text, token.start, "one statement a query; nothing may follow the ;")
            case ".":
                self.dot(i, token)
            case ":":
                self.map_colon = self.is_map_key(i - 1)
            case bracket if bracket in _OPEN:
                self.open(token, bracket)
            case bracket if bracket in _CLOSE:
                if not self.brackets or _PAIR.get(self.brackets.pop()) != bracket:
                    refuse(self.text, token.start, f"{bracket} closes nothing")
        self.complete = token.text in _CLOSE

    def open(self, token: Token, what: str) -> None:
        self.brackets.append(what)
        if len(self.brackets) > MAX_DEPTH:
            refuse(self.text, token.start, f"brackets and CASEs are nested more than {MAX_DEPTH} deep")

    def dot(self, i: int, token: Token) -> None:
        before, after = self.at(i - 1), self.at(i + 1)
        owner = before.kind in ("word", "quoted", "param") or before.text in _CLOSE
        if not owner or after.kind not in ("word", "quoted"):
            refuse(self.text, token.start, "a dot stands between a variable and a property")

    def word(self, i: int, token: Token) -> None:
        """A bare word in the place of a keyword, a function or a variable."""
        name, after = token.upper, self.at(i + 1).text
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
        if token.kind in ("word", "quoted") and self.at(i + 1).text == "(":
            self.function(i, token)
        self.complete = True

    def function(self, i: int, token: Token) -> None:
        name = token.text.strip("`")
        start = i
        while self.at(start - 1).text == ".":
            start -= 2
            name = f"{self.at(start).text.strip('`')}.{name}"
        if name.lower() not in FUNCTIONS:
            close = nearest(name, FUNCTIONS)
            hint = f"did you mean {' or '.join(close)}?" if close else f"allowed are {', '.join(sorted(FUNCTIONS))}"
            refuse(self.text, self.at(start).start, f"{name}( is no allowed function; {hint}")

    def not_allowed(self, token: Token) -> NoReturn:
        named = token.upper in _NEVER_BARE and token is not self.tokens[0]
        hint = " (as a name, write it in backticks)" if named else ""
        refuse(
            self.text,
            token.start,
            f"{token.text} is not allowed here{hint}; a query only reads, with the clauses {', '.join(CLAUSES)} "
            "and the subqueries EXISTS { … } and COUNT { … }",
        )
