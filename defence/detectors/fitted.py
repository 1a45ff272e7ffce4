"""A fitted detector: frozen arrays from which the score of an image follows, for one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ...circuits import Fit, FitUse, ModelInfo
from ...errors import InputError
from ...evaluation import DEFAULT, Execution
from ...evaluation.pairs import check_images
from ...models import ViT, runs_model
from .calibration import Calibration, calibrate, check_share
from .kind import DetectorKind, Features, own_params
from .registry import DETECTORS
from .seen import Seen


@dataclass(frozen=True, eq=False)
class FittedDetector:
    """A detector that was fitted to reference images of one model. `fit_detector` returns it.

    Attributes:
        use: the detector with its parameters.
        model: the model.
        arrays: the fitted numbers by name: `kept` says which features are used, `classes` which classes have reference
            images; the others belong to the feature and the statistic.
        images: content hashes of the reference images; empty if they have none.
        facts: numbers that describe the fit (JSON values): `images`, `misclassified` (left out), `features`, `dropped`
            (without variance in the reference images), `shrinkage` (of a covariance).
        calibration: the threshold; None if there were no selection images.
    """

    use: FitUse
    model: ModelInfo
    arrays: Mapping[str, np.ndarray]
    images: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None

    @property
    def id(self) -> str:
        """Hash of everything that decides its scores and its threshold, see `gated`."""
        return self.to_fit("").id

    @property
    def threshold(self) -> float:
        """Images with a higher score are flagged.

        Raises:
            InputError: the detector was fitted without selection images.
        """
        if self.calibration is None:
            raise InputError(
                f"detector {self.use.kind}: it has no threshold, because it was fitted without selection images; fit "
                "it with selection=…"
            )
        return self.calibration.threshold

    @property
    def kind(self) -> DetectorKind:
        """The kind of detector.

        Raises:
            InputError: a kind that is not installed, or another version of it.
        """
        kind = DETECTORS[self.use.kind]
        if kind.version != self.use.version:
            raise InputError(
                f"detector {self.use.kind}: fitted with version {self.use.version}, and version {kind.version} is "
                "installed; fit it again"
            )
        return kind

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features that are used; empty if they have none."""
        feature = self.kind.feature
        if feature.names is None or "kept" not in self.arrays:
            return ()
        names = feature.names(self.model, **own_params(feature, self.use))
        return tuple(name for name, kept in zip(names, self.arrays["kept"], strict=True) if kept)

    def scores(
        self, model: ViT, images: Float[Tensor, "image channel height width"], *, execution: Execution = DEFAULT
    ) -> Float[np.ndarray, "image"]:
        """Return how suspicious each image is: higher is more suspicious.

        Raises:
            InputError: another model, or images that do not fit it.
        """
        return self.measured(model, images, execution).scores

    def calibrated(
        self,
        model: ViT,
        selection: Float[Tensor, "selected channel height width"],
        false_alarms: float = 0.05,
        *,
        execution: Execution = DEFAULT,
    ) -> FittedDetector:
        """Return the same detector with a threshold, chosen on images that are not suspicious, see `calibrate`.

        Raises:
            InputError: another model, images that do not fit it, or too few of them for the share of false alarms.
        """
        check_share(false_alarms)
        scores = self.scores(model, selection, execution=execution)
        return replace(self, calibration=calibrate(scores, false_alarms))

    def to_fit(self, dataset: str) -> Fit:
        """Return the value that a store keeps.

        Args:
            dataset: name of the data set of the reference images.
        """
        calibration = None if self.calibration is None else asdict(self.calibration)
        facts = {**self.facts, "calibration": calibration}
        return Fit("detector", self.use, self.model, dataset, self.images, self.arrays, facts)

    @classmethod
    def of_fit(cls, fit: Fit) -> FittedDetector:
        """Return the detector that a store keeps; its scores are equal bit by bit.

        Raises:
            InputError: the fit is no detector.
        """
        if fit.thing != "detector":
            raise InputError(f"fit {fit.id[:12]}: expected a detector, got {fit.thing}")
        facts = dict(fit.facts)
        calibration = facts.pop("calibration")
        chosen = None if calibration is None else Calibration(**calibration)
        return cls(fit.use, fit.model, fit.arrays, fit.images, facts, chosen)

    def measured(
        self, model: ViT, images: Float[Tensor, "image channel height width"], execution: Execution = DEFAULT
    ) -> Measured:
        """Return features and scores of images.

        Raises:
            InputError: another model, or images that do not fit it.
        """
        return _measured(model, self, images, execution)

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know about the fit, one sentence per fact."""
        return tuple(_notes(self))

    def __repr__(self) -> str:
        at = "no threshold" if self.calibration is None else f"threshold {self.calibration.threshold:.4g}"
        return f"FittedDetector({self.use.text}, {self.model.name}, {self.facts.get('images', 0)} images, {at})"


@dataclass(frozen=True, eq=False)
class Measured:
    """Features and scores of images.

    Attributes:
        predicted: predicted class of each image.
        features: the features that are used.
        rows: row of each predicted class in the detector's arrays; −1 for a class without reference images.
        scores: how suspicious each image is; infinite if the score depends on the predicted class and this class has no
            reference images.
    """

    predicted: Int[np.ndarray, "image"]
    features: Features
    rows: Int[np.ndarray, "image"]
    scores: Float[np.ndarray, "image"]


@runs_model
def _measured(model: ViT, fitted: FittedDetector, images: Tensor, execution: Execution) -> Measured:
    check_model(fitted, model)
    check_images("images", images, model)
    kind, seen = fitted.kind, Seen(model, images, execution)
    features = kind.feature.read(seen, fitted.arrays, **own_params(kind.feature, fitted.use))
    if "kept" in fitted.arrays:
        features = features[:, fitted.arrays["kept"]]
    rows = rows_of(seen.predicted, fitted.arrays.get("classes", np.arange(model.n_classes)))
    params = own_params(kind.statistic, fitted.use)
    scores = np.array(kind.statistic.score(fitted.arrays, features, np.maximum(rows, 0), **params), float)
    if kind.statistic.by_class(**params):
        scores[rows < 0] = np.inf
    return Measured(seen.predicted, features, rows, scores)


def rows_of(predicted: Int[np.ndarray, "image"], classes: Int[np.ndarray, "class"]) -> Int[np.ndarray, "image"]:
    """Return the place of each class in a sorted list of classes; −1 if it is not in the list."""
    places = np.searchsorted(classes, predicted)
    found = classes[np.minimum(places, len(classes) - 1)] == predicted
    return np.where(found, places, -1)


def check_model(fitted: FittedDetector, model: ViT) -> None:
    """Check that a detector was fitted to this model.

    Raises:
        InputError: it was fitted to another one.
    """
    if model.fingerprint != fitted.model.id:
        raise InputError(
            f"model: the detector {fitted.use.kind} was fitted to {fitted.model.name} ({fitted.model.id[:12]}), got "
            f"{model.name} ({model.fingerprint[:12]}); fit one to this model"
        )


def _notes(fitted: FittedDetector) -> list[str]:
    facts, notes = fitted.facts, []
    if facts.get("misclassified"):
        notes.append(f"{facts['misclassified']} reference images that the model misclassifies were left out")
    if facts.get("dropped"):
        notes.append(
            f"{facts['dropped']} of {facts['dropped'] + facts['features']} features do not vary over the reference "
            "images of a class and were dropped"
        )
    if "shrinkage" in facts:
        fewer = facts["images"] <= facts["features"]
        why = "; there are no more images than features, so the covariance has no inverse without it" if fewer else ""
        notes.append(
            f"covariance of {facts['features']} features from {facts['images']} images, shrunk by "
            f"{facts['shrinkage']:.3f}{why}"
        )
    return notes
