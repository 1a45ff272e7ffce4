"""A cursor over the tokens of a query."""

from __future__ import annotations

from textwrap import shorten
from typing import NoReturn

from ...errors import QueryFailed
from .tokens import Token, Tokens


class NotRead(Exception):
    """The text has a form that is not known here; it is left to the engine."""


class Cursor:
    """A position in the tokens of a text."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.i = 0

    @property
    def token(self) -> Token:
        return self.tokens.at(self.i)

    def at(self, i: int) -> str:
        return self.tokens.at(i).text

    def accept(self, *texts: str) -> str:
        """Read the current symbol or keyword and return it if it is one of these; otherwise return ''."""
        found = self.token.upper or self.token.text
        if self.token.kind in ("symbol", "word", "range") and found in texts:
            self.i += 1
            return found
        return ""

    def expect(self, *texts: str) -> str:
        found = self.accept(*texts)
        if not found:
            raise NotRead
        return found

    def name(self) -> str:
        if self.token.kind not in ("word", "quoted"):
            raise NotRead
        self.i += 1
        return self.at(self.i - 1).strip("`")

    def source(self, first: int, end: int | None = None) -> str:
        """Return the text of the tokens from `first` up to `end`, by default up to the current one."""
        last = self.tokens[(self.i if end is None else end) - 1]
        return self.tokens.text[self.tokens[first].start : last.start + len(last.text)]

    def refuse(self, at: int, what: str) -> NoReturn:
        where = self.tokens.place(self.tokens[min(at, len(self.tokens) - 1)])
        raise QueryFailed(f"{where}: {what}; circuitstore docs queries describes the dialect")

    def shown(self, first: int, end: int | None = None) -> str:
        """Return `source`, shortened for a message."""
        return shorten(self.source(first, end), 60)

    def labels(self) -> frozenset[str]:
        """Read `:A|B`; raise NotRead for `!`, `%` or brackets, which mean many labels."""
        found: set[str] = set()
        many = False
        while self.token.text in (":", "|", "&"):
            self.i += 1
            while self.token.text in ("!", "%", "(", ":"):
                many = True
                self.i += 1
            if self.token.kind in ("word", "quoted"):
                found.add(self.name())
            if many:
                raise NotRead
        return frozenset(found)
