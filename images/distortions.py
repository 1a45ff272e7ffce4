"""Conditions that distort images without following a model: common and geometric changes, and random signs.

Severities 1 to 5 of noise, blur, contrast, brightness and JPEG are those of Hendrycks and Dietterich (2019); lengths in
pixels of their images of 224 pixels scale with the height of the image. Those of shift, scale and rotation are ours.
Pixels that come from outside the image repeat its border.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ..circuits import Condition
from ..circuits.kinds import whole
from ..errors import InputError
from .batch import Batch, with_draws
from .blur import blur
from .condition_kind import ConditionKind, Views
from .noise import add_normal, add_signs, to_8_bits
from .params import budget, number, pixels
from .seeds import Draws

View = UInt8[np.ndarray, "height width 3"]
Distortion = Callable[[View, float, Draws], View]
"""The distorted image, given the image, the strength and random choices."""


def _noisy(view: View, std: float, draws: Draws) -> View:
    return add_normal(view, std, draws)


def _blurred(view: View, radius: float, draws: Draws) -> View:
    """Blur with a standard deviation of `radius` pixels of 224, and at least 0.5 to 1 pixels.

    On images of 32 pixels this is about the scale of the same authors for such images, 0.4 to 1 pixels.
    """
    return blur(view[None], max(radius * view.shape[0] / 224, 0.4 + radius / 10))[0]


def _less_contrast(view: View, share: float, draws: Draws) -> View:
    """Keep a share of each channel's deviation from its mean over the image."""
    mean = view.sum((0, 1)) / (view.shape[0] * view.shape[1])
    return to_8_bits((view - mean) * share + mean)


def _brighter(view: View, share: float, draws: Draws) -> View:
    """Raise the brightest channel of each pixel by a share of the range, and keep hue and saturation."""
    levels = view.astype(np.int64)
    old = levels.max(2, keepdims=True)
    new = (old + round(255 * share)).clip(max=255)
    return np.where(old == 0, new, (2 * levels * new + old) // (2 * old.clip(min=1))).astype(np.uint8)


def _compressed(view: View, quality: float, draws: Draws) -> View:
    """Save as JPEG and read again."""
    file = BytesIO()
    Image.fromarray(view).save(file, "JPEG", quality=int(quality))
    return np.array(Image.open(file))


def _shifted(view: View, distance: float, draws: Draws) -> View:
    """Move by `distance` pixels of 224 to the left, right, top or bottom."""
    steps = max(1, round(distance * view.shape[0] / 224))
    down, right = ((0, -1), (0, 1), (-1, 0), (1, 0))[draws.below(4)]
    rows, columns = (np.arange(size) - steps * by for size, by in zip(view.shape[:2], (down, right), strict=True))
    return view[rows.clip(0, len(rows) - 1)][:, columns.clip(0, len(columns) - 1)]


def _shrunk(view: View, share: float, draws: Draws) -> View:
    """Shrink to a share of the height and width, in the middle."""
    height, width = (max(1, round(size * share)) for size in view.shape[:2])
    small = np.array(Image.fromarray(view).resize((width, height), Image.Resampling.BICUBIC))
    free = view.shape[0] - height, view.shape[1] - width
    return np.pad(small, [(f // 2, f - f // 2) for f in free] + [(0, 0)], mode="edge")


def _rotated(view: View, degrees: float, draws: Draws) -> View:
    """Rotate about the middle, to the left or to the right."""
    height, width = view.shape[:2]
    border = math.ceil(max(height, width) / 2)
    large = np.pad(view, [(border, border), (border, border), (0, 0)], mode="edge")
    angle = degrees if draws.below(2) else -degrees
    turned = np.array(Image.fromarray(large).rotate(angle, Image.Resampling.BILINEAR))
    return turned[border : border + height, border : border + width]


def _distortion(key: str, name: str, quantity: str, distort: Distortion, strengths: tuple[float, ...]) -> ConditionKind:
    """Return the kind of a distortion, with the quantity that each severity sets."""

    def apply(condition: Condition, batch: Batch) -> Views:
        strength = strengths[int(number(condition["severity"])) - 1]
        return np.stack([distort(view, strength, draws) for view, draws in with_draws(batch, condition)])

    listed = ", ".join(f"{s:g}" for s in strengths)
    return ConditionKind(
        key=key,
        name=f"{name}; {quantity} at severities 1 to 5: {listed}",
        apply=apply,
        params={"severity": whole(3, 1, len(strengths))},
        role=lambda condition: "distortion",
    )


def _random_signs(condition: Condition, batch: Batch) -> Views:
    """Move every channel of every pixel up or down by the budget, rounded down to 8 bits."""
    levels = int(pixels(condition["eps"]) * 255 + 1e-6)
    if levels == 0:
        raise InputError(f"{condition.text}: images have 8 bits, so eps has to be at least 1/255")
    return np.stack([add_signs(view, levels, draws) for view, draws in with_draws(batch, condition)])


def _controls(condition: Condition, attack: Condition) -> bool:
    """Return whether an attack has the same budget, of each pixel."""
    params = dict(attack.params)
    return params.get("norm") == "linf" and params.get("eps") == condition["eps"]


DISTORTIONS = (
    _distortion(
        "gaussian-noise",
        "normal noise on every pixel",
        "standard deviation in pixels of [0, 1]",
        _noisy,
        (0.08, 0.12, 0.18, 0.26, 0.38),
    ),
    _distortion(
        "blur", "the image blurred by a Gaussian", "radius in pixels of 224", _blurred, (1.0, 2.0, 3.0, 4.0, 6.0)
    ),
    _distortion("contrast", "less contrast", "share that is kept", _less_contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    _distortion("brightness", "brighter pixels", "share of the range added", _brighter, (0.1, 0.2, 0.3, 0.4, 0.5)),
    _distortion("jpeg", "the image compressed as JPEG", "quality", _compressed, (25.0, 18.0, 15.0, 10.0, 7.0)),
    _distortion("shift", "the image moved to a random side", "pixels of 224", _shifted, (7.0, 14.0, 21.0, 28.0, 42.0)),
    _distortion("scale", "the image shrunk", "share of the size that is kept", _shrunk, (0.9, 0.8, 0.7, 0.6, 0.5)),
    _distortion("rotation", "the image rotated to a random side", "degrees", _rotated, (5.0, 10.0, 15.0, 20.0, 30.0)),
    ConditionKind(
        key="random-signs",
        name="every channel of every pixel moved up or down by the budget `eps`: the control of gradient attacks",
        apply=_random_signs,
        role=lambda condition: "control",
        controls=_controls,
        params={"eps": budget()},
    ),
)
"""Common and geometric distortions, and random signs."""
