"""Detect suspicious images: fit a detector to the images of a run, store it beside the run, and score images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
from torch import Tensor

from ..bars import QUIET_S, Bar
from ..circuits import NATURAL, ClassInfo, Condition, Fit, FitUse
from ..defence import DETECTORS, FittedDetector, ScoredImages, fit_detector, score_images
from ..errors import InputError, recorded
from ..evaluation import Execution
from ..images import BadImage, ImageRef, Split, loose_files, loose_images, printable
from ..models import ViT
from ..results import Table
from ..store import FITS, PartLocations, Writer, open_store
from .choice import Choice
from .names import check_names
from .plan import Plan, make_plan
from .provenance import versions
from .spec import Spec

CHUNK = 256
"""Number of files of a folder that are scored together."""


@dataclass(frozen=True, eq=False)
class Detection:
    """A detector and what it says about images. `detect` returns it.

    Attributes:
        detector: the fitted detector, with its threshold.
        id: id of the stored detector.
        images: one row per image, the most suspicious first: `file`, `image` (its hash), for report images also `class`
            and `condition`, `predicted`, `score`, `flagged`, and `against` for detectors of edges: the three edges that
            deviate furthest from the predicted class, in standard deviations. Its notes are what the user should know
            about the detector, the model, the images and the store.
    """

    detector: FittedDetector
    id: str
    images: Table


def detect(
    spec: Spec,
    detector: str | FitUse = "edges-mahalanobis",
    *,
    folder: str | Path | None = None,
    false_alarms: float = 0.05,
    location: str | Path | None = None,
    model: ViT | None = None,
    progress: bool = False,
    wait_s: float = 0.0,
    **locations: Unpack[PartLocations],
) -> Detection:
    """Fit a detector to the unattacked discovery images of a run, and score the run's report images or other images.

    The threshold is chosen on the unattacked selection images. The detector is stored beside the run, and so are the
    scores of the report images under each condition of the spec, which the named queries `flagged-images` and
    `edges-against` show. Repeating the call stores nothing new.

    Args:
        spec: the spec of a run in the store.
        detector: a key of `DETECTORS`, or `DETECTORS.resolve(key, params)`.
        folder: score the image files of this folder, at any depth, instead of the report images; nothing is stored
            about them.
        false_alarms: the share of unattacked images that may be flagged.
        location: folder of the store; default `./circuitstore-data`.
        model: a loaded model, used instead of the model in the spec.
        progress: show a bar on stderr if it takes more than two seconds.
        wait_s: seconds to wait for another writer of the store.
        locations: `graph`, `catalog`, `account` of the store, as for `open_store`.

    Raises:
        InputError: see `make_plan` and `fit_detector`; the run is not in the store; a folder without image files.

    Examples:
        >>> from circuitstore.ingest import index
        >>> _ = index(spec, location=folder, progress=False)
        >>> found = detect(spec, "max-softmax", location=folder, false_alarms=0.2)
        >>> found.images.frame.columns.tolist()
        ['file', 'image', 'class', 'condition', 'predicted', 'score', 'flagged']
    """
    unread: list[str] = []
    with recorded() as warned:
        plan = make_plan(spec, model)
        files = None if folder is None else loose_files(Path(folder))
        with open_store(location, **locations) as store, store.writer(wait_s=wait_s) as writer:
            if spec.name not in set(store.runs()["run"]):
                raise InputError(f"run {spec.name!r}: it is not in the store; index its spec first")
            named, images = check_names(store, plan.model, plan.source), _RunImages(plan)
            use = DETECTORS.resolve(detector) if isinstance(detector, str) else detector
            fitted = _fitted(images, use, false_alarms, progress)
            fit = fitted.to_fit(plan.source.name)
            _store(writer, spec.name, fit, plan.model)
            if folder is None or files is None:
                frame = _report(images, fitted, fit, writer, progress)
            else:
                frame, unread = _folder(plan, fitted, Path(folder), files, progress)
    notes = (*plan.source.notices, *plan.notices, *warned, *named, *unread, *writer.notices)
    frame = frame.sort_values("score", ascending=False, kind="stable", ignore_index=True)
    return Detection(fitted, fit.id, Table(frame, (*fitted.notes(), *notes), _facts(fitted, fit, frame)))


class _RunImages:
    """The images of a plan, by split and condition, each class once."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.choice = plan, Choice(plan)

    def refs(self, condition: Condition | None, split: Split) -> dict[ClassInfo, list[ImageRef]]:
        """Return the images of a split by class.

        Args:
            condition: that of their items; None for natural items, or for all items of a class without natural ones.
            split: the split.
        """
        items = [planned.item for planned in self.plan.items]
        natural = {item.target_class for item in items if item.condition.kind == NATURAL}
        found: dict[ClassInfo, dict[ImageRef, None]] = {}
        for item in items:
            cls = item.target_class
            wanted = item.condition == condition
            if condition is None:
                wanted = item.condition.kind == NATURAL or cls not in natural
            if wanted:
                found.setdefault(cls, {}).update(dict.fromkeys(getattr(self.choice.of_item(item), split)))
        return {cls: list(refs) for cls, refs in found.items() if refs}

    def normalised(self, refs: dict[ClassInfo, list[ImageRef]], condition: Condition | None = None) -> Tensor:
        """Return the images as the model reads them, under a condition."""
        if not refs:
            raise InputError(f"{self.plan.spec.origin}: no image qualifies; see circuitstore preview")
        views = [self.choice.predictions.views(cls, of, condition) for cls, of in refs.items()]
        return self.plan.model.preprocess.normalise(np.concatenate(views))


