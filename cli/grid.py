"""Rows in aligned columns: whole, or fitted to the width of a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, zip_longest
from typing import Any

from rich.cells import cell_len, chop_cells

from ..circuits import short_names

GAP = "  "
LEAST = 12
"""Width below which a text is not wrapped."""
LONG = 24
"""Width below which a number, a word or a part of a title is not broken."""
FEW = 4
"""As many rows are shown one below the other where their columns do not fit side by side."""
ID_DIGITS = 12
"""Digits of an id that are shown where room is short; it may be given by as many."""

_MISSING = ("NAType", "NaTType")
"""pandas' own signs for a missing value, by name: pandas is imported by those who make tables."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_ID = re.compile("[0-9a-f]{64}")


def cell(value: Any, digits: int = 6) -> str:
    """A value as one line for people: few digits, nothing for what is missing, `name=value` for a mapping."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={cell(v, digits)}" for name, v in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(cell(v, digits) for v in value)}]"
    if value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in _MISSING:
        return ""
    return f"{value:.{digits}g}" if isinstance(value, float) else _CONTROL.sub(" ", str(value))


@dataclass(frozen=True)
class Column:
    """One column: its name and its cells as text, numbers to the right."""

    name: str
    values: Sequence[Any]
    cells: Sequence[str]
    right: bool
    title: Sequence[str]

    @classmethod
    def of(cls, name: str, values: Sequence[Any]) -> Column:
        right = bool(values) and all(isinstance(v, int | float) for v in values)
        return cls(name, values, [cell(v) for v in values], right, [name])

    @cached_property
    def width(self) -> int:
        return max(map(cell_len, [*self.title, *self.cells]))

    @cached_property
    def least(self) -> int:
        """The width to which it may be wrapped: between words, unless these are long."""
        words = [] if self.right else [cell_len(word) for text in self.cells for word in text.split()]
        whole = [width for width in (*words, *map(cell_len, self.title)) if width <= LONG]
        return min(self.width, max([LONG if self.right else LEAST, *whole]))

    def lines(self, row: int, width: int) -> list[str]:
        """A cell, as lines that are no wider."""
        return [self.cells[row]] if cell_len(self.cells[row]) <= width else wrapped(self.cells[row], width)

    def set(self, text: str, width: int) -> str:
        """A line at its place in the column."""
        room = " " * (width - cell_len(text))
        return room + text if self.right else text + room


def grid(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows in aligned columns under their names, numbers to the right; nothing is cut off."""
    columns = _columns(header, rows)
    widths = [c.width for c in columns]
    return _titles(columns, widths) + _lines(columns, widths, range(len(columns[0].cells) if columns else 0))


@dataclass(frozen=True)
class Fitted:
    """Rows as a terminal shows them.

    Attributes:
        text: lines that are no wider than asked.
        shortened: columns whose values have short names.
        left_out: columns for which there was no room.
    """

    text: str
    shortened: Sequence[str] = ()
    left_out: Sequence[str] = ()


def fitted(header: Sequence[str], rows: Iterable[Sequence[Any]], width: int) -> Fitted:
    """Rows in aligned columns that are together at most `width` wide.

    Kinds with parameters have their shortest distinct names. Where room is short, first digits, ids and titles are
    shortened, what is the same in all rows is said once, above, and texts are wrapped. Then a few rows are shown one
    below the other; of many rows the first columns become headings where rows share them, and the last are left out.
    """
    columns = [_short(column) for column in _columns(header, rows)]
    same, left_out, heads = [], [], 0
    if _total(c.width for c in columns) > width:
        columns, same = _parted([_narrow(column) for column in columns])
    if not _fit(columns, width) and len(columns[0].cells) <= FEW:
        body = _upright(columns, width)
    else:
        heads = _heads(columns, width)
        while not _fit(columns[heads:], width) and len(columns) > heads + 1:
            left_out.insert(0, columns.pop().name)
        body = _headed(columns[:heads], columns[heads:], width)
    lines = [*wrapped(f"in every row: {_told(same, 0)}", width), ""] if same else []
    shortened = [c.name for c in (*same, *columns) if any(s != cell(v) for s, v in _texts(c))]
    return Fitted("".join(f"{line}\n" for line in lines) + body, shortened, left_out)


def _fit(columns: Sequence[Column], width: int) -> bool:
    return _total(c.least for c in columns) <= width


def _told(columns: Sequence[Column], row: int) -> str:
    """The cells of a row with their names."""
    return "; ".join(f"{c.name} {c.cells[row] or '–'}" for c in columns)


def _heads(columns: Sequence[Column], width: int) -> int:
    """How many of the first columns become headings, as far as rows share them.

    So few that the others fit whole, or else wrapped, or else all.
    """
    count = len(columns[0].cells) if columns else 0
    shared = [n for n in range(len(columns)) if n == 0 or 2 * len(_blocks(columns[:n])) <= count]
    whole = [n for n in shared if _total(c.width for c in columns[n:]) <= width]
    wrapped = [n for n in shared if _fit(columns[n:], width)]
    return [*whole, *wrapped, shared[-1]][0]


