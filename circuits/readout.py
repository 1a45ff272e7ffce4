"""A read-out: numbers with named axes that a model's run gives for each image, such as a logit at each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ..errors import InputError, unknown
from ..results import Exportable
from .drawing import Drawing
from .readout_drawing import draw
from .recipe import Metric, Variant

if TYPE_CHECKING:
    import pandas as pd

Label = str | int


class ReadoutUse(Variant):
    """A read-out with its parameters (norm, heads, baseline …)."""


@dataclass(frozen=True)
class Axis:
    """An axis of a read-out.

    Attributes:
        name: what it counts: `image`, `point`, `layer`, `head`, `component`, `neuron`, `token`, `query`, `class`,
            `pixel_row`, `pixel_column` …
        labels: a name or number for each entry, in order, each different.

    Raises:
        InputError: a label occurs twice.
    """

    name: str
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if len(set(self.labels)) < len(self.labels):
            raise InputError(f"axis {self.name!r}: expected different labels, got {self.labels!r}")

    def __len__(self) -> int:
        return len(self.labels)

    def position(self, label: Label) -> int:
        """Return the position of a label.

        Raises:
            InputError: the axis does not have it.
        """
        if label not in self.labels:
            raise unknown(f"label of axis {self.name!r}", label, map(str, self.labels))
        return self.labels.index(label)

    def chosen(self, labels: Sequence[Label] | None) -> Axis:
        """Return the axis with these labels only, given by label or by position, in this order; None keeps all.

        Raises:
            InputError: no label, or one that the axis does not have.
        """
        if labels is None:
            return self
        if isinstance(labels, str) or not len(labels):
            raise InputError(f"{self.name}: expected a list of labels, got {labels!r}")
        return Axis(self.name, tuple(self._label(label) for label in labels))

    def _label(self, label: Label) -> Label:
        if label not in self.labels and isinstance(label, int) and 0 <= label < len(self.labels):
            return self.labels[label]
        return self.labels[self.position(label)]


@dataclass(frozen=True, eq=False)
class Readout(Exportable):
    """Numbers with named axes, read from a model's runs.

    Attributes:
        use: the kind of read-out with its parameters.
        axes: the axes of `values`, in order.
        values: the numbers.
        unit: what a number is: `logit`, `attention` …
        std: standard deviation over the last axis that was averaged (ddof 1); None if none was, or if it had one entry.
        metric: the metric that the read-out is about; None if it does not depend on a metric.
        facts: figures for the whole read-out (for instance `residual`).

    Raises:
        InputError: axes and values do not fit.
    """

    use: ReadoutUse
    axes: tuple[Axis, ...]
    values: Float[np.ndarray, "..."]
    unit: str = "logit"
    std: Float[np.ndarray, "..."] | None = None
    metric: Metric | None = None
    facts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = tuple(len(axis) for axis in self.axes)
        for name, values in (("values", self.values), ("std", self.std)):
            if values is not None and values.shape != sizes:
                raise InputError(f"{name}: expected the shape {sizes} of the axes {self.names}, got {values.shape}")
        if len(set(self.names)) < len(self.names):
            raise InputError(f"axes: expected different names, got {self.names}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the axes, in order."""
        return tuple(axis.name for axis in self.axes)

    def axis(self, name: str) -> Axis:
        """Return the axis with this name.

        Raises:
            InputError: there is none.
        """
        return self.axes[self._place(name)]

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise unknown(f"axis of {self.use.text}", name, self.names)
        return self.names.index(name)

    def mean(self, axis: str = "image") -> Readout:
        """Return the mean over an axis, with its standard deviation.

        Raises:
            InputError: there is no such axis, or it has no entries.
        """
        place = self._place(axis)
        count = len(self.axes[place])
        if count == 0:
            raise InputError(f"axis {axis!r}: expected at least one entry to average, got none")
        std = self.values.std(axis=place, ddof=1) if count > 1 else None
        kept = self.axes[:place] + self.axes[place + 1 :]
        return replace(self, axes=kept, values=np.asarray(self.values.mean(axis=place)), std=_array(std))

    def select(self, **labels: Label | Sequence[Label]) -> Readout:
        """Return the entries with these labels, by name of the axis.

        Args:
            **labels: a label, which removes the axis, or a list of labels, which keeps it, in this order.

        Raises:
            InputError: an unknown axis or label.
        """
        found = self
        for name, wanted in labels.items():
            found = found._along(found._place(name), wanted)
        return found

    def _along(self, place: int, wanted: Label | Sequence[Label]) -> Readout:
        axis = self.axes[place]
        if isinstance(wanted, str | int | np.integer):
            kept, rows = (), axis.position(wanted)
        else:
            kept, rows = (Axis(axis.name, tuple(wanted)),), [axis.position(label) for label in wanted]
        axes = (*self.axes[:place], *kept, *self.axes[place + 1 :])
        values, std = (None if v is None else np.asarray(v.take(rows, axis=place)) for v in (self.values, self.std))
        assert values is not None
        return replace(self, axes=axes, values=values, std=std)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per number: a column per axis, `value`, and `std` if there is one."""
        import pandas as pd

        columns: dict[str, Any] = {}
        for place, axis in enumerate(self.axes):
            inner = int(np.prod(self.values.shape[place + 1 :], dtype=int))
            outer = int(np.prod(self.values.shape[:place], dtype=int))
            columns[axis.name] = np.tile(np.repeat(np.array(axis.labels, _type(axis)), inner), outer)
        columns["value"] = self.values.ravel()
        if self.std is not None:
            columns["std"] = self.std.ravel()
        return pd.DataFrame(columns)

    def draw(self) -> Drawing:
        """Draw the mean over images: lines of classes over points, bars for one axis, a heat map for two.

        Raises:
            InputError: there are more than two axes, or more entries than a picture can show; select some, or average.
        """
        shown = self.mean("image") if "image" in self.names else self
        axes = {axis.name: tuple(map(str, axis.labels)) for axis in shown.axes}
        return Drawing(draw(self.use.text, self.unit, axes, shown.values, shown.std))

    def _drawing(self) -> str:
        try:
            return self.draw().svg
        except InputError:  # the table is shown without a picture
            return ""

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(axis)} {axis.name}" for axis in self.axes)
        return f"Readout({self.use.text}: {self.unit} [{sizes}])"


def _array(values: Any) -> Float[np.ndarray, "..."] | None:
    return None if values is None else np.asarray(values)


def _type(axis: Axis) -> type:
    """Return the type of an axis's column: whole numbers, or any object."""
    return int if all(isinstance(label, int) for label in axis.labels) else object
