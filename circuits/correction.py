"""The table of corrections: accuracies by group of images for each method, from responses image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from .fit import Fit
from .group_accuracy import GroupAccuracy
from .proportion import Proportion
from .response import Response

if TYPE_CHECKING:
    import pandas as pd

Figures = Mapping[str, Proportion]
"""Accuracies by the name of a group of images."""

COLUMNS = (
    "condition",
    "error",
    "method",
    "group",
    "images",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "seconds_per_image",
    "settings",
)
"""Columns of `correction_table`."""


def confusion_figures(
    labels: Int[np.ndarray, "image"],
    hit: Bool[np.ndarray, "image"] | Float[np.ndarray, "image"],
    confused: Bool[np.ndarray, "image"] | Float[np.ndarray, "image"],
    pair: tuple[int, int],
) -> Figures:
    """Return the accuracies that a correction of two confused classes is judged by.

    Args:
        labels: index of the true class.
        hit: whether each image is classified correctly, or in which share of the draws.
        confused: whether each image is classified as the second class of the pair, or in which share of the draws.
        pair: the class, and the class that its images are read as.

    Returns:
        Accuracies on the `true class`, the `other class`, `all others` and `all` images, and the share of images of the
        true class that are `confused`.

    Examples:
        >>> labels, predicted = np.array([0, 0, 1, 2]), np.array([1, 0, 1, 2])
        >>> figures = confusion_figures(labels, labels == predicted, predicted == 1, (0, 1))
        >>> {name: figure.value for name, figure in figures.items()}
        {'true class': 0.5, 'other class': 1.0, 'all others': 1.0, 'all': 0.75, 'confused': 0.5}
    """
    own, other = labels == pair[0], labels == pair[1]
    return {
        "true class": Proportion.of(hit, own),
        "other class": Proportion.of(hit, other),
        "all others": Proportion.of(hit, ~own & ~other),
        "all": Proportion.of(hit),
        "confused": Proportion.of(confused, own),
    }


@dataclass(frozen=True, eq=False)
class CorrectedImages:
    """What one method of a correction does on report images.

    Attributes:
        labels: index of the true class.
        cues: index of the class that the image's cue goes with; −1 for no cue.
        hit: share of the draws that classify the image correctly.
        confused: share of the draws that classify it as the wrong class of the pair; NaN without a pair.
        seconds: seconds per image, on average.
    """

    labels: Int[np.ndarray, "image"]
    cues: Int[np.ndarray, "image"]
    hit: Float[np.ndarray, "image"]
    confused: Float[np.ndarray, "image"]
    seconds: float

    @classmethod
    def of(cls, record: Fit, response: Callable[[str], Response]) -> CorrectedImages:
        """Read the responses of a stored method, a fit of the thing `correction`.

        Args:
            record: the method.
            response: returns a response by its id.
        """
        read = (record.facts["pair"] or (0, np.nan))[1]
        parts: list[tuple[np.ndarray, ...]] = []
        seconds: list[float] = []
        for cell in record.facts["cells"]:
            draws = [response(id) for id in cell["responses"]]
            labels = draws[0].true.astype(np.int64)
            hit = np.mean([draw.hit for draw in draws], axis=0)
            confused = np.mean([draw.predicted == read for draw in draws], axis=0)
            parts.append((labels, np.full(len(labels), cell["cue"]), hit, confused))
            seconds += [draw.provenance.get("seconds_per_image", np.nan) for draw in draws]
        labels, cues, hit, confused = (np.concatenate(of) for of in zip(*parts, strict=True))
        return cls(labels, cues, hit, confused, float(np.mean(seconds)))

    def figures(self, pair: tuple[int, int] | None) -> Figures:
        """Return the accuracies by group of images; of a pair of classes, if one is corrected."""
        if pair is None:
            return GroupAccuracy.of(self.labels, self.cues, self.hit).summary
        return confusion_figures(self.labels, self.hit, self.confused, pair)


def correction_table(records: Iterable[Fit], response: Callable[[str], Response]) -> pd.DataFrame:
    """Return a row per stored method and group of report images, with Wilson's intervals of 95 %.

    Columns: `condition`, `error` (what is corrected), `method`, `group` of images, `images`, `accuracy` (for the group
    `confused`, the share that is confused) with `accuracy_low` and `accuracy_high`, `seconds_per_image`, `settings` as
    text.

    Args:
        records: the methods, fits of the thing `correction`.
        response: returns a response by its id.

    Examples:
        >>> correction_table([], store.response).columns.tolist()[:4]
        ['condition', 'error', 'method', 'group']
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for record in records:
        facts = record.facts
        found = CorrectedImages.of(record, response)
        settings = ", ".join(f"{name} {value}" for name, value in facts["settings"].items())
        if facts["changed"] is False and record.use.kind != "none":
            settings = "nothing better within the loss"
        for group, figure in found.figures(tuple(facts["pair"]) if facts["pair"] else None).items():
            low, high = figure.interval
            rows.append(
                {
                    "condition": facts["under"],
                    "error": facts["error"],
                    "method": record.use.kind,
                    "group": group,
                    "images": figure.images,
                    "accuracy": figure.value,
                    "accuracy_low": low,
                    "accuracy_high": high,
                    "seconds_per_image": found.seconds,
                    "settings": settings,
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def compact_correction_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for reading: a row per method, a column per group of images, in per cent with intervals.

    Examples:
        >>> import pandas as pd
        >>> figures = dict.fromkeys(["accuracy", "accuracy_low", "accuracy_high"], 0.5)
        >>> names = {"condition": "natural", "error": "cue", "method": "edges", "group": "misleading"}
        >>> frame = pd.DataFrame([names | figures | {"seconds_per_image": 0.002, "settings": "edges 24"}])
        >>> compact_correction_table(frame).iloc[0].to_dict()
        {'condition': 'natural', 'error': 'cue', 'method': 'edges', 'misleading': '50.0 [50.0, 50.0]', ...}
    """
    import pandas as pd

    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for cell in table.to_dict("records"):
        key = {name: cell[name] for name in ("condition", "error", "method")}
        row = rows.setdefault(tuple(key.values()), key)
        accuracy, low, high = (100 * cell[f"accuracy{end}"] for end in ("", "_low", "_high"))
        row[cell["group"]] = "" if np.isnan(accuracy) else f"{accuracy:.1f} [{low:.1f}, {high:.1f}]"
        row["_"] = (round(1000 * cell["seconds_per_image"], 2), cell["settings"])
    ends = [row.pop("_") for row in rows.values()]
    frame = pd.DataFrame(list(rows.values())).fillna("")
    return frame.assign(ms=[ms for ms, _ in ends], chosen=[text for _, text in ends])
