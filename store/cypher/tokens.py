r"""A tokenizer for Cypher text that agrees with LadybugDB and Neo4j.

If the two engines would tokenize a text differently (doubled quotes, `**` in comments, other spaces, unicode escapes,
letters that fold to ASCII), it raises an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
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
    """Return the words of a text."""
    return frozenset(text.split())


@dataclass(frozen=True)
class Token:
    """A token: `kind` is the name of its group in `_TOKEN`, `start` its offset in the text."""

    kind: str
    text: str
    start: int

    @property
    def upper(self) -> str:
        """The bare word in upper case, which may be a keyword; '' for other tokens."""
        return self.text.upper() if self.kind == "word" else ""


END = Token("end", "", -1)
"""The token before the first and after the last one."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of a Cypher text or a part of it, without spaces and comments.

    Attributes:
        text: the whole text.
        all: the tokens.
    """

    text: str
    all: tuple[Token, ...]

    def __len__(self) -> int:
        return len(self.all)

    def __iter__(self) -> Iterator[Token]:
        return iter(self.all)

    def __getitem__(self, i: int) -> Token:
        return self.all[i]

    def at(self, i: int) -> Token:
        """Return a token; `END` before the first and after the last."""
        return self.all[i] if 0 <= i < len(self.all) else END

    def split(self, keyword: str) -> Iterator[Tokens]:
        """Yield the parts between the occurrences of a keyword."""
        start = 0
        for i, token in enumerate(self.all):
            if token.upper == keyword:
                yield Tokens(self.text, self.all[start:i])
                start = i + 1
        yield Tokens(self.text, self.all[start:])

    @property
    def params(self) -> tuple[str, ...]:
        """Names of the parameters, each as often as it occurs."""
        return tuple(t.text[1:].strip("`") for t in self.all if t.kind == "param")

    def place(self, token: Token) -> str:
        """Return line and column of a token, for messages."""
        return place(self.text, token.start)

    def refuse(self, token: Token, what: str) -> NoReturn:
        """Raise `QueryRefused` with the place of a token."""
        refuse(self.text, token.start, what)


@lru_cache(maxsize=64)
def tokenize(text: str) -> Tokens:
    """Return the tokens of a Cypher text.

    Raises:
        QueryRefused: a character outside strings, backticks and comments begins no token.
    """
    _check_characters(text)
    return Tokens(text, tuple(_found(text)))


def _found(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            refuse(text, at, _unreadable(text[at]))
        kind, found = str(match.lastgroup), match.group()
        if found == "/" and text.startswith("/*", at):
            refuse(text, at, "unterminated comment")
        if kind != "space":
            yield Token(kind, found, at)
        elif text.startswith("/*", at) and "**" in found[2:-2] + found[-2:-1]:
            refuse(text, at, "a comment with ** ends in different places for different engines; leave the stars out")
        at = match.end()


def refuse(text: str, at: int, what: str) -> NoReturn:
    """Raise `QueryRefused` with line and column."""
    raise QueryRefused(f"{place(text, at)}: {what}")


def place(text: str, at: int) -> str:
    """Return line and column of an offset, from 1, for messages."""
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"


def _check_characters(text: str) -> None:
    """Reject characters that change the reading of the text even within strings and comments."""
    if len(text) > MAX_LENGTH:
        refuse(text, MAX_LENGTH, f"the text has {len(text)} characters, at most {MAX_LENGTH} are allowed")
    if found := re.search(r"\\u", text, re.IGNORECASE):
        refuse(text, found.start(), r"unicode escapes (\u…) are not allowed; write the character itself")
    if found := re.search(r"to_json\s*\(", text, re.IGNORECASE):  # LadybugDB's client inserts parameters there
        refuse(text, found.start(), "to_json(…) is not allowed, not even in strings and comments")
    if found := re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", text.replace("\r\n", " \n")):
        refuse(text.replace("\r\n", " \n"), found.start(), f"control character {found.group()!r} is not allowed")


def _unreadable(char: str) -> str:
    match char:
        case "'" | '"':
            return r"""unterminated string, or an escape other than \\ \' \" \b \f \n \r \t"""
        case "`":
            return "a name in backticks that is empty or unterminated or has a backslash"
        case "$":
            return "$ must be followed by the name of a parameter"
        case _ if char.isascii():
            return f"character {char!r} is not allowed in a query"
        case _:
            return f"character {char!r} is only allowed in strings, backticks and comments"
