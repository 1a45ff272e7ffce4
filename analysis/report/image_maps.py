"""Where in the image: maps of a class drawn next to and on its example images, clean and attacked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ...circuits import ExampleImages
from ...circuits.drawing import svg_element
from .. import circuit_footprints
from ..image_maps import ConditionMaps, map_numbers, maps_of_class
from ..overlays import Box, largest, legend, overlaid, picture, text
from ..readout_numbers import map_facts
from ..readouts import ReadoutSet
from ..wording import count
from .circuit_footprints import CAPTION as FOOTPRINT_CAPTION
from .circuit_footprints import footprint_drawing
from .drawings import Drawing
from .examples import source_of
from .readout_texts import about
from .tables import HtmlTable, csv_url, frame_table

IMAGES_BYTES = 250_000
"""Maximum size of the pictures of maps; those of footprints of circuits may take as much again."""

CAPTION = (
    "Mean maps over report images. Positive, negative: sums over the map; largest: the value of largest magnitude, "
    "with its row and column, counted from 0."
)

_WIDTH, _GAP, _TOP, _LINE = 104.0, 10.0, 30.0, 16.0
_MIN_WIDTH = 960.0
"""Width of narrower drawings, so that the page does not enlarge them."""


@dataclass(frozen=True)
class MapsView:
    """The maps of one kind of read-out."""

    title: str
    about: str
    drawings: Sequence[Drawing]
    table: HtmlTable
    left_out: str


def maps_views(sets: Sequence[ReadoutSet], examples: Sequence[ExampleImages]) -> list[MapsView]:
    """Return the read-outs that are maps over images, drawn while there is room."""
    found, room = [], {True: IMAGES_BYTES, False: IMAGES_BYTES}
    for number, shown in enumerate(sets):
        of_circuits = shown.kind == circuit_footprints.KIND
        facts = circuit_footprints.footprint_facts(shown) if of_circuits else map_facts(shown)
        if facts.empty:
            continue
        classes = facts["class"].drop_duplicates().tolist()
        drawings: list[Drawing] = []
        for place, name in enumerate(classes):
            draw = footprint_drawing if of_circuits else _drawing
            drawn = draw(shown, name, examples, f"where-{number + 1}-{place + 1}")
            room[of_circuits] -= len(drawn.svg) + len(drawn.csv)
            if room[of_circuits] < 0:
                break
            drawings.append(drawn)
        missing = len(classes) - len(drawings)
        left_out = f"To keep the page small, {count(missing, 'more class is', 'more classes are')} not drawn."
        table = frame_table(facts, FOOTPRINT_CAPTION if of_circuits else CAPTION)
        found.append(MapsView(shown.title, about(shown), drawings, table, left_out if missing else ""))
    return found


def _drawing(shown: ReadoutSet, name: str, examples: Sequence[ExampleImages], id: str) -> Drawing:
    found = maps_of_class(shown.by_class[name], examples)
    means = largest(np.concatenate([one.mean.ravel() for one in found]))
    caption = f"Mean over {', '.join(f'{one.n_images} ({one.condition})' for one in found)} report images"
    if any(one.maps for one in found):
        caption += "; the map of each example image is on the image to its right, with one scale for all of them"
    elif any(one.images for one in found):
        caption += "; example images next to it, whose own maps are not stored"
    svg, csv = draw_maps(found, means), csv_url(map_numbers(found))
    return Drawing(id, Markup(svg), csv, f"{name}, {shown.title}", f"{caption}.")


def draw_maps(found: Sequence[ConditionMaps], scale: float) -> str:
    """Draw the maps of a class as SVG: a row per condition with the mean, example images, and their own maps.

    Args:
        found: the maps under each condition.
        scale: the magnitude of the darkest value of means.
    """
    of_images = largest(np.concatenate([np.zeros(1), *(m.ravel() for one in found for m in one.maps.values())]))
    hashes = list(dict.fromkeys(hash_ for one in found for hash_ in one.images))
    mapped = {hash_ for one in found for hash_ in one.maps}
    height = _WIDTH * _shape(found[0])
    step, parts = height + _LINE + _GAP, []
    for row, one in enumerate(found):
        y = _TOP + row * step
        parts.append(text(_GAP, y - 6, one.condition, bold=True))
        parts += overlaid(_BLANK, one.mean, scale, Box(_GAP, y, _WIDTH, height))
        parts += _on_images(one, hashes, mapped, of_images, y, height)
    bottom = _TOP + len(found) * step
    notes = [f"first column: mean; {legend(scale)}"]
    notes += [f"on images: darkest ±{of_images:.3g}"] if mapped else []
    parts += [text(_GAP, bottom + place * _LINE, note) for place, note in enumerate(notes)]
    width = 2 * _GAP + (_WIDTH + _GAP) * (1 + len(hashes) + len(mapped))
    return svg_element(max(width, _MIN_WIDTH), bottom + len(notes) * _LINE, "maps over images, by condition", parts)


def _on_images(
    one: ConditionMaps, hashes: Sequence[str], mapped: set[str], scale: float, y: float, height: float
) -> Iterator[str]:
    """Yield the images of a condition, each with its own map to the right if there are any."""
    x = 2 * _GAP + _WIDTH
    for hash_ in hashes:
        source = source_of(one.images[hash_]) if hash_ in one.images else None
        if source is not None:
            yield picture(source, Box(x, y, _WIDTH, height))
        x += _WIDTH + _GAP
        if source is not None and hash_ in one.maps:
            yield from overlaid(source, one.maps[hash_], scale, Box(x, y, _WIDTH, height))
        x += (_WIDTH + _GAP) * (hash_ in mapped)


def _shape(one: ConditionMaps) -> float:
    """Return height by width of the images, or of the map if there are no images."""
    shape = next((view.shape[:2] for view in one.images.values()), one.mean.shape)
    return shape[0] / shape[1]


_BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAPb4+wAAACwAAAAAAQABAAACAkQBADs="
"""A pale pixel, the background of means."""
