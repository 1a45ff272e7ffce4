"""A stored read-out: the answer to a question about the runs of a model, as a mean over the images of a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from ..results import Exportable
from .readout import Axis, Readout, ReadoutUse
from .recipe import MethodUse, WorkItem, digest
from .scores import canonical_bytes
from .subject import subject_columns

if TYPE_CHECKING:
    import pandas as pd

READOUT = "readout"
"""The form of recipes of read-outs, in place of a universe: they have no edges."""

IMAGE = "image"
"""The axis that is averaged."""


def as_method(use: ReadoutUse) -> MethodUse:
    """Return a kind of read-out with its parameters as recipes name it.

    Examples:
        >>> as_method(ReadoutUse.of("logit-lens", {"norm": True})).text
        'logit-lens(norm=True)'
    """
    return MethodUse(use.kind, use.params, use.version)


def readout_use(item: WorkItem) -> ReadoutUse:
    """Return the kind of read-out that an item asks for, with its parameters.

    Examples:
        >>> item = store.circuit(store.circuits()["id"][0]).item
        >>> recipe = replace(item.recipe, method=as_method(ReadoutUse.of("logit-lens")), form=READOUT)
        >>> readout_use(replace(item, recipe=recipe))
        ReadoutUse(kind='logit-lens', params=(), version=1)
    """
    method = item.recipe.method
    return ReadoutUse(method.kind, method.params, method.version)


@dataclass(frozen=True, eq=False)
class ReadoutRecord(Exportable):
    """The read-out of one class under one condition.

    Attributes:
        item: the question.
        images: content hashes of the images, in the order of the axis `image`.
        mean: mean over the images, with the standard deviation, float32.
        per_image: the numbers of each image, float32; None if only the mean was kept.
        provenance: device, versions, warnings and seconds, which are not part of the identity (JSON values).
    """

    item: WorkItem
    images: tuple[str, ...]
    mean: Readout
    per_image: Readout | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        item: WorkItem,
        images: tuple[str, ...],
        readout: Readout,
        *,
        per_image: bool = False,
        provenance: Mapping[str, Any] | None = None,
    ) -> ReadoutRecord:
        """Return the record of a read-out with the axis `image`, rounded to float32.

        Args:
            item: the question.
            images: content hashes of the images.
            readout: the numbers, in any precision.
            per_image: keep the numbers of each image, too.
            provenance: see the attribute.

        Raises:
            InputError: the read-out has no axis `image`, or no image.
        """
        mean = _rounded(readout.mean(IMAGE))
        return cls(item, images, mean, _rounded(_by_hash(readout, images)) if per_image else None, provenance or {})

    @property
    def id(self) -> str:
        """The id of the work item."""
        return self.item.id

    @cached_property
    def sha256(self) -> str:
        """Checksum over images, axes, unit, facts, and the canonical bytes (little-endian float32) of the numbers."""
        mean = self.mean
        facts = [mean.unit, dict(mean.facts), [[axis.name, list(axis.labels)] for axis in mean.axes]]
        check = sha256("\n".join([*self.images, digest(facts)]).encode())
        arrays = (mean.values, mean.std, None if self.per_image is None else self.per_image.values)
        for array in arrays:
            check.update(b"-" if array is None else canonical_bytes(array))
        return check.hexdigest()

    def properties(self) -> dict[str, Any]:
        """Return the columns of its catalog row except `created_ms`, by name."""
        item, recipe = self.item, self.item.recipe
        return {
            "id": self.id,
            **subject_columns(item),
            "kind": recipe.method.kind,
            "readout": recipe.method.text,
            "corruption": recipe.corruption.text,
            "metric": recipe.metric.text,
            "dtype": recipe.dtype,
            "seed": recipe.seed,
            "axes": ", ".join(f"{len(axis)} {axis.name}" for axis in self.mean.axes),
            "unit": self.mean.unit,
            "n_images": len(self.images),
            "sha256": self.sha256,
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return the frame of `mean`, with the columns `value` and `std`."""
        return self.mean.to_pandas()

    def _drawing(self) -> str:
        return self.mean._drawing()

    def __repr__(self) -> str:
        return f"ReadoutRecord({self.id[:12]}, {self.item.text}, {len(self.images)} images, {self.mean!r})"


def _by_hash(readout: Readout, images: tuple[str, ...]) -> Readout:
    """Return the read-out with the axis `image` first and labelled by content hashes."""
    place = readout.names.index(IMAGE)
    rest = [axis for axis in readout.axes if axis.name != IMAGE]
    return replace(readout, axes=(Axis(IMAGE, images), *rest), values=np.moveaxis(readout.values, place, 0), std=None)


def _rounded(readout: Readout) -> Readout:
    """Return the read-out in float32."""
    std = None if readout.std is None else readout.std.astype(np.float32)
    return replace(readout, values=readout.values.astype(np.float32), std=std)
