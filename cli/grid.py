"""Formats rows as aligned columns, in full or fitted to the width of a terminal."""

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
MIN_WIDTH = 12
"""Minimum width of a column of wrapped text."""
UNBROKEN = 24
"""Maximum width of a number, a word or a part of a title that is never broken."""
MAX_UPRIGHT = 4
"""Maximum number of rows that are printed upright if their columns do not fit side by side."""
ID_DIGITS = 12
"""Digits of a shortened id; an id may be given by its first digits."""

_MISSING = ("NAType", "NaTType")
"""Type names of pandas' missing values; this module does not import pandas."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_ID = re.compile("[0-9a-f]{64}")


def cell(value: Any, digits: int = 6) -> str:
    """Format a value as one line: few digits, empty if it is missing, `name=value` for a mapping."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={cell(v, digits)}" for name, v in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(cell(v, digits) for v in value)}]"
    if value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in _MISSING:
        return ""
    return f"{value:.{digits}g}" if isinstance(value, float) else _CONTROL.sub(" ", str(value))


@dataclass(frozen=True)
class Column:
    """A column with its cells as text; numbers are aligned to the right."""

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
    def min_width(self) -> int:
        """The smallest width to which the column may be wrapped, without breaking words unless they are long."""
        words = [] if self.right else [cell_len(word) for text in self.cells for word in text.split()]
        whole = [width for width in (*words, *map(cell_len, self.title)) if width <= UNBROKEN]
        return min(self.width, max([UNBROKEN if self.right else MIN_WIDTH, *whole]))

    def lines(self, row: int, width: int) -> list[str]:
        """Return a cell as lines of at most the given width."""
        return [self.cells[row]] if cell_len(self.cells[row]) <= width else wrapped(self.cells[row], width)

    def aligned(self, text: str, width: int) -> str:
        """Pad a line to the width of the column."""
        padding = " " * (width - cell_len(text))
        return padding + text if self.right else text + padding


