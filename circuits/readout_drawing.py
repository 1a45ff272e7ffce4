"""Pictures of read-outs as SVG: lines, bars and heat maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from .drawing import svg_element
from .strokes import edge_colour

Labels = Sequence[str]

MAX_LINES = 10
"""Lines drawn: those with the largest last values."""
MAX_BARS = 40
"""Bars drawn: those of largest magnitude."""
MAX_CELLS = 20_000
"""Cells of a heat map; more would be smaller than a pixel."""

INK, FAINT, GRID = "#1f2937", "#64748b", "#e5e9ef"
PALETTE = ("#1f6fb2", "#d9730d", "#0f766e", "#9d4edd", "#8a6d1d", "#be185d")
_LETTER, _ROW = 6.4, 18.0
_PLOT = (460.0, 240.0)
_MARGIN, _TOP = 16.0, 34.0


def draw(
    title: str,
    unit: str,
    axes: Mapping[str, Labels],
    values: Float[np.ndarray, "..."],
    std: Float[np.ndarray, "..."] | None = None,
) -> str:
    """Return a read-out of one or two axes as one `<svg>` element.

    Args:
        title: the kind of read-out.
        unit: what a number is.
        axes: labels by name of the axis.
        values: the numbers.
        std: their standard deviations, drawn on bars.

    Raises:
        InputError: no axis, more than two, or too many entries.
    """
    heading = f"{title}: {unit}"
    match tuple(axes), tuple(axes.values()):
        case (name,), (labels,):
            return bar_chart(f"{heading} by {name}", labels, values, std)
        case ("point" | "layer", "class" as name), (points, lines):
            return line_chart(f"{heading} by {name}", points, lines, values)
        case (row, column), (rows, columns):
            return heat_map(f"{heading}, {row} × {column}", rows, columns, values)
    raise InputError(
        f"draw: expected a read-out with one or two axes after the mean over images, got {', '.join(axes) or 'none'}; "
        "select a label, or average an axis"
    )


def line_chart(heading: str, points: Labels, lines: Labels, values: Float[np.ndarray, "point line"]) -> str:
    """Return a line over points for each of the lines with the largest last values."""
    shown = [int(i) for i in np.argsort(-values[-1], kind="stable")[:MAX_LINES]]
    width, height = _PLOT
    low, high = _range(values[:, shown])
    left = _MARGIN + 50
    x = left + width * (np.arange(len(points)) + 0.5) / len(points)
    y = _TOP + height * (high - values[:, shown]) / (high - low)
    parts = [*_heading(heading), *_scale(low, high, left, width, height), *_ticks(points, x, _TOP + height + 12)]
    names = _spread(y[-1], 13.0)
    for i, line in enumerate(shown):
        colour = PALETTE[i % len(PALETTE)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y[:, i], strict=True))
        dash = "" if i < len(PALETTE) else ' stroke-dasharray="5 3"'
        name, last = escape(lines[line]), values[-1, line]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}>')
        parts.append(f"<title>{name}, last {last:.3g}</title></polyline>")
        parts.append(f'<text x="{left + width + 4:.0f}" y="{names[i] + 4:.1f}" fill="{colour}">{name}</text>')
    right = left + width + 8 + _LETTER * max(len(lines[line]) for line in shown)
    bottom = _TOP + height + 24 + 0.7 * _LETTER * max(map(len, points))
    return svg_element(right + _MARGIN, bottom, heading, parts)


def bar_chart(
    heading: str, bars: Labels, values: Float[np.ndarray, "bar"], std: Float[np.ndarray, "bar"] | None = None
) -> str:
    """Return a horizontal bar for each entry of largest magnitude, in order, with its standard deviation."""
    shown = sorted(int(i) for i in np.argsort(-np.abs(values), kind="stable")[:MAX_BARS])
    spread = np.zeros_like(values) if std is None else std
    low, high = _range(np.concatenate([values[shown] - spread[shown], values[shown] + spread[shown], [0.0]]))
    left = _MARGIN + 8 + _LETTER * max(len(bars[i]) for i in shown)
    width, height = _PLOT[0], _ROW * len(shown)
    zero, unit = left + width * -low / (high - low), width / (high - low)
    parts = [*_heading(heading), f'<path d="M{zero:.1f} {_TOP:.0f}v{height:.0f}" stroke="{INK}"/>']
    scale = float(np.abs(values).max()) or 1.0
    for row, i in enumerate(shown):
        value, y = float(values[i]), _TOP + _ROW * row
        start, length = zero + min(value, 0) * unit, abs(value) * unit
        parts.append(
            f'<rect x="{start:.1f}" y="{y + 3:.1f}" width="{length:.1f}" height="{_ROW - 6:.0f}" '
            f'fill="{edge_colour(value, scale)}"><title>{escape(bars[i])} {value:+.4g}</title></rect>'
        )
        if std is not None:
            ends = (zero + (value - spread[i]) * unit, 2 * spread[i] * unit)
            parts.append(f'<path d="M{ends[0]:.1f} {y + _ROW / 2:.1f}h{ends[1]:.1f}" stroke="{INK}"/>')
        parts.append(_text(left - 6, y + _ROW / 2 + 4, bars[i], "end"))
        parts.append(_text(left + width + 6, y + _ROW / 2 + 4, f"{value:+.3g}"))
    note = [] if len(shown) == len(bars) else [f"{len(shown)} of {len(bars)}, those of largest magnitude"]
    parts += [_text(_MARGIN, _TOP + height + 16, text) for text in note]
    return svg_element(left + width + 70, _TOP + height + _MARGIN + 14 * len(note), heading, parts)


def heat_map(heading: str, rows: Labels, columns: Labels, values: Float[np.ndarray, "row column"]) -> str:
    """Return a cell per number: blue above 0, orange below, darker for larger magnitudes.

    Raises:
        InputError: there are more than `MAX_CELLS` cells.
    """
    if values.size > MAX_CELLS:
        raise InputError(f"draw: expected at most {MAX_CELLS} cells, got {len(rows)} × {len(columns)}; select some")
    cell = min(28.0, max(4.0, 640 / max(len(columns), 1)))
    left = _MARGIN + 8 + _LETTER * max(map(len, rows), default=0)
    scale = float(np.abs(values).max(initial=0.0)) or 1.0
    parts = [*_heading(heading)]
    for row, name in enumerate(rows):
        for column, other in enumerate(columns):
            value = float(values[row, column])
            parts.append(
                f'<rect x="{left + cell * column:.1f}" y="{_TOP + cell * row:.1f}" width="{cell:.1f}" '
                f'height="{cell:.1f}" fill="{"#ffffff" if value == 0 else edge_colour(value, scale)}">'
                f"<title>{escape(name)}, {escape(other)}: {value:+.4g}</title></rect>"
            )
    step = max(1, int(np.ceil(12 / cell)))
    for row in range(0, len(rows), step):
        parts.append(_text(left - 6, _TOP + cell * (row + 0.5) + 4, rows[row], "end"))
    bottom = _TOP + cell * len(rows)
    at = range(0, len(columns), step)
    parts += _ticks([columns[i] for i in at], left + cell * (np.array(at) + 0.5), bottom + 12)
    parts.append(_text(_MARGIN, bottom + 30 + 5 * max(map(len, columns), default=0), f"darkest: ±{scale:.3g}"))
    width = max(left + cell * len(columns), _LETTER * len(heading) + _MARGIN) + _MARGIN
    return svg_element(width, bottom + 44 + 5 * max(map(len, columns), default=0), heading, parts)


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the smallest and largest value, never equal."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _heading(text: str) -> Iterator[str]:
    yield f'<text x="{_MARGIN:.0f}" y="20" fill="{INK}" font-weight="600">{escape(text)}</text>'


def _scale(low: float, high: float, left: float, width: float, height: float) -> Iterator[str]:
    """Yield lines at five values, with the values."""
    for value in np.linspace(low, high, 5):
        y = _TOP + height * (high - value) / (high - low)
        yield f'<path d="M{left:.0f} {y:.1f}h{width:.0f}" stroke="{GRID}"/>'
        yield _text(left - 6, y + 4, f"{value:.3g}", "end")


def _ticks(labels: Labels, x: np.ndarray, y: float) -> Iterator[str]:
    """Yield the labels below the plot, sloped so that long ones fit."""
    for label, at in zip(labels, x, strict=True):
        yield (
            f'<text x="{at:.1f}" y="{y:.1f}" fill="{FAINT}" text-anchor="end" '
            f'transform="rotate(-40 {at:.1f} {y:.1f})">{escape(label)}</text>'
        )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{FAINT}" text-anchor="{anchor}">{escape(text)}</text>'


def _spread(heights: Float[np.ndarray, "line"], gap: float) -> Float[np.ndarray, "line"]:
    """Return heights at least `gap` apart, in the same order, moved down where they collide."""
    placed, last = heights.astype(float), -np.inf
    for i in np.argsort(heights, kind="stable"):
        placed[i] = last = max(placed[i], last + gap)
    return placed
