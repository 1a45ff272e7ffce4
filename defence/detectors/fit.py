"""Fitting a detector to reference images, and choosing its threshold on selection images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...circuits import Circuit, FitUse, Form
from ...errors import InputError
from ...evaluation import DEFAULT, Execution
from ...evaluation.pairs import Indices, check_images, checked_classes
from ...models import ViT, runs_model
from .calibration import check_share
from .classes import within_deviation
from .features.edges import EDGES
from .fitted import FittedDetector, rows_of
from .kind import DetectorKind, Features, own_params
from .registry import DETECTORS
from .seen import Seen

VARIES = 1e-6
"""Smallest standard deviation within classes, as a share of its largest magnitude, of a feature that is used."""

Images = Float[Tensor, "image channel height width"]


@runs_model
def fit_detector(
    model: ViT,
    images: Images,
    labels: Indices | None = None,
    detector: str | FitUse = "edges-mahalanobis",
    *,
    selection: Float[Tensor, "selected channel height width"] | None = None,
    false_alarms: float = 0.05,
    circuits: Sequence[Circuit] = (),
    hashes: Sequence[str] = (),
    execution: Execution = DEFAULT,
) -> FittedDetector:
    """Fit a detector of suspicious images to reference images, which it treats as not suspicious.

    Features that do not vary within any class of the reference images are dropped: a single deviation of such a feature
    would decide, which finds any change of a constant background and nothing else.

    Args:
        model: the model whose runs are observed.
        images: the reference images, normalised.
        labels: their true classes; images that the model misclassifies are left out. Without labels, each image counts
            for the class that the model predicts.
        detector: a key of `DETECTORS`, or `DETECTORS.resolve(key, params)`.
        selection: other images that are not suspicious, on which the threshold is chosen; None for no threshold.
        false_alarms: the share of images like these that may be flagged.
        circuits: for detectors of edges, the circuits whose edges are used; all edges by default.
        hashes: SHA-256 (hex) of the content of each reference image, which a stored detector names.
        execution: batch size and progress; progress counts images, first those of the reference.

    Returns:
        The fitted detector: its scores are higher for more suspicious images.

    Raises:
        InputError: images, labels or parameters that do not fit; a class with a single reference image; no feature that
            varies; too few selection images for the share of false alarms; circuits of another graph, or for a detector
            that does not observe edges.

    Examples:
        >>> reference = source.discovery_refs()[:60]
        >>> images = model.preprocess.normalise(np.stack([source.view(ref) for ref in reference]))
        >>> fitted = fit_detector(model, images[:40], None, "energy", selection=images[40:])
        >>> fitted.calibration.n_images, fitted.scores(model, images[:3]).shape
        (20, (3,))
    """
    check_images("images", images, model)
    check_share(false_alarms)
    use = DETECTORS.resolve(detector) if isinstance(detector, str) else detector
    kind = DETECTORS[use.kind]
    chosen = _edges_of(model, kind, use, circuits)
    if hashes and len(hashes) != len(images):
        raise InputError(f"hashes: expected one per image ({len(images)}), got {len(hashes)}")
    truth = None if labels is None else checked_classes("labels", labels, len(images), model).numpy()
    seen = Seen(model, images, execution)
    fitted = _fit(kind, use, seen, truth, chosen, tuple(hashes))
    if selection is None:
        return fitted
    return fitted.calibrated(model, selection, false_alarms, execution=execution)


def _fit(
    kind: DetectorKind,
    use: FitUse,
    seen: Seen,
    truth: Int[np.ndarray, "image"] | None,
    chosen: Bool[np.ndarray, "feature"] | None,
    hashes: tuple[str, ...],
) -> FittedDetector:
    """Return the detector without a threshold."""
    if kind.statistic.fit is None:
        return FittedDetector(use, seen.model.info, {})
    correct = np.ones(len(seen.images), bool) if truth is None else seen.predicted == truth
    classes = _classes(seen, correct)
    seen_as, params = Seen(seen.model, seen.images[correct], seen.execution), own_params(kind.feature, use)
    rows = rows_of(seen_as.predicted, classes)
    base = kind.feature.base(seen_as, **params)
    features = kind.feature.read(seen_as, base, **params)
    kept = _varying(features, rows)
    dropped = int((~kept).sum())
    if kind.feature.choose is not None:
        kept &= kind.feature.choose(features, rows, **params)
    if chosen is not None:
        kept &= chosen
    if not kept.any():
        raise InputError(
            f"detector {use.kind}: none of its {len(kept)} features varies over the reference images of a class; give "
            "images that differ"
        )
    statistic = kind.statistic.fit(features[:, kept], rows, **own_params(kind.statistic, use))
    facts: dict[str, int | float] = {
        "images": int(correct.sum()),
        "misclassified": int((~correct).sum()),
        "features": int(kept.sum()),
        "dropped": dropped,
    }
    if "shrinkage" in statistic:
        facts["shrinkage"] = float(statistic["shrinkage"])
    used = tuple(hash_ for hash_, is_used in zip(hashes, correct, strict=True) if is_used) if hashes else ()
    return FittedDetector(use, seen.model.info, {**base, "classes": classes, "kept": kept, **statistic}, used, facts)


def _classes(seen: Seen, correct: Bool[np.ndarray, "image"]) -> Int[np.ndarray, "class"]:
    """Return the classes of the reference images, at least two images each."""
    classes, counts = np.unique(seen.predicted[correct], return_counts=True)
    single = [_class_name(seen, int(c)) for c in classes[counts < 2]]
    if single or not len(classes):
        got = f"one image of {', '.join(single[:10])}" if single else "none"
        raise InputError(
            "images: expected at least two reference images of each class, classified correctly (or, without labels, "
            f"predicted as it), got {got}; add images or leave the class out"
        )
    return classes


def _class_name(seen: Seen, index: int) -> str:
    return str(index) if seen.model.labels is None else repr(seen.model.labels[index])


def _varying(features: Features, rows: Int[np.ndarray, "image"]) -> Bool[np.ndarray, "feature"]:
    return within_deviation(features, rows) > VARIES * np.abs(features).max(axis=0)


def _edges_of(
    model: ViT, kind: DetectorKind, use: FitUse, circuits: Sequence[Circuit]
) -> Bool[np.ndarray, "feature"] | None:
    """Return which edges are in one of the circuits; None without circuits."""
    if not circuits:
        return None
    if kind.feature is not EDGES:
        raise InputError(f"circuits: detector {use.kind!r} does not observe edges; leave out circuits")
    form: Form = use["form"]  # pyright: ignore[reportAssignmentType]
    graph = model.graph(form)
    for circuit in circuits:
        if circuit.universe != graph:
            raise InputError(
                f"circuits: expected circuits over the {form} form of {model.name} ({graph.n_edges} edges), got one "
                f"over {circuit.universe!r}; take circuits of this model, or set the detector's form"
            )
    return np.any([circuit.members for circuit in circuits], axis=0)
