"""Footprints of circuits on the page: maps of a class's example images, clean above attacked, above the circuits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from ...circuits import Circuit, ExampleImages
from ...circuits.drawing import svg_element
from ..circuit_footprints import CircuitFootprints, Maps, footprint_numbers, footprints_of_class
from ..overlays import Box, coloured, largest, nested, picture, png, text
from ..readouts import ReadoutSet
from ..wording import format_number
from .drawings import MAX_EDGES, Drawing
from .examples import source_of
from .tables import csv_url

CAPTION = (
    "Mean scores over report images. Out of input, into a layer: sums over the circuit's edges; a path is counted at "
    "each of its edges, so these do not add up to a total. Patches, others: the parts at patches and at other tokens; "
    "largest: the value of largest magnitude at a patch, with its row and column, counted from 0."
)

_SIDE, _GAP, _TOP, _LINE = 104.0, 10.0, 24.0, 16.0
_MIN_WIDTH = 960.0
"""Width of narrower drawings, so that the page does not enlarge them."""


def footprint_drawing(shown: ReadoutSet, name: str, examples: Sequence[ExampleImages], id: str) -> Drawing:
    """Draw the footprints of the circuits of a class."""
    found = footprints_of_class(shown, name, examples)
    counts = ", ".join(f"{one.n_images} ({one.condition})" for one in found)
    caption = f"Rows: the mean over {counts} report images, then example images"
    caption += "" if any(one.maps for one in found) else ", which are missing, because numbers of images are not stored"
    caption += (
        ". Columns: the circuit's edges out of input, added up, then its strongest edges, each with its mean score and "
        "the part of it at patches. Below: the circuits, coloured by the scores by which they were found."
    )
    csv = csv_url(footprint_numbers(found))
    return Drawing(id, Markup(draw_footprints(found, id)), csv, f"{name}, {shown.title}", caption)


def draw_footprints(found: Sequence[CircuitFootprints], id: str) -> str:
    """Draw the footprints of a class as SVG: a block of rows per condition, then the circuits.

    Args:
        found: the footprints under each condition.
        id: the beginning of ids of images, which are drawn several times.
    """
    height, scales = _SIDE * _shape(found[0]), _scales(found)
    parts, y = [], _TOP
    for block, one in enumerate(found):
        parts.append(text(_GAP, y, one.condition, bold=True))
        parts += _headings(one, y)
        y += 2 * _LINE + 6
        parts += _row(None, one.mean, scales[0], y, height)
        y += height + _GAP
        for row, (hash_, maps) in enumerate(one.maps.items()):
            image = f"{id}-{block + 1}-{row + 1}"
            source = picture(source_of(one.images[hash_]), Box(_GAP, y, _SIDE, height))
            parts.append(source.replace("<image ", f'<image id="{image}" ', 1))
            parts += _row(image, maps, scales[1], y, height)
            y += height + _GAP
        y += _LINE
    for note in _notes(found, scales):
        parts.append(text(_GAP, y, note))
        y += _LINE
    width = 2 * _GAP + (_SIDE + _GAP) * (1 + max(len(one.edges) for one in found))
    for part, wide, high in _circuits(found, y):
        parts.append(part)
        width, y = max(width, wide), y + high
    return svg_element(max(width, _MIN_WIDTH), y, "footprints of circuits, by condition", parts)


def _headings(one: CircuitFootprints, y: float) -> Iterator[str]:
    """Yield the name of each column, its score, and the part of the score at patches."""
    patches = one.mean.sum(axis=(1, 2))
    for place, (label, score) in enumerate(zip(one.edges, one.scores, strict=True)):
        for line, written in enumerate((label, f"score {score:+.3g}", f"at patches {patches[place]:+.2g}")):
            yield text(_x(place), y + line * _LINE, written)


def _row(image: str | None, maps: Maps, scales: tuple[float, float], y: float, height: float) -> Iterator[str]:
    """Yield the maps of a row, on an image that was drawn to their left, or on a pale ground."""
    for place, values in enumerate(maps):
        box = Box(_x(place), y, _SIDE, height)
        ground = f'<rect x="{box.x:.1f}" y="{y:.1f}" width="{_SIDE:.1f}" height="{height:.1f}" fill="#f6f8fb"/>'
        yield ground if image is None else f'<use href="#{image}" x="{box.x - _GAP:.1f}"/>'
        yield picture(png(coloured(values, scales[place > 0])), box)


def _x(place: int) -> float:
    return _GAP + (_SIDE + _GAP) * (place + 1)


def _scales(found: Sequence[CircuitFootprints]) -> list[tuple[float, float]]:
    """Return the magnitudes of the darkest values of sums and of single edges: of means, and of images."""
    means, images = [one.mean for one in found], [maps for one in found for maps in one.maps.values()]
    return [(_largest([m[:1] for m in of]), _largest([m[1:] for m in of])) for of in (means, images)]


def _largest(arrays: Sequence[Maps]) -> float:
    return largest(np.concatenate([np.zeros(1), *(values.ravel() for values in arrays)]))


def _notes(found: Sequence[CircuitFootprints], scales: list[tuple[float, float]]) -> Iterator[str]:
    """Yield what the colours mean."""
    named = [
        f"±{format_number(of_sum, 3)} out of input, ±{format_number(of_edge, 3)} edges" for of_sum, of_edge in scales
    ]
    yield f"blue raises the metric, orange lowers it; darkest in means: {named[0]}"
    if any(one.maps for one in found):
        yield f"on images: {named[1]}"


def _circuits(found: Sequence[CircuitFootprints], y: float) -> Iterator[tuple[str, float, float]]:
    """Yield the drawing of the circuit under each condition, with its width and height, and one scale for all."""
    drawn = [(one.condition, one.circuit) for one in found if one.circuit is not None and one.circuit.n_edges]
    scale = max((_strongest(circuit) for _, circuit in drawn), default=0.0) or None
    for condition, circuit in drawn:
        svg = circuit.draw(label=f"circuit, {condition}", max_edges=MAX_EDGES, scale=scale).svg
        part, width, height = nested(svg, 0, y + 2 * _LINE)
        yield f"{part}{text(_GAP, y + _LINE, f'circuit, {condition}', bold=True)}", width, height + 2 * _LINE
        y += height + 2 * _LINE


def _strongest(circuit: Circuit) -> float:
    return 0.0 if circuit.score is None else float(np.abs(circuit.score[circuit.members]).max(initial=0.0))


def _shape(one: CircuitFootprints) -> float:
    """Return height by width of the images, or of the map if there are no images."""
    shape = next((view.shape[:2] for view in one.images.values()), one.mean.shape[1:])
    return shape[0] / shape[1]
