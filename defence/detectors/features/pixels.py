"""Two statistics of pixels, which know nothing of the model: what any detector has to be compared with.

The mean difference between neighbouring pixels, and the share of neighbours that are equal. On drawings with a flat
background, noise of any kind changes both.
"""

from __future__ import annotations

import numpy as np

from ..kind import Feature, Features
from ..seen import Seen


def _read(seen: Seen, base: object) -> Features:
    views = seen.model.preprocess.views(seen.images).astype(np.int16)
    differences = [np.abs(np.diff(views, axis=axis)).reshape(len(views), -1) for axis in (1, 2)]
    both = np.concatenate(differences, axis=1)
    return np.stack([both.mean(axis=1), (both == 0).mean(axis=1)], axis=1)


PIXELS = Feature(read=_read, names=lambda model: ("difference of neighbours", "share of equal neighbours"))
"""Mean difference of neighbouring pixels, and the share that are equal."""
