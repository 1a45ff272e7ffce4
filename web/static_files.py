"""The explorer's own files, served under a hash of their content, and the page that loads them."""

from __future__ import annotations

import hashlib
from functools import cached_property
from html import escape
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
"""Types of the files by suffix; no other file is served."""
FOREVER = "public, max-age=31536000, immutable"
"""A file under the hash of its content never changes."""


class StaticFiles:
    """The files in `web/static`, read once.

    Attributes:
        files: content by path.
    """

    def __init__(self) -> None:
        root = resources.files("circuitstore").joinpath("web", "static")
        self.files = dict(sorted(_read(root, PurePosixPath())))

    @cached_property
    def base(self) -> str:
        """The path under which the files are served: modules import each other relative to it."""
        content = hashlib.sha256()
        for path, data in self.files.items():
            content.update(f"{path}\0{len(data)}\0".encode() + data)
        return f"/static/{content.hexdigest()[:16]}"

    def page(self, name: str) -> str:
        """Return the HTML of a page, which loads `pages/NAME.js`; everything else is made by that module."""
        base = escape(self.base)
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n<title>circuitstore</title>\n'
            f'<link rel="icon" href="{base}/icon.svg">\n<link rel="stylesheet" href="{base}/explorer.css">\n'
            f'<script type="module" src="{base}/pages/{escape(name)}.js"></script>\n</head>\n'
            "<body><noscript>The explorer needs JavaScript.</noscript></body>\n</html>\n"
        )


def _read(folder: Traversable, below: PurePosixPath) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        path = below / entry.name
        if entry.is_dir():
            found += _read(entry, path)
        elif path.suffix in TYPES:
            found.append((str(path), entry.read_bytes()))
    return found
