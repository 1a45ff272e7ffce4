"""Parts of pictures as SVG: images, and maps over patches or pixels on them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from ..circuits.strokes import LOWERS, RAISES

OPACITY = 0.8
"""Opacity of the largest value."""

View = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Box:
    """A place in a drawing."""

    x: float
    y: float
    width: float
    height: float


def overlaid(source: str, values: Float[np.ndarray, "row column"], scale: float, box: Box) -> Iterator[str]:
    """Yield an image and the map on it.

    Args:
        source: the image as a `data:` URI.
        values: the map.
        scale: the magnitude of the darkest value.
        box: their place.
    """
    yield picture(source, box)
    yield picture(png(coloured(values, scale)), box)


def picture(source: str, box: Box) -> str:
    """Return an image, given as a `data:` URI, at a place."""
    return (
        f'<image x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'preserveAspectRatio="none" style="image-rendering:pixelated" href="{source}"/>'
    )


def png(pixels: UInt8[np.ndarray, "height width channel"]) -> str:
    """Return pixels as a `data:` URI, without loss."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def coloured(values: Float[np.ndarray, "row column"], scale: float) -> UInt8[np.ndarray, "row column 4"]:
    """Return a picture whose opacity is the magnitude, and whose colour is the sign."""
    colour = np.where(values[..., None] > 0, RAISES[1], LOWERS[1])
    opacity = 255 * OPACITY * np.abs(values[..., None]) / scale
    return np.rint(np.concatenate([colour, opacity], axis=2)).clip(0, 255).astype(np.uint8)


def largest(values: np.ndarray) -> float:
    """Return the largest magnitude; 1 if all values are 0."""
    return float(np.abs(values).max(initial=0.0)) or 1.0


def nested(svg: str, x: float, y: float) -> tuple[str, float, float]:
    """Return a drawing as a part of another one, with its width and height."""
    width, height = (float(side) for side in svg.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split())
    place = f'<svg x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" '
    return svg.replace("<svg ", place, 1), width, height


def legend(scale: float) -> str:
    """Return what the colours of a map mean."""
    return f"blue raises the metric, orange lowers it; darkest: ±{scale:.3g}"


def text(x: float, y: float, text: str, *, bold: bool = False) -> str:
    """Return a line of text."""
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="#1f2937"{weight}>{escape(text)}</text>'