def _labels(refs: dict[ClassInfo, list[ImageRef]]) -> list[int]:
    return [cls.class_index for cls, of in refs.items() for _ in of]


def _hashes(refs: dict[ClassInfo, list[ImageRef]]) -> list[str]:
    return [ref.hash for of in refs.values() for ref in of]


@contextmanager
def _execution(plan: Plan, count: int, what: str, progress: bool) -> Iterator[Execution]:
    late: dict[str, Any] = {"delay": QUIET_S, "leave": False, "dynamic_ncols": True}
    with Bar(total=count, unit="image", desc=what, disable=not progress, **late) as bar:
        yield Execution(plan.spec.batch_size, progress=lambda done, total: bar.reach(done))


def _fitted(images: _RunImages, use: FitUse, false_alarms: float, progress: bool) -> FittedDetector:
    model, reference, selection = images.plan.model, images.refs(None, "discovery"), images.refs(None, "selection")
    hashes = _hashes(reference)
    with _execution(images.plan, len(hashes), "fitting", progress) as execution:
        pixels = images.normalised(reference)
        fitted = fit_detector(model, pixels, _labels(reference), use, hashes=hashes, execution=execution)
    with _execution(images.plan, len(_hashes(selection)), "calibrating", progress) as execution:
        return fitted.calibrated(model, images.normalised(selection), false_alarms, execution=execution)


def _store(writer: Writer, run: str, fit: Fit, model: ViT) -> None:
    """Store a fit that a run keeps, unless it is stored."""
    if writer.keep(run, FITS, [fit.id]):
        described = {"versions": dict(versions(model))}
        writer.put(
            Fit(fit.thing, fit.use, fit.model, fit.dataset, fit.images, fit.arrays, fit.facts, described), run=run
        )


def _report(images: _RunImages, fitted: FittedDetector, fit: Fit, writer: Writer, progress: bool) -> pd.DataFrame:
    """Score and store the report images under each condition of the spec."""
    frames = []
    for condition in dict.fromkeys(planned.item.condition for planned in images.plan.items):
        refs = images.refs(condition, "report")
        if not refs:
            continue
        hashes, true = _hashes(refs), np.array(_labels(refs))
        files = [printable(ref.origin) for of in refs.values() for ref in of]
        with _execution(images.plan, len(hashes), condition.text, progress) as execution:
            pixels = images.normalised(refs, condition)
            scored = score_images(images.plan.model, fitted, pixels, hashes=hashes, execution=execution)
        _store(writer, images.plan.spec.name, scored.to_fit(fit, true, condition.text, files), images.plan.model)
        about = {"class": [cls.name for cls, of in refs.items() for _ in of], "condition": condition.text}
        frames.append(_frame(scored, files, about))
    return pd.concat(frames, ignore_index=True)


def _folder(
    plan: Plan, fitted: FittedDetector, folder: Path, files: Sequence[Path], progress: bool
) -> tuple[pd.DataFrame, list[str]]:
    """Score the images of a folder, and return the notes about files that cannot be read."""
    frames, unread = [], []
    late: dict[str, Any] = {"delay": QUIET_S, "leave": False, "dynamic_ncols": True}
    with Bar(total=len(files), unit="image", desc="scoring", disable=not progress, **late) as bar:
        for start in range(0, len(files), CHUNK):
            read = list(loose_images(plan.model, folder, list(files[start : start + CHUNK])))
            unread += [f"left out: {image}" for image in read if isinstance(image, BadImage)]
            usable = [image for image in read if not isinstance(image, BadImage)]
            if usable:
                pixels = plan.model.preprocess.normalise(np.stack([image.view for image in usable]))
                hashes = [image.hash for image in usable]
                execution = Execution(plan.spec.batch_size)
                scored = score_images(plan.model, fitted, pixels, hashes=hashes, execution=execution)
                frames.append(_frame(scored, [image.file for image in usable], {}))
            bar.update(len(read))
    if not frames:
        raise InputError(f"{printable(folder)}: none of its {len(files)} image files can be read; {unread[0]}")
    return pd.concat(frames, ignore_index=True), unread


def _frame(scored: ScoredImages, files: Sequence[str], about: dict[str, Any]) -> pd.DataFrame:
    """Return the rows of scored images in their own order, with their files and what is known about them."""
    frame = scored.to_pandas(by_score=False)
    frame.insert(0, "file", list(files))
    for place, (name, values) in enumerate(about.items()):
        frame.insert(2 + place, name, values)
    return frame


def _facts(fitted: FittedDetector, fit: Fit, frame: pd.DataFrame) -> dict[str, str]:
    chosen = fitted.calibration
    assert chosen is not None
    fitted_to = f", fitted to {len(fitted.images)} images" if fitted.images else ""
    facts = {
        "detector": f"{fitted.use.text}{fitted_to}; stored as {fit.id[:12]}",
        "threshold": f"{chosen.threshold:.6g}, for at most {chosen.false_alarms:.3g} false alarms; it flags "
        f"{chosen.flagged:.3f} of {chosen.n_images} selection images",
    }
    groups = frame.groupby("condition", sort=False) if "condition" in frame else [("", frame)]
    counts = [f"{name} {np.count_nonzero(of['flagged'])} of {len(of)}".strip() for name, of in groups]
    unknown = np.count_nonzero(np.isinf(frame["score"]))
    if unknown:
        facts["infinite scores"] = f"{unknown} images, predicted as classes without reference images"
    return {**facts, "flagged": ", ".join(counts)}
