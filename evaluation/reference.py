"""The run whose values corrupted edges carry: of corrupted images, or with constant senders."""

from __future__ import annotations

from ..circuits.recipe import DIRECTIONS
from ..errors import InputError, unknown
from ..models import Activations, ConstantOutputs, ViT, capture, constant_run
from .pairs import ImagePairs

NO_CORRUPTED_RUN = (
    "denoising restores clean values in the run of a corrupted image, and a corruption that replaces senders' outputs "
    "by constants has no image; use 'noising', or a corruption of images"
)
"""Why there is no denoising with constant senders."""


def reference(model: ViT, pairs: ImagePairs) -> Activations:
    """Return the run whose values corrupted edges carry.

    Raises:
        InputError: constant outputs of another model.

    Examples:
        >>> logits = reference(model, pairs).logits
        >>> torch.allclose(logits, model.logits(pairs.corrupted), atol=1e-5)
        True
    """
    if isinstance(pairs.corruption, ConstantOutputs):
        return constant_run(model, pairs.corruption, len(pairs))
    return capture(model, pairs.corruption)


def check_direction(direction: str, pairs: ImagePairs) -> None:
    """Check that a direction exists and is possible for pairs.

    Raises:
        InputError: an unknown direction, or `denoising` without corrupted images.
    """
    if direction not in DIRECTIONS:
        raise unknown("direction", direction, DIRECTIONS)
    if direction == "denoising" and not pairs.has_images:
        raise InputError(f"direction: {NO_CORRUPTED_RUN}")
