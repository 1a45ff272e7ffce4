"""Pictures of maps over patches or pixels on the image, and of footprints above the circuit's edges, as SVG."""

from __future__ import annotations

import numpy as np

from ..circuits import Circuit, Drawing, Readout
from ..circuits.drawing import svg_element
from ..circuits.image_maps import MAPS
from ..errors import InputError
from ..evaluation import ImagePairs, footprint_by_layer, on_patches
from ..models import ViT
from .overlays import Box, View, largest, legend, nested, overlaid, png, text

SIDE = 200.0
"""Height of an image in pixels of the drawing."""

_GAP, _TOP, _LINE = 16.0, 34.0, 16.0


def draw_map(model: ViT, pairs: ImagePairs, found: Readout, image: int = 0) -> Drawing:
    """Draw a map over patches or pixels on its image: blue raises the metric, orange lowers it.

    Args:
        model: the model.
        pairs: the images of the map.
        found: a map `[image, patch_row, patch_column]` or `[image, pixel_row, pixel_column]`, see `patch_attribution`
            and `on_patches`.
        image: position of the image in the pairs.

    Raises:
        InputError: a read-out with other axes, or no such image.

    Examples:
        >>> draw_map(model, pairs, cs.patch_attribution(model, pairs, "occlusion")).svg[:4]
        '<svg'
    """
    if found.names[:1] != ("image",) or found.names[1:] not in MAPS:
        raise InputError(
            f"found: expected a map [image, patch_row, patch_column] or over pixels, got {', '.join(found.names)}"
        )
    values = found.select(image=image).values
    view = _view(model, pairs, image)
    title, width = f"{found.use.kind}: {found.unit}", _width(view)
    parts = [text(_GAP, 20, title, bold=True), *overlaid(png(view), values, largest(values), _box(view, _GAP))]
    parts.append(text(_GAP, _TOP + SIDE + 20, legend(largest(values))))
    return Drawing(svg_element(max(width, 360) + 2 * _GAP, _TOP + SIDE + 36, title, parts))


def draw_footprint(model: ViT, pairs: ImagePairs, circuit: Circuit, found: Readout, image: int = 0) -> Drawing:
    """Draw where in an image the edges of a circuit carry the metric, layer by layer, above the circuit.

    Each picture shows the edges that go to one layer; the number of prefix tokens is below it. The circuit's edges have
    their scores on this image.

    Args:
        model: the model.
        pairs: the images of the footprint.
        circuit: the circuit.
        found: its footprint, see `footprint`.
        image: position of the image in the pairs.

    Raises:
        InputError: the footprint of other edges, or no such image.

    Examples:
        >>> draw_footprint(model, pairs, circuit, cs.footprint(model, pairs, circuit)).svg[:4]
        '<svg'
    """
    if found.use.kind != "footprint" or found.axes[1].labels != circuit.edges:
        raise InputError(f"found: expected the footprint of the {circuit.n_edges} edges of the circuit, got {found!r}")
    view = _view(model, pairs, image)
    layers = footprint_by_layer(model, found).select(image=image)
    maps = on_patches(model, layers, layers.names[1])
    shown = [place for place in range(len(maps.values)) if layers.values[place].any()]
    scale, step = largest(maps.values), _width(view) + _GAP
    parts = [text(_GAP, 20, f"footprint: {found.unit}, by layer of the receiver", bold=True)]
    for column, place in enumerate(shown):
        x, patches = _GAP + column * step, float(maps.values[place].sum())
        others = float(layers.values[place].sum()) - patches
        name = layers.axes[0].labels[place]
        parts += overlaid(png(view), maps.values[place], scale, _box(view, x))
        parts.append(text(x, _TOP + SIDE + 18, "logits" if name == "logits" else f"layer {name}"))
        parts.append(text(x, _TOP + SIDE + 18 + _LINE, f"patches {patches:+.3g}, other tokens {others:+.3g}"))
    top = _TOP + SIDE + 24 + 2 * _LINE
    parts.append(text(_GAP, top, legend(scale)))
    drawn, width, height = _circuit(circuit, found, image, top + _LINE)
    label = f"where in the image the {circuit.n_edges} edges of a circuit carry {found.unit}"
    return Drawing(svg_element(max(width, _GAP + len(shown) * step), top + _LINE + height, label, [*parts, drawn]))


def _circuit(circuit: Circuit, found: Readout, image: int, y: float) -> tuple[str, float, float]:
    """Return the drawing of the circuit as a part, with its width and height."""
    values = np.zeros(circuit.universe.n_edges)
    rows = [circuit.universe.index_of(name) for name in circuit.edges]
    values[rows] = found.select(image=image).values.sum(axis=1)
    svg = circuit.draw(values, key="score on this image: blue raises the metric, orange lowers it").svg
    return nested(svg, 0, y)


def _view(model: ViT, pairs: ImagePairs, image: int) -> View:
    if not 0 <= image < len(pairs):
        raise InputError(f"image: expected 0 to {len(pairs) - 1}, got {image}")
    return model.preprocess.views(pairs.clean[image : image + 1])[0]


def _width(view: View) -> float:
    return SIDE * view.shape[1] / view.shape[0]


def _box(view: View, x: float) -> Box:
    return Box(x, _TOP, _width(view), SIDE)