def grid(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Format rows as aligned columns under their names, with numbers to the right and nothing cut off."""
    columns = _columns(header, rows)
    widths = [c.width for c in columns]
    return _titles(columns, widths) + _lines(columns, widths, range(len(columns[0].cells) if columns else 0))


@dataclass(frozen=True)
class Fitted:
    """Rows as a terminal shows them.

    Attributes:
        text: the lines.
        shortened: the columns whose values are shortened.
        left_out: the columns for which there was no room.
    """

    text: str
    shortened: Sequence[str] = ()
    left_out: Sequence[str] = ()


def fitted(header: Sequence[str], rows: Iterable[Sequence[Any]], width: int) -> Fitted:
    """Format rows as aligned columns of at most the given total width.

    Kinds with parameters get their shortest distinct names. If there is not enough room, numbers, ids and titles are
    shortened, values that are the same in all rows are printed once above the table, and texts are wrapped. If that is
    not enough, a few rows are printed upright; of many rows, first columns that rows share become headings, and the
    last columns are left out.
    """
    columns = [_short(column) for column in _columns(header, rows)]
    same, left_out, headings = [], [], 0
    if _total(c.width for c in columns) > width:
        columns, same = _split([_narrow(column) for column in columns])
    if not _fit(columns, width) and len(columns[0].cells) <= MAX_UPRIGHT:
        body = _upright(columns, width)
    else:
        headings = _n_headings(columns, width)
        while not _fit(columns[headings:], width) and len(columns) > headings + 1:
            left_out.insert(0, columns.pop().name)
        body = _with_headings(columns[:headings], columns[headings:], width)
    lines = [*wrapped(f"in every row: {_named_cells(same, 0)}", width), ""] if same else []
    shortened = [c.name for c in (*same, *columns) if any(s != cell(v) for s, v in _texts(c))]
    return Fitted("".join(f"{line}\n" for line in lines) + body, shortened, left_out)


def _fit(columns: Sequence[Column], width: int) -> bool:
    return _total(c.min_width for c in columns) <= width


def _named_cells(columns: Sequence[Column], row: int) -> str:
    """Return the cells of a row with their names."""
    return "; ".join(f"{c.name} {c.cells[row] or '–'}" for c in columns)


def _n_headings(columns: Sequence[Column], width: int) -> int:
    """Return how many of the first columns become headings, among those that rows share.

    The smallest number with which the other columns fit unwrapped, or else wrapped; or else all.
    """
    count = len(columns[0].cells) if columns else 0
    shared = [n for n in range(len(columns)) if n == 0 or 2 * len(_blocks(columns[:n])) <= count]
    whole = [n for n in shared if _total(c.width for c in columns[n:]) <= width]
    wrapped = [n for n in shared if _fit(columns[n:], width)]
    return [*whole, *wrapped, shared[-1]][0]


def _blocks(headings: Sequence[Column]) -> list[range]:
    """Return the blocks of consecutive rows that have the same cells in these columns."""
    keys = list(zip(*(c.cells for c in headings), strict=True))
    starts = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    return [range(start, end) for start, end in pairwise([*starts, len(keys)])]


def _with_headings(headings: Sequence[Column], columns: Sequence[Column], width: int) -> str:
    """Format the columns side by side, with each block of rows under its heading."""
    widths = _widths(columns, width)
    text = _titles(columns, widths)
    for rows in _blocks(headings) if headings else [range(len(columns[0].cells) if columns else 0)]:
        heading = ["", *wrapped(_named_cells(headings, rows[0]), width)] if headings else []
        text += "".join(f"{line}\n" for line in heading) + _lines(columns, widths, rows)
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
    """Replace kinds with parameters by the shortest names that are distinct within the column."""
    texts = sorted({v for v in column.values if isinstance(v, str)})
    if not any("(" in text for text in texts):
        return column
    names = short_names(texts)
    return replace(column, cells=[cell(names[v]) if isinstance(v, str) else cell(v) for v in column.values])


def _narrow(column: Column) -> Column:
    """Reduce numbers to four digits, ids to their beginnings, and the title to several lines."""
    parts = re.findall(r"[^_ ]+_*|_+", column.name)
    if column.right:
        column = replace(column, cells=[cell(v, digits=4) for v in column.values])
    texts = {v for v in column.values if isinstance(v, str)}
    if texts and all(map(_ID.fullmatch, texts)) and len({t[:ID_DIGITS] for t in texts}) == len(texts):
        column = replace(column, cells=[cell(v)[:ID_DIGITS] for v in column.values])
    return replace(column, title=[piece for part in parts for piece in chop_cells(part, UNBROKEN)] or [""])


def _split(columns: list[Column]) -> tuple[list[Column], list[Column]]:
    """Split columns into those that differ between rows, and those that are the same in all rows."""
    same = [c for c in columns if len(c.cells) > 1 and len(set(c.cells)) == 1]
    other = [c for c in columns if not any(c is s for s in same)]
    return (other, same) if other else (columns, [])


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Return the widths of the columns, of which the widest are reduced until all fit."""
    widths, smallest = [c.width for c in columns], [c.min_width for c in columns]
    while _total(widths) > width and widths != smallest:
        widest = max((i for i in range(len(widths)) if widths[i] > smallest[i]), key=lambda i: widths[i])
        widths[widest] -= 1
    return widths


def _titles(columns: Sequence[Column], widths: Sequence[int]) -> str:
    height = max((len(c.title) for c in columns), default=0)
    titles = [[""] * (height - len(c.title)) + list(c.title) for c in columns]
    return _block(columns, widths, [[*title, "-" * width] for title, width in zip(titles, widths, strict=True)])


def _lines(columns: Sequence[Column], widths: Sequence[int], rows: Iterable[int]) -> str:
    """Format rows, each as high as its highest cell."""
    parts = ([c.lines(row, width) for c, width in zip(columns, widths, strict=True)] for row in rows)
    return "".join(_block(columns, widths, part) for part in parts)


def _block(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[Sequence[str]]) -> str:
    return "".join(_line(columns, widths, line) for line in zip_longest(*cells, fillvalue=""))


def _line(columns: Sequence[Column], widths: Sequence[int], texts: Sequence[str]) -> str:
    padded = [c.aligned(text, width) for c, text, width in zip(columns, texts, widths, strict=True)]
    return GAP.join(padded).rstrip() + "\n"


def upright(header: Sequence[str], rows: Iterable[Sequence[Any]], width: int | None = None) -> str:
    """Format each row as lines of name and value, with an empty line between rows."""
    return _upright(_columns(header, rows), width)


def _upright(columns: Sequence[Column], width: int | None) -> str:
    names = [" ".join(c.name.split()) for c in columns]
    indent = max(map(cell_len, names))
    room = None if width is None else max(width - indent - len(GAP), MIN_WIDTH)
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
    """Wrap a text to at most `width` columns of a terminal, between words, or within words that are longer."""
    lines: list[str] = []
    for word in text.split():
        if lines and cell_len(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines += chop_cells(word, width)
    return lines or [""]
