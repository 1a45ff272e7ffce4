# pyright: reportMissingImports=false
"""A hook of mkdocs: pages of the site that are no files of `docs/`.

README, CONTRIBUTING, CHANGELOG and SECURITY come from the root of the repository, the pages of the API from the public
names of the package. Links to files that the site does not have (code, tests) become plain text.
"""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]

PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
}
"""Pages of the site by their files in the root."""

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def imported(file: Path) -> dict[str, str]:
    """Modules, relative to a file's folder, by the names that the file imports from them."""
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    found = (node for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module)
    return {alias.name: str(node.module) for node in found for alias in node.names}


def public_names() -> dict[str, dict[str, str]]:
    """By the room that they come from, the public names of the package with the places where they are defined."""
    rooms: dict[str, dict[str, str]] = {}
    for name, room in sorted(imported(ROOT / "__init__.py").items()):
        inside = imported(ROOT / room / "__init__.py") if (ROOT / room).is_dir() else {}
        module = f"{room}.{inside[name]}" if name in inside else room
        rooms.setdefault(room, {})[name] = f"circuitstore.{module}.{name}"
    return rooms


def api_pages() -> dict[str, str]:
    """Texts of the pages of the API, by path."""
    names = public_names()
    rows = [f"| [`{room}`]({room}.md) | {', '.join(f'`cs.{name}`' for name in names[room])} |" for room in names]
    head = "# API\n\nThe public names of `import circuitstore as cs`, by the room that they come from.\n"
    pages = {"api/index.md": "\n".join([head, "| room | names |", "|---|---|", *rows, ""])}
    for room, places in names.items():
        pages[f"api/{room}.md"] = "\n\n".join([f"# {room}", *(f"::: {place}" for place in places.values()), ""])
    return pages


def with_links(text: str, source: str, page: str, known: set[str]) -> str:
    """A page's text with links that lead to pages of the site, or nowhere.

    Args:
        source: its file, relative to the root.
        page: its path in the site.
        known: files of the site, by path in the repository.
    """
    moved = {file: site for site, file in PAGES.items()}
    folder = posixpath.dirname(page) or "."

    def link(match: re.Match[str]) -> str:
        picture, label, target, anchor = match[1], match[2], match[3], match[4] or ""
        if "://" in target or not target:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        site = moved.get(path) or (path.removeprefix("docs/") if path in known else None)
        if site is None:
            return label
        return f"{picture}[{label}]({posixpath.relpath(site, folder)}{anchor})"

    return LINK.sub(link, text)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that `docs/` does not have."""
    texts = {page: (ROOT / file).read_text(encoding="utf-8") for page, file in PAGES.items()}
    for path, text in {**texts, **api_pages()}.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Rewrite the links of a page."""
    path = page.file.src_uri
    source = PAGES.get(path, f"docs/{path}")
    return with_links(markdown, source, path, {f"docs/{f.src_uri}" for f in files if f.inclusion.is_included()})
