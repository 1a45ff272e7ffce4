"""What a change of neurons does to a model's answers: measures over images, with bootstrap intervals.

Of every image, the logits of the plain run and of the run with changed neurons are known. Measures are means over
images of what changes for the label:

- `probability`: p_after / p_before − 1, the mean of ratios, as published for neuron paths. It has no upper bound, and
  images with a small p_before decide it;
- `pooled`: Σ p_after / Σ p_before − 1, the ratio of sums;
- `median`: the median of the ratios − 1;
- `logit`: the difference of the logits;
- `accuracy`: the difference of the shares of images whose top class is the label;
- `balanced_accuracy`: the same as a mean over classes.

Intervals are percentiles of 1,000 bootstrap samples of the images, drawn within each class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.special import log_softmax

from ...circuits.designs import RESAMPLES
from ...circuits.permutation import edge_blocks
from ...errors import InputError
from ...results import Exportable, Table

Counts = Int[np.ndarray, "sample image"]
"""How often a sample has each image."""


@dataclass(frozen=True, eq=False)
class NeuronEffects(Exportable):
    """The logits of images before and after a change of neurons.

    Attributes:
        change: what was changed.
        labels: class index of each image, whose probability the measures are about.
        before: logits of the plain model.
        after: logits with the neurons changed.
    """

    change: str
    labels: Int[np.ndarray, "image"]
    before: Float[np.ndarray, "image class"]
    after: Float[np.ndarray, "image class"]

    @property
    def probability_before(self) -> Float[np.ndarray, "image"]:
        """Softmax probability of the label in the plain model."""
        return np.exp(self._log_probability(self.before))

    @property
    def probability_after(self) -> Float[np.ndarray, "image"]:
        """Softmax probability of the label with the neurons changed."""
        return np.exp(self._log_probability(self.after))

    @cached_property
    def ratio(self) -> Float[np.ndarray, "image"]:
        """p_after / p_before of the label, computed from logarithms, so that no small probability becomes 0."""
        return np.exp(self._log_probability(self.after) - self._log_probability(self.before))

    @property
    def logit(self) -> Float[np.ndarray, "image"]:
        """Difference of the label's logit."""
        return self._of_label(self.after) - self._of_label(self.before)

    @property
    def hit_before(self) -> Bool[np.ndarray, "image"]:
        """Whether the label is the top class of the plain model."""
        return self.before.argmax(axis=1) == self.labels

    @property
    def hit_after(self) -> Bool[np.ndarray, "image"]:
        """Whether the label is the top class with the neurons changed."""
        return self.after.argmax(axis=1) == self.labels

    @property
    def gained(self) -> Float[np.ndarray, "image"]:
        """1 where the label becomes the top class, −1 where it no longer is, else 0."""
        return self.hit_after.astype(np.float64) - self.hit_before

    def _log_probability(self, logits: np.ndarray) -> Float[np.ndarray, "image"]:
        return self._of_label(log_softmax(logits.astype(np.float64), axis=1))

    def _of_label(self, values: np.ndarray) -> Float[np.ndarray, "image"]:
        return np.take_along_axis(values, self.labels[:, None], axis=1)[:, 0]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, images: Bool[np.ndarray, "image"] | slice) -> NeuronEffects:
        """Return the effects on some of the images."""
        return NeuronEffects(self.change, self.labels[images], self.before[images], self.after[images])

    def summary(self, *, seed: int = 0) -> Table:
        """Return every measure over all images, with its 95 % interval.

        Args:
            seed: seed of the bootstrap samples.

        Returns:
            Columns `measure, value, low, high`. Facts: `images`, and `probability`, `accuracy` and `balanced_accuracy`
            of the plain model.
        """
        facts = {
            "images": len(self),
            "probability": float(self.probability_before.mean()),
            "accuracy": float(self.hit_before.mean()),
            "balanced_accuracy": float(self.hit_before @ class_weights(self.labels)),
        }
        return Table(_intervals(self._measures, self.labels, seed), facts=facts)

    def by_class(self, *, seed: int = 0) -> Table:
        """Return every measure for the images of each class, with its 95 % interval.

        Args:
            seed: seed of the bootstrap samples.

        Returns:
            Columns `class, images, measure, value, low, high`; the interval is NaN for one image.
        """
        frames = []
        for cls in np.unique(self.labels):
            part = self[self.labels == cls]
            frame = part.summary(seed=seed).to_pandas()
            if len(part) == 1:
                frame[["low", "high"]] = np.nan
            frame.insert(0, "class", cls)
            frame.insert(1, "images", len(part))
            frames.append(frame)
        return Table(pd.concat(frames, ignore_index=True))

    def difference(self, other: NeuronEffects, *, seed: int = 0) -> Table:
        """Return by how much every measure exceeds that of another change, paired image by image.

        Both changes are of the same images, or of images and their twins, such as natural and attacked ones. Both
        sides have the same bootstrap samples.

        Args:
            other: the effects to subtract, of images in the same order.
            seed: seed of the bootstrap samples.

        Returns:
            Columns `measure, value, low, high`: this − other. Facts: `images`, and `lower`, the share of images whose
            ratio p_after / p_before is lower here.

        Raises:
            InputError: the labels differ.
        """
        if not np.array_equal(self.labels, other.labels):
            raise InputError(
                f"effects: expected the same images in the same order, got {len(self)} and {len(other)} images with "
                "different labels; change other neurons of the same images, or the same of their twins"
            )
        facts = {"images": len(self), "lower": float((self.ratio < other.ratio).mean())}
        frame = _intervals(lambda counts: self._measures(counts) - other._measures(counts), self.labels, seed)
        return Table(frame, facts=facts)

    def _measures(self, counts: Counts) -> Float[np.ndarray, "sample measure"]:
        return np.stack([measure(self, counts) for measure in MEASURES.values()], axis=1)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per image.

        Columns `image, label, probability_before, probability_after, ratio, logit, hit_before, hit_after`; `logit` is
        the difference.
        """
        names = ("probability_before", "probability_after", "ratio", "logit", "hit_before", "hit_after")
        columns = {"label": self.labels, **{name: getattr(self, name) for name in names}}
        return pd.DataFrame(columns).rename_axis("image").reset_index()

    def __repr__(self) -> str:
        return f"NeuronEffects({self.change}: probability {self.ratio.mean() - 1:+.1%} over {len(self)} images)"


def _probability(effects: NeuronEffects, counts: Counts) -> Float[np.ndarray, "sample"]:
    return _mean(effects.ratio, counts) - 1


def _pooled(effects: NeuronEffects, counts: Counts) -> Float[np.ndarray, "sample"]:
    return counts @ effects.probability_after / (counts @ effects.probability_before) - 1


def _median(effects: NeuronEffects, counts: Counts) -> Float[np.ndarray, "sample"]:
    """Return the median: the mean of the two middle ratios if the number of images is even."""
    order = np.argsort(effects.ratio)
    reached = 2 * counts[:, order].cumsum(axis=1)
    total = reached[:, -1:] // 2
    middle = effects.ratio[order][[(reached >= total).argmax(axis=1), (reached > total).argmax(axis=1)]]
    return middle.mean(axis=0) - 1


def _logit(effects: NeuronEffects, counts: Counts) -> Float[np.ndarray, "sample"]:
    return _mean(effects.logit, counts)


def _accuracy(effects: NeuronEffects, counts: Counts) -> Float[np.ndarray, "sample"]:
    return _mean(effects.gained, counts)


def _balanced_accuracy(effects: NeuronEffects, counts: Counts) -> Float[np.ndarray, "sample"]:
    return counts @ (effects.gained * class_weights(effects.labels))


MEASURES: dict[str, Callable[[NeuronEffects, Counts], Float[np.ndarray, "sample"]]] = {
    "probability": _probability,
    "pooled": _pooled,
    "median": _median,
    "logit": _logit,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
}
"""The measures by name, as functions of the effects and of how often a sample has each image."""


def _mean(values: Float[np.ndarray, "image"], counts: Counts) -> Float[np.ndarray, "sample"]:
    return counts @ values / counts.sum(axis=1)


def class_weights(labels: Int[np.ndarray, "image"]) -> Float[np.ndarray, "image"]:
    """Return weights with which a sum over images is the mean over classes of the mean over a class's images."""
    _, row, count = np.unique(labels, return_inverse=True, return_counts=True)
    return 1 / (len(count) * count[row])


def _intervals(
    statistics: Callable[[Counts], Float[np.ndarray, "sample measure"]], labels: Int[np.ndarray, "image"], seed: int
) -> pd.DataFrame:
    """Return the measures of the images and the percentiles of those of bootstrap samples."""
    samples = np.concatenate([statistics(counts) for counts in _samples(labels, seed)])
    low, high = np.percentile(samples, [2.5, 97.5], axis=0)
    value = statistics(np.ones((1, len(labels)), np.int64))[0]
    return pd.DataFrame({"measure": list(MEASURES), "value": value, "low": low, "high": high})


def _samples(labels: Int[np.ndarray, "image"], seed: int) -> Iterator[Counts]:
    """Yield bootstrap samples, as many images of each class as there are, some samples at a time."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == cls) for cls in np.unique(labels)]
    for some in edge_blocks(len(labels), RESAMPLES):
        counts = np.zeros((len(range(RESAMPLES)[some]), len(labels)), np.int64)
        for images in members:
            counts[:, images] = rng.multinomial(len(images), np.full(len(images), 1 / len(images)), size=len(counts))
        yield counts
