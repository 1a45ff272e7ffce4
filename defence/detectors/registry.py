"""All detectors by key. A new detector is a feature, a statistic, or both, and an entry here."""

from __future__ import annotations

from ...circuits import FitUse
from ...circuits.kinds import Registry
from ...discovery import METHODS
from .confidence import ENERGY, MAX_SOFTMAX
from .deviation import MEAN_SQUARED
from .features.edges import EDGES, method_use
from .features.layers import LAYERS
from .features.logits import LOGITS
from .features.penultimate import PENULTIMATE
from .features.pixels import PIXELS
from .gaussian import gaussian
from .kind import DetectorKind
from .neighbours import nearest_neighbours

_MAHALANOBIS = "Lee et al. 2018, arXiv 1807.03888; covariance after Ledoit and Wolf 2004"
_NEIGHBOURS = "Sun et al. 2022, arXiv 2204.06507"


def _edge_passes(method: str, steps: int | None = None, **params: object) -> tuple[int | float, int | float]:
    forwards, backwards = METHODS[method].passes(None, **dict(method_use(method, steps).params))
    return forwards + 1, backwards  # one to predict the class


DETECTORS: Registry[DetectorKind, FitUse] = Registry(
    "detector",
    "detectors",
    FitUse,
    (
        DetectorKind(
            key="max-softmax",
            name="Highest probability",
            source="Hendrycks and Gimpel 2017, arXiv 1610.02136",
            feature=LOGITS,
            statistic=MAX_SOFTMAX,
            passes=lambda **params: (1, 0),
        ),
        DetectorKind(
            key="energy",
            name="Log-sum-exp of the logits",
            source="Liu et al. 2020, arXiv 2010.03759",
            feature=LOGITS,
            statistic=ENERGY,
            passes=lambda **params: (1, 0),
        ),
        DetectorKind(
            key="penultimate-mahalanobis",
            name="Mahalanobis distance of the pooled tokens",
            source=_MAHALANOBIS,
            feature=PENULTIMATE,
            statistic=gaussian("nearest"),
            passes=lambda **params: (2, 0),
        ),
        DetectorKind(
            key="penultimate-neighbours",
            name="Distance to the k-th nearest reference image of the pooled tokens",
            source=_NEIGHBOURS,
            feature=PENULTIMATE,
            statistic=nearest_neighbours("all"),
            passes=lambda **params: (2, 0),
        ),
        DetectorKind(
            key="layers-mahalanobis",
            name="Mahalanobis distance of class token and mean patch at all layers",
            source=_MAHALANOBIS,
            feature=LAYERS,
            statistic=gaussian("nearest"),
            passes=lambda **params: (2, 0),
        ),
        DetectorKind(
            key="edges-mahalanobis",
            name="Mahalanobis distance of the scores of edges",
            feature=EDGES,
            statistic=gaussian("predicted"),
            passes=_edge_passes,
        ),
        DetectorKind(
            key="edges-deviation",
            name="Mean squared deviation of the scores of edges, for few images of a class",
            feature=EDGES,
            statistic=MEAN_SQUARED,
            passes=_edge_passes,
        ),
        DetectorKind(
            key="edges-neighbours",
            name="Distance to the k-th nearest reference image of the scores of edges",
            source=_NEIGHBOURS,
            feature=EDGES,
            statistic=nearest_neighbours("predicted"),
            passes=_edge_passes,
        ),
        DetectorKind(
            key="pixels-mahalanobis",
            name="Mahalanobis distance of two statistics of pixels, without the model",
            feature=PIXELS,
            statistic=gaussian("nearest"),
            passes=lambda **params: (1, 0),
        ),
    ),
)
"""All detectors by key."""
