r"""A Cypher text cut into tokens, as LadybugDB and Neo4j both cut it.

Where the two cut differently (doubled quotes, `**` in comments, other spaces, unicode escapes, letters that fold to
ASCII) the text is refused, so that both read what is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from ...errors import QueryRefused

MAX_LENGTH = 20_000

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


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


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
    """Raise `QueryRefused` with the place in words."""
    raise QueryRefused(f"{place(text, at)}: {what}")


def place(text: str, at: int) -> str:
    """An offset in words: line and column, from 1."""
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"


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
