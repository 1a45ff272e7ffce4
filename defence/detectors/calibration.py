"""The threshold of a detector, chosen on images that are not suspicious, at a share of false alarms.

The threshold is the k-th smallest of the n scores, k = ⌈(1 − α)(n + 1)⌉. If further images come from the same
distribution as these, at most a share α of them scores higher, in expectation: Vovk et al. 2005, Algorithmic Learning
in a Random World; for detectors Bates et al. 2023, arXiv 2104.08279.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...circuits.kinds import is_number
from ...errors import InputError


@dataclass(frozen=True)
class Calibration:
    """A threshold and how it was chosen.

    Attributes:
        threshold: images with a higher score are flagged.
        false_alarms: the share of false alarms that was requested.
        flagged: share of the selection images that it flags.
        n_images: number of selection images.
    """

    threshold: float
    false_alarms: float
    flagged: float
    n_images: int


def calibrate(scores: Float[np.ndarray, "image"], false_alarms: float) -> Calibration:
    """Return the threshold that flags at most a share of images like these.

    Args:
        scores: scores of images that are not suspicious, other than the reference images.
        false_alarms: the share.

    Raises:
        InputError: a share outside (0, 1), too few images for it, or a threshold that would be infinite.

    Examples:
        >>> calibrate(np.arange(99.0), 0.05)
        Calibration(threshold=94.0, false_alarms=0.05, flagged=0.0404..., n_images=99)
    """
    check_share(false_alarms)
    n = len(scores)
    check_enough(n, false_alarms)
    place = math.ceil((1 - false_alarms) * (n + 1) - 1e-9)
    threshold = float(np.sort(scores)[place - 1])
    if not math.isfinite(threshold):
        raise InputError(
            f"selection: {int(np.isinf(scores).sum())} of {n} images are predicted as classes without reference "
            "images, more than the false alarms allow; fit the detector on images of these classes, or leave these "
            "images out"
        )
    return Calibration(threshold, float(false_alarms), float((scores > threshold).mean()), n)


def check_share(false_alarms: object) -> None:
    """Check that a share of false alarms lies between 0 and 1.

    Raises:
        InputError: it does not.
    """
    if not is_number(false_alarms) or not 0 < false_alarms < 1:
        raise InputError(f"false_alarms: expected a share above 0 and below 1, such as 0.05, got {false_alarms!r}")


def check_enough(count: int, false_alarms: float) -> None:
    """Check that there are enough selection images for a share of false alarms.

    Raises:
        InputError: there are not.
    """
    needed = math.ceil(1 / false_alarms - 1e-9) - 1
    if count < needed:
        raise InputError(
            f"false_alarms: {false_alarms:g} needs at least {needed} selection images, got {count}; give more images "
            "or allow more false alarms"
        )