def _blocks(heads: Sequence[Column]) -> list[range]:
    """Rows that follow one another and have the same cells in these columns."""
    keys = list(zip(*(c.cells for c in heads), strict=True))
    starts = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    return [range(start, end) for start, end in pairwise([*starts, len(keys)])]


def _headed(heads: Sequence[Column], columns: Sequence[Column], width: int) -> str:
    """The columns side by side, each block of rows under its heading."""
    widths = _widths(columns, width)
    text = _titles(columns, widths)
    for rows in _blocks(heads) if heads else [range(len(columns[0].cells) if columns else 0)]:
        told = ["", *wrapped(_told(heads, rows[0]), width)] if heads else []
        text += "".join(f"{line}\n" for line in told) + _lines(columns, widths, rows)
    return text


def _columns(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[Column]:
    lines = list(rows)
    return [Column.of(name, [row[i] for row in lines]) for i, name in enumerate(header)]


def _total(widths: Iterable[int]) -> int:
    listed = list(widths)
    return sum(listed) + len(GAP) * (len(listed) - 1)


def _texts(column: Column) -> Iterable[tuple[str, str]]:
    return ((shown, v) for shown, v in zip(column.cells, column.values, strict=True) if isinstance(v, str))


def _short(column: Column) -> Column:
    """Kinds with parameters by the shortest name that tells those of the column apart."""
    texts = sorted({v for v in column.values if isinstance(v, str)})
    if not any("(" in text for text in texts):
        return column
    names = short_names(texts)
    return replace(column, cells=[cell(names[v]) if isinstance(v, str) else cell(v) for v in column.values])


def _narrow(column: Column) -> Column:
    """With four digits, the beginnings of ids, and the title on several lines."""
    parts = re.findall(r"[^_ ]+_*|_+", column.name)
    if column.right:
        column = replace(column, cells=[cell(v, digits=4) for v in column.values])
    texts = {v for v in column.values if isinstance(v, str)}
    if texts and all(map(_ID.fullmatch, texts)) and len({t[:ID_DIGITS] for t in texts}) == len(texts):
        column = replace(column, cells=[cell(v)[:ID_DIGITS] for v in column.values])
    return replace(column, title=[piece for part in parts for piece in chop_cells(part, LONG)] or [""])


def _parted(columns: list[Column]) -> tuple[list[Column], list[Column]]:
    """Columns that tell rows apart, and those that say the same in all."""
    same = [c for c in columns if len(c.cells) > 1 and len(set(c.cells)) == 1]
    other = [c for c in columns if not any(c is s for s in same)]
    return (other, same) if other else (columns, [])


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """The widest columns give way, as far as they may."""
    widths, least = [c.width for c in columns], [c.least for c in columns]
    while _total(widths) > width and widths != least:
        widest = max((i for i in range(len(widths)) if widths[i] > least[i]), key=lambda i: widths[i])
        widths[widest] -= 1
    return widths


def _titles(columns: Sequence[Column], widths: Sequence[int]) -> str:
    height = max((len(c.title) for c in columns), default=0)
    titles = [[""] * (height - len(c.title)) + list(c.title) for c in columns]
    return _block(columns, widths, [[*title, "-" * width] for title, width in zip(titles, widths, strict=True)])


def _lines(columns: Sequence[Column], widths: Sequence[int], rows: Iterable[int]) -> str:
    """A row is as high as its highest cell."""
    parts = ([c.lines(row, width) for c, width in zip(columns, widths, strict=True)] for row in rows)
    return "".join(_block(columns, widths, part) for part in parts)


def _block(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[Sequence[str]]) -> str:
    return "".join(_line(columns, widths, line) for line in zip_longest(*cells, fillvalue=""))


def _line(columns: Sequence[Column], widths: Sequence[int], texts: Sequence[str]) -> str:
    placed = [c.set(text, width) for c, text, width in zip(columns, texts, widths, strict=True)]
    return GAP.join(placed).rstrip() + "\n"


def upright(header: Sequence[str], rows: Iterable[Sequence[Any]], width: int | None = None) -> str:
    """Each row as lines of name and value, with an empty line between rows."""
    return _upright(_columns(header, rows), width)


def _upright(columns: Sequence[Column], width: int | None) -> str:
    names = [" ".join(c.name.split()) for c in columns]
    indent = max(map(cell_len, names))
    room = None if width is None else max(width - indent - len(GAP), LEAST)
    records = []
    for row in range(len(columns[0].values)):
        lines = []
        for name, column in zip(names, columns, strict=True):
            first, *more = column.lines(row, room) if room else [column.cells[row]]
            lines.append(f"{name}{' ' * (indent - cell_len(name))}{GAP}{first}".rstrip())
            lines += [f"{' ' * indent}{GAP}{part}" for part in more]
        records.append("\n".join(lines) + "\n")
    return "\n".join(records)


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns of a terminal, broken between words, and within words that are longer."""
    lines: list[str] = []
    for word in text.split():
        if lines and cell_len(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines += chop_cells(word, width)
    return lines or [""]
