"""Draws the schema of the graph from its migrations: `python docs/draw_schema.py` writes `docs/images/schema.svg`.

What is in the boxes comes from the LadybugDB migrations, which declare every property; where a box stands and how a
relationship runs is said here. A table that the picture has no place for is an error, so nothing is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
MIGRATIONS = ROOT / "migrations" / "graph" / "ladybug"
PICTURE = ROOT / "docs" / "images" / "schema.svg"

LINE, HEAD, PAD = 17, 28, 9
WIDTH, HEIGHT = 980, 890

PLACES = {  # left, top, width, columns of properties, kind of box
    "Dataset": (20, 24, 148, 1, "shared"),
    "Class": (20, 110, 148, 1, "shared"),
    "Condition": (20, 238, 148, 1, "shared"),
    "Recipe": (20, 366, 148, 1, "shared"),
    "Circuit": (270, 92, 292, 2, "circuit"),
    "Model": (342, 500, 148, 1, "shared"),
    "Node": (664, 92, 132, 1, "node"),
    "Component": (664, 466, 132, 1, "shared"),
    "Store": (832, 366, 128, 1, "keeping"),
    "Migration": (832, 492, 128, 1, "keeping"),
    "FEEDS": (832, 92, 128, 1, "feeds"),
    "SIMILAR": (190, 496, 128, 1, "circuit"),
    "Note": (514, 670, 132, 1, "note"),
}
ROUTES = {  # paths, with ; between, and where its name stands
    "OF_DATASET": ("M 94 110 V 82", (102, 101), "start"),
    "OF_CLASS": ("M 270 160 H 172", (219, 153), "middle"),
    "UNDER": ("M 270 282 H 172", (219, 275), "middle"),
    "FOUND_BY": ("M 270 380 H 172", (219, 373), "middle"),
    "OF_MODEL": ("M 416 457 V 496", (424, 482), "start"),
    "HAS": ("M 562 170 H 660", (611, 163), "middle"),
    "INSTANCE_OF": ("M 730 265 V 462", (738, 340), "start"),
    "PART_OF": ("M 664 560 H 494", (596, 553), "middle"),
    "CONTAINS": ("M 698 92 C 690 40, 772 40, 764 88", (731, 42), "middle"),
    "FEEDS": ("M 796 126 H 832 M 832 206 H 800", None, ""),
    "ABOUT": ("M 540 670 V 461; M 646 750 H 730 V 609; M 514 750 H 8 V 160 H 16", (548, 660), "start"),
    "SIMILAR": ("M 304 457 V 496 M 282 496 V 461", None, ""),
}
STYLE = """
svg { --paper: #ffffff; --box: #f6f8fa; --line: #c5ccd6; --text: #1f2933; --quiet: #66727f; --number: #0b62a8;
      --circuit: #4338ca; --node: #0f766e; --feeds: #b45309; --shared: #475569; --note: #a21caf; --keeping: #8b95a1; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #0d1117; --box: #161b22; --line: #3a434e; --text: #e4e9ef; --quiet: #98a4b1; --number: #79b8f0;
        --circuit: #5b54d6; --node: #12857b; --feeds: #b86a1b; --shared: #55647a; --note: #a8369f; --keeping: #5d6874; }
}
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--text); }
.title { font-weight: 600; font-size: 13px; fill: #ffffff; }
.key { font-weight: 700; }
.number { fill: var(--number); }
.name { font-size: 11px; letter-spacing: .03em; fill: var(--quiet); }
.box { fill: var(--box); stroke: var(--line); }
.route { fill: none; stroke: var(--quiet); stroke-width: 1.4; marker-end: url(#tip); }
"""

TIP = """<defs><marker id="tip" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M 0 0 L 8 4 L 0 8 z" style="fill: var(--quiet)"/></marker></defs>"""


@dataclass(frozen=True)
class Table:
    """A label or type of the graph.

    Attributes:
        name: as queries write it.
        key: its primary key; empty for a relationship.
        properties: with their types, in the order in which they were declared.
        ends: pairs of labels that a relationship joins; empty for a node.
    """

    name: str
    key: str
    properties: dict[str, str]
    ends: tuple[tuple[str, str], ...]


def schema() -> dict[str, Table]:
    """All tables after the last migration, by name."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(MIGRATIONS.glob("*.cypher")))
    tables = {}
    for name, body in re.findall(r"CREATE (?:NODE|REL) TABLE (\w+)\((.*?)\);", text, re.DOTALL):
        properties = dict(re.findall(r"(\w+) (STRING|INT64|DOUBLE|BOOL)\b", body))
        properties |= dict(re.findall(rf"ALTER TABLE {name} ADD (\w+) (\w+)", text))
        key = re.search(r"PRIMARY KEY \((\w+)\)", body)
        ends = tuple(re.findall(r"FROM (\w+) TO (\w+)", body))
        tables[name] = Table(name, key[1] if key else "", properties, ends)
    return tables


def draw(tables: dict[str, Table]) -> str:
    """The picture as SVG."""
    routed = {name for name, table in tables.items() if table.ends}
    boxed = {name for name, table in tables.items() if table.properties}
    if routed != set(ROUTES) or boxed != set(PLACES):
        raise SystemExit(f"{__file__}: give a place or a route to {(routed ^ set(ROUTES)) | (boxed ^ set(PLACES))}")
    parts = [route(name) for name in ROUTES] + [box(tables[name]) for name in PLACES] + [legend()]
    label = "Schema of the graph: " + "; ".join(
        f"({a})-[:{name}]->({b})" for name, table in tables.items() for a, b in table.ends
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{label.replace(">", "&gt;")}">\n<style>{STYLE}</style>\n{TIP}\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" style="fill: var(--paper)"/>\n'
    ) + "\n".join([*parts, "</svg>\n"])


def box(table: Table) -> str:
    """A label, or a relationship with properties, as a box with its properties."""
    left, top, width, columns, kind = PLACES[table.name]
    rows = -(-len(table.properties) // columns)
    height = HEAD + rows * LINE + PAD
    radius = 14 if table.ends else 6
    lines = [
        f'<rect class="box" x="{left}" y="{top}" width="{width}" height="{height}" rx="{radius}"/>',
        f'<path d="M {left} {top + HEAD} v {radius - HEAD} q 0 {-radius} {radius} {-radius} h {width - 2 * radius} '
        f'q {radius} 0 {radius} {radius} v {HEAD - radius} z" style="fill: var(--{kind})"/>',
        f'<text class="title" x="{left + 12}" y="{top + 19}">{table.name}</text>',
    ]
    for i, (name, type) in enumerate(table.properties.items()):
        x = left + 12 + i // rows * (width // columns)
        y = top + HEAD + i % rows * LINE + 16
        of = " ".join(["key"] * (name == table.key) + ["number"] * (type in ("INT64", "DOUBLE")))
        lines.append(f'<text x="{x}" y="{y}"{f" class={of!r}" if of else ""}>{name}</text>')
    return "\n".join(lines)


def route(name: str) -> str:
    """A relationship as an arrow with its name."""
    paths, place, anchor = ROUTES[name]
    arrow = "\n".join(f'<path class="route" d="{path.strip()}"/>' for path in paths.split(";"))
    if place is None:
        return arrow
    return f'{arrow}\n<text class="name" x="{place[0]}" y="{place[1]}" text-anchor="{anchor}">{name}</text>'


def legend() -> str:
    """What the letters mean."""
    return (
        f'<text class="name" x="20" y="{HEIGHT - 16}">bold: key · <tspan class="number">blue: number</tspan> · '
        "all circuits share what is grey</text>"
    )


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(draw(schema()), encoding="utf-8")


if __name__ == "__main__":
    main()
