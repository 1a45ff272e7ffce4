"""Named queries about images that detectors scored, which the graph does not contain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..circuits import Fit
from ..errors import InputError
from ..results import Table
from .headers import columns_of

if TYPE_CHECKING:
    from ..store import Store


def flagged_images(store: Store, values: Mapping[str, Any]) -> Table:
    """Images that detectors flagged as suspicious: their score is above the threshold.

    Parameters:
      detector: string = ""; kind of the detector, or the beginning of its id; empty: all
      on_condition: string = ""; what was done to the images, or the beginning of it; empty: everything
    Columns:
      detector: kind of the detector
      detector_id: id of the stored detector
      model: name of the model
      condition: what was done to the images
      image: SHA-256 of the image's content
      file: name of its file
      true: name of the true class
      predicted: name of the class that the model predicts
      score: how suspicious the image is; infinite if the predicted class has no reference images
      threshold: images with a higher score are flagged
    """
    rows = [
        {**row, "threshold": fit.facts["threshold"]}
        for fit in _scored(store, values)
        for row, i in _images(fit)
        if row["score"] > fit.facts["threshold"]
    ]
    frame = pd.DataFrame(rows, columns=columns_of(flagged_images))
    by = ["detector", "detector_id", "condition", "score"]
    return Table(frame.sort_values(by, ascending=[True, True, True, False], kind="stable", ignore_index=True))


def edges_against(store: Store, values: Mapping[str, Any]) -> Table:
    """Edges that speak against an image: their scores deviate furthest from those of the predicted class.

    Parameters:
      image: string; SHA-256 of the image's content, or the beginning of it
      detector: string = ""; kind of the detector, or the beginning of its id; empty: all
      on_condition: string = ""; what was done to the images, or the beginning of it; empty: everything
    Columns:
      detector: kind of the detector
      detector_id: id of the stored detector
      model: name of the model
      condition: what was done to the image
      image: SHA-256 of the image's content
      file: name of its file
      true: name of the true class
      predicted: name of the class that the model predicts
      score: how suspicious the image is
      rank: 1 for the edge that deviates furthest
      edge: name of the edge
      deviation: difference of the edge's score from the mean of the predicted class, in standard deviations
    """
    found = [
        ({**row, "rank": rank + 1, "edge": fit.facts["edges"][edge], "deviation": float(z)}, row["image"])
        for fit in _scored(store, values)
        for row, i in _images(fit)
        if str(row["image"]).startswith(str(values["image"]))
        for rank, (edge, z) in enumerate(zip(fit.arrays["edges"][i], fit.arrays["deviations"][i], strict=True))
        if edge >= 0
    ]
    if len({image for _, image in found}) > 1:
        raise InputError(
            f"image: {values['image']!r} is the beginning of several images: "
            f"{', '.join(sorted({image[:16] for _, image in found})[:5])}; give more digits"
        )
    frame = pd.DataFrame([row for row, _ in found], columns=columns_of(edges_against))
    notes = () if found else ("no stored score of this image by a detector that names edges; see circuitstore detect",)
    return Table(frame, notes)


def _scored(store: Store, values: Mapping[str, Any]) -> Iterator[Fit]:
    """Yield the stored scores of the chosen detectors, by detector and condition."""
    rows = store.fits(values.get("run"), thing="scores")
    for id in rows.sort_values(["kind", "id"])["id"]:
        fit = store.fit(str(id))
        wanted, condition = str(values["detector"]), str(values["on_condition"])
        is_wanted = fit.use.kind == wanted or str(fit.facts["detector"]).startswith(wanted)
        if is_wanted and str(fit.facts["condition"]).startswith(condition):
            yield fit


def _images(fit: Fit) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield what is known about each scored image, and its place."""
    names: Mapping[str, str] = fit.facts["classes"]
    true, predicted = (np.asarray(fit.arrays[name]).tolist() for name in ("true", "predicted"))
    for i, (image, file) in enumerate(zip(fit.images, fit.facts["files"], strict=True)):
        yield (
            {
                "detector": fit.use.kind,
                "detector_id": fit.facts["detector"],
                "model": fit.model.name,
                "condition": fit.facts["condition"],
                "image": image,
                "file": file,
                "true": names[str(true[i])],
                "predicted": names[str(predicted[i])],
                "score": float(fit.arrays["scores"][i]),
            },
            i,
        )
