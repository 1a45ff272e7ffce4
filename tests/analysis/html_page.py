"""A parser for HTML pages."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from io import StringIO
from urllib.parse import unquote

import pandas as pd


class Page(HTMLParser):
    """The tags of a page with their attributes, its scripts, styles, figures and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.figures: list[dict] = []
        self.scripts: list[str] = []
        self.styles = self.text = ""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if self._open and self._open[-1][0] == tag:
            self._open.pop()

    def handle_data(self, data):
        match self._open[-1] if self._open else None:
            case ("style", _):
                self.styles += data
            case ("script", {"type": "application/json"}):
                self.figures.append(json.loads(data))
            case ("script", _):
                self.scripts.append(data)
            case _:
                self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    @property
    def files(self) -> dict[str, str]:
        """The URLs of downloads, by name."""
        return {str(a["download"]): str(a["href"]) for tag, a in self.tags if tag == "a" and "download" in a}

    def csv(self, name: str) -> pd.DataFrame:
        """Return the rows of a downloaded table."""
        head, _, data = self.files[f"{name}.csv"].partition(",")
        assert head == "data:text/csv;charset=utf-8"
        return pd.read_csv(StringIO(unquote(data)))

    def chart(self, id: str) -> dict:
        fed = [a["data-for"] for tag, a in self.tags if tag == "script" and "data-for" in a]
        return self.figures[fed.index(id)]
