"""Example images on the page: clean and attacked side by side with their amplified difference and predictions."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ...circuits import Example, ExampleImages, SeenImage, short_names
from ..side_by_side import role
from ..wording import format_number

EXAMPLES_BYTES = 200_000
"""Maximum size of all pictures; the first image of every class and condition comes before the second ones."""

SIDE = 128
"""Maximum length in pixels of the longer side of a picture."""

QUALITY = 85
"""Quality of the WebP compression; the store has the exact pixels."""


@dataclass(frozen=True)
class Picture:
    """An image as a `data:` URI with its caption."""

    source: str
    caption: str


@dataclass(frozen=True)
class ExampleView:
    """The pictures of one image: clean, and, unless the condition is natural, changed and their difference."""

    pictures: Sequence[Picture]
    facts: str


@dataclass(frozen=True)
class ClassExamples:
    """The example images of a class under one condition."""

    title: str
    checks: str
    examples: Sequence[ExampleView]


def class_examples(found: Sequence[ExampleImages]) -> list[ClassExamples]:
    """Return the example images that fit on the page, in the order given."""
    names = short_names(images.condition.text for images in found)
    shown = _fitting(found)
    return [
        ClassExamples(_title(images, names[images.condition.text]), _checks(images), views)
        for images, views in zip(found, shown, strict=True)
        if views
    ]


def _fitting(found: Sequence[ExampleImages]) -> list[list[ExampleView]]:
    """Return the views of each class and condition that fit into `EXAMPLES_BYTES`."""
    shown: list[list[ExampleView]] = [[] for _ in found]
    room = EXAMPLES_BYTES
    for row in zip_longest(*(images.examples for images in found)):
        for images, views, example in zip(found, shown, row, strict=True):
            if example is not None:
                view = _view(example, "attacked" if role(images.condition) == "attack" else "changed")
                room -= sum(len(picture.source) for picture in view.pictures)
                if room < 0:
                    return shown
                views.append(view)
    return shown


def _title(images: ExampleImages, condition: str) -> str:
    group = f", {images.selection.group}" if images.selection.group else ""
    return f"{images.target_class.name}{group}: {condition}"


def _checks(images: ExampleImages) -> str:
    """Return what the attack and its variants reach, as a sentence; empty without checks."""
    checks = images.checks
    if not checks:
        return ""
    rates = {
        "success": "this attack",
        "one_step": "one step",
        "more_steps": "more steps",
        "more_restarts": "more restarts",
        "large": "a large budget",
    }
    listed = ", ".join(f"{name} {checks[key]:.0%}" for key, name in rates.items())
    signs = "; ".join(checks["suspicious"])
    warning = f" Signs of hidden gradients: {signs}." if signs else ""
    return f"Success on {checks['images']} discovery images: {listed}.{warning}"


def _view(example: Example, changed: str) -> ExampleView:
    """Return the pictures of an image; `changed` is the word for what the condition did to it."""
    return ExampleView(tuple(_pictures(example, changed)), _facts(example))


def _facts(example: Example) -> str:
    norms = f"; L∞ {format_number(example.linf, 3)}, L2 {format_number(example.l2, 2)}" if example.attacked else ""
    return f"{example.file}{norms}"


def _pictures(example: Example, changed: str) -> Iterator[Picture]:
    yield _seen("clean", example.clean)
    if example.attacked is not None and example.amplified is not None:
        yield _seen(changed, example.attacked)
        pixels, factor = example.amplified
        yield Picture(source_of(pixels, Image.Resampling.NEAREST), f"difference × {factor:.3g}")


def _seen(kind: str, seen: SeenImage) -> Picture:
    return Picture(source_of(seen.pixels), f"{kind}: {seen.predicted} {seen.probability:.0%}")


def source_of(
    pixels: UInt8[np.ndarray, "height width 3"], resampling: Image.Resampling = Image.Resampling.LANCZOS
) -> str:
    """Return a picture as a `data:` URI; a larger one is reduced."""
    picture, file = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((SIDE, SIDE), resampling)
    picture.save(file, "WEBP", quality=QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def left_out(found: Iterable[ExampleImages], shown: Iterable[ClassExamples]) -> int:
    """Return the number of stored images that are not shown."""
    return sum(len(images.examples) for images in found) - sum(len(one.examples) for one in shown)
