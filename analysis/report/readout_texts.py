"""What the figures of read-outs show, and what they do not show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ...circuits import Readout, ReadoutRecord
from ...evaluation import READOUTS
from ..readouts import ReadoutSet
from ..wording import format_number

_EVERY_CLASS = "It is the same for every class, so it is no evidence for one."

_ABOUT = {
    "logit-lens": (
        "The logits if the residual stream ended at each point. A class that the lens does not name yet may be in the "
        "stream in a form that later layers translate."
    ),
    "affine-lens": (
        "The logits at each point after a linear translation to the last stream, fitted on other images. It shows what "
        "can be read linearly, not what later layers read."
    ),
    "logit-attribution": (
        "What each part adds to the logit of the true class directly, with the scale of the last norm frozen. It is no "
        "effect: what a part does through later parts is not in it."
    ),
    "stream-patching": (
        "The effect on the metric of exchanging the residual stream at one point and token for that of the contrast "
        "image. It shows where the difference between the two images is, and effects of several tokens do not add up."
    ),
    "head-patching": (
        "The effect on the metric of exchanging the output of one head for that of the contrast image. A head whose "
        "work another head can do has a small effect."
    ),
    "head-pairs": (
        "The effect on the metric of exchanging what one head sends to a later one. Paths through MLPs and other heads "
        "are not in it."
    ),
    "footprint": (
        "The scores of the edges out of input, divided by the token that they carry. The edges of later layers are not "
        "in it, so it shows where the metric comes from in the image, not which circuit carries it."
    ),
    "circuit-footprint": (
        "The scores of a circuit's edges, divided by the token at which the sender writes and the receiver reads, here "
        "by eap-ig, whatever method found the circuit. Behind the first attention a token also has what it read from "
        "others, so maps of later edges show where the circuit works, not only where the image has the cause."
    ),
    "attention-rollout": f"Attention multiplied over layers. {_EVERY_CLASS}",
    "attention-flow": f"Maximum flow of attention. {_EVERY_CLASS}",
    "random-map": "Random numbers: what a map without information looks like.",
}
_MAP = (
    "How much the metric depends on each part of the image, by this method and its baseline. Methods disagree, so "
    "compare with another one; deletion and insertion show which to trust."
)


def about(shown: ReadoutSet) -> str:
    """Return in one or two sentences what the figures of a set show and what they do not."""
    if shown.kind in _ABOUT:
        return _ABOUT[shown.kind]
    if any(name.startswith(("patch_", "pixel_")) for name in shown.records[0].mean.names):
        return _MAP
    name = READOUTS[shown.kind].name if shown.kind in READOUTS else shown.kind
    return f"{name}. Numbers of single runs and means over images; they are no effects of edges."


def lens_sentences(records: Mapping[str, ReadoutRecord]) -> Iterator[str]:
    """Yield from which point on the class with the largest mean logit stays the same, by condition."""
    for condition, record in records.items():
        points, classes = record.mean.axes
        best = record.mean.values.argmax(axis=1)
        first = int(np.flatnonzero(best != best[-1]).max(initial=-1)) + 1
        name, point = classes.labels[best[-1]], points.labels[first]
        yield f"{condition}: the largest mean logit is that of {name} from {point} on."


def extreme_sentences(found: Mapping[str, Readout]) -> Iterator[str]:
    """Yield the entry of largest magnitude under each condition."""
    for condition, readout in found.items():
        at = np.unravel_index(np.abs(readout.values).argmax(), readout.values.shape)
        names = [f"{axis.name} {axis.labels[place]}" for axis, place in zip(readout.axes, at, strict=True)]
        value = format_number(float(readout.values[at]))
        yield f"{condition}: the value of largest magnitude is {value} ({', '.join(names)})."
