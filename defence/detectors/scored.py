"""Scored images: how suspicious each image is, whether it is flagged, and which edges speak against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...circuits import Fit, FitUse, ModelInfo
from ...circuits.kinds import is_whole
from ...errors import InputError
from ...evaluation import DEFAULT, Execution
from ...models import ViT, runs_model
from ...results import Exportable
from .fitted import FittedDetector, Measured

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ScoredImages(Exportable):
    """How suspicious images are. `score_images` returns it.

    Attributes:
        use: the detector with its parameters.
        model: the model.
        images: name of each image: its content hash, or its number from 0.
        predicted: index of the class that the model predicts.
        labels: name of each class of the model, or None if unknown.
        scores: higher for more suspicious images.
        threshold: images with a higher score are flagged; None if the detector has no threshold.
        against: name of the features that deviate furthest, per image, the furthest first; no column if the detector's
            features have no names.
        deviations: their deviation from the mean of the predicted class in the reference images, in standard
            deviations; NaN if the class has no reference images.
    """

    use: FitUse
    model: ModelInfo
    images: tuple[str, ...]
    predicted: Int[np.ndarray, "image"]
    labels: tuple[str, ...] | None
    scores: Float[np.ndarray, "image"]
    threshold: float | None
    against: tuple[tuple[str, ...], ...]
    deviations: Float[np.ndarray, "image rank"]

    @property
    def flagged(self) -> Bool[np.ndarray, "image"]:
        """Whether the score of each image is above the threshold.

        Raises:
            InputError: the detector has no threshold.
        """
        if self.threshold is None:
            raise InputError(f"detector {self.use.kind}: it has no threshold; fit it with selection=…")
        return self.scores > self.threshold

    def to_pandas(self, *, by_score: bool = True) -> pd.DataFrame:
        """Return a table: `image, predicted, score, flagged, against`, the most suspicious image first.

        `flagged` is missing without a threshold; `against` has the three features that deviate furthest, with their
        deviations, and is missing if features have no names.

        Args:
            by_score: the most suspicious image first; otherwise in the order of the images.
        """
        import pandas as pd

        frame = pd.DataFrame({"image": self.images, "predicted": self._names(), "score": self.scores})
        if self.threshold is not None:
            frame["flagged"] = self.flagged
        if self.deviations.shape[1]:
            frame["against"] = [self._text(i) for i in range(len(self.images))]
        return frame.sort_values("score", ascending=False, kind="stable", ignore_index=True) if by_score else frame

    def edges_against(self, *, flagged_only: bool = True) -> pd.DataFrame:
        """Return a table of what speaks against images: `image, predicted, rank, edge, deviation`.

        A deviation is positive if the edge's score is higher than the mean of the predicted class in the reference
        images, in standard deviations.

        Args:
            flagged_only: only the flagged images; otherwise all.

        Raises:
            InputError: only flagged images of a detector without a threshold.
        """
        import pandas as pd

        names, shown = self._names(), self.flagged if flagged_only else np.ones(len(self.images), bool)
        rows = [
            (self.images[i], names[i], rank + 1, edge, self.deviations[i, rank])
            for i in np.argsort(-self.scores, kind="stable")
            if shown[i]
            for rank, edge in enumerate(self.against[i])
        ]
        return pd.DataFrame(rows, columns=["image", "predicted", "rank", "edge", "deviation"])

    def to_fit(
        self,
        detector: Fit,
        true: Int[np.ndarray, "image"],
        condition: str,
        files: Sequence[str],
    ) -> Fit:
        """Return the value that a store keeps, which the named queries `flagged-images` and `edges-against` read.

        Args:
            detector: the stored detector.
            true: index of the true class of each image.
            condition: what was done to the images.
            files: readable name of each image.
        """
        edges = sorted({name for of in self.against for name in of})
        places = {name: i for i, name in enumerate(edges)}
        ranked = np.full(self.deviations.shape, -1, np.int64)
        for i, of in enumerate(self.against):
            ranked[i, : len(of)] = [places[name] for name in of]
        arrays = {"scores": self.scores, "predicted": self.predicted, "true": true}
        arrays |= {"edges": ranked, "deviations": self.deviations}
        classes = sorted({*self.predicted.tolist(), *true.tolist()})
        facts = {
            "detector": detector.id,
            "condition": condition,
            "threshold": self.threshold,
            "files": list(files),
            "edges": edges,
            "classes": {str(c): str(c) if self.labels is None else self.labels[c] for c in classes},
        }
        return Fit("scores", self.use, self.model, detector.dataset, self.images, arrays, facts)

    def _names(self) -> list[str]:
        labels = self.labels
        return [str(c) if labels is None else labels[c] for c in self.predicted.tolist()]

    def _text(self, image: int) -> str:
        pairs = zip(self.against[image][:3], self.deviations[image], strict=False)
        return ", ".join(f"{name} {z:+.1f}" for name, z in pairs)

    def __repr__(self) -> str:
        flagged = "" if self.threshold is None else f", {int(self.flagged.sum())} flagged"
        return f"ScoredImages({len(self.images)} images{flagged}, {self.use.text}, {self.model.name})"


@runs_model
def score_images(
    model: ViT,
    fitted: FittedDetector,
    images: Float[Tensor, "image channel height width"],
    *,
    edges: int = 10,
    hashes: Sequence[str] = (),
    execution: Execution = DEFAULT,
) -> ScoredImages:
    """Score how suspicious images are: does the model process them as it does reference images of the predicted class?

    Needs no label and no unchanged twin of an image. A score says that an image is unlike the reference images, not
    that it is an attack; someone who attacks model and detector together can find images with low scores.

    Args:
        model: the model to which the detector was fitted.
        fitted: the detector.
        images: normalised images.
        edges: how many of the edges that speak against an image are listed.
        hashes: name of each image, such as its content hash; numbers from 0 by default.
        execution: batch size and progress; progress counts images.

    Raises:
        InputError: a detector that was fitted to another model, or images that do not fit.

    Examples:
        >>> reference = source.discovery_refs()[:120]
        >>> images = model.preprocess.normalise(np.stack([source.view(ref) for ref in reference]))
        >>> fitted = cs.fit_detector(model, images[:100], None, "edges-deviation", selection=images[100:])
        >>> scored = score_images(model, fitted, -images[:4])
        >>> scored.flagged
        array([ True,  True,  True,  True])
        >>> scored.edges_against().columns.tolist()
        ['image', 'predicted', 'rank', 'edge', 'deviation']
    """
    if not is_whole(edges) or edges < 0:
        raise InputError(f"edges: expected a whole number of at least 0, got {edges!r}")
    if hashes and len(hashes) != len(images):
        raise InputError(f"hashes: expected one per image ({len(images)}), got {len(hashes)}")
    measured = fitted.measured(model, images, execution)
    against, deviations = _against(fitted, measured, edges)
    return ScoredImages(
        fitted.use,
        fitted.model,
        tuple(hashes) or tuple(map(str, range(len(images)))),
        measured.predicted,
        model.labels,
        measured.scores,
        None if fitted.calibration is None else fitted.calibration.threshold,
        against,
        deviations,
    )


def _against(
    fitted: FittedDetector, measured: Measured, count: int
) -> tuple[tuple[tuple[str, ...], ...], Float[np.ndarray, "image rank"]]:
    """Return the names and deviations of the features that deviate furthest."""
    names, compare = np.array(fitted.names, object), fitted.kind.statistic.deviations
    images = len(measured.scores)
    if compare is None or not len(names):
        return ((),) * images, np.empty((images, 0))
    deviations = compare(fitted.arrays, measured.features, np.maximum(measured.rows, 0))
    order = np.argsort(-np.abs(deviations), axis=1, kind="stable")[:, :count]
    furthest = np.take_along_axis(deviations, order, axis=1)
    furthest[measured.rows < 0] = np.nan
    listed = [() if row < 0 else tuple(names[of]) for row, of in zip(measured.rows, order, strict=True)]
    return tuple(listed), furthest
