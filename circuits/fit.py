"""A stored fit: numbers that were fitted to the runs of a model on images, such as directions or a detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from jaxtyping import Shaped

from ..errors import InputError, check_known
from ..results import Exportable
from .recipe import ModelInfo, Variant, digest

if TYPE_CHECKING:
    import pandas as pd

FitThing = Literal["directions", "detector", "scores", "circuit", "defence", "correction"]
"""What was fitted: directions, a detector, its scores of images, a circuit pooled over classes, or a row of a study of
defences or corrections."""

FIT_THINGS: tuple[FitThing, ...] = get_args(FitThing)


class FitUse(Variant):
    """A kind of fit with its parameters."""


@dataclass(frozen=True, eq=False)
class Fit(Exportable):
    """What was fitted to the runs of a model on images.

    Attributes:
        thing: what it is.
        use: its kind with its parameters.
        model: the model; a fit is only valid in the model with this fingerprint.
        dataset: name of the images' data set.
        images: content hashes of the images, in order.
        arrays: the fitted numbers by name.
        facts: names of axes, calibration and other small JSON values, part of the identity.
        provenance: device, versions and seconds, which are not part of the identity (JSON values).

    Raises:
        InputError: an unknown thing, or an array of another type than numbers and booleans.

    Examples:
        >>> record = store.circuit(store.circuits()["id"][0])
        >>> fit = Fit("directions", FitUse.of("split"), record.item.model, "digits", ("a",), {"vectors": np.eye(2)})
        >>> fit
        Fit(..., directions split, ..., 1 images, vectors [2, 2])
    """

    thing: FitThing
    use: FitUse
    model: ModelInfo
    dataset: str
    images: tuple[str, ...]
    arrays: Mapping[str, Shaped[np.ndarray, "..."]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_known("thing", self.thing, FIT_THINGS)
        for name, values in self.arrays.items():
            if values.dtype.kind not in "biuf":
                raise InputError(f"arrays: {name}: expected numbers or booleans, got {values.dtype}")

    @cached_property
    def id(self) -> str:
        """Hash of the content: thing, kind, model fingerprint, images, facts and arrays."""
        return digest(
            {
                "thing": self.thing,
                "use": self.use.to_dict(),
                "model": self.model.id,
                "dataset": self.dataset,
                "images": list(self.images),
                "facts": dict(self.facts),
                "arrays": self.sha256,
            }
        )

    @cached_property
    def sha256(self) -> str:
        """Checksum of names, types, shapes and little-endian bytes of the arrays."""
        check = sha256()
        for name, values in self.arrays.items():
            check.update(f"{name}\n{values.dtype.newbyteorder('<').str}\n{values.shape}\n".encode())
            check.update(little_endian(values))
        return check.hexdigest()

    def properties(self) -> dict[str, Any]:
        """Return the columns of its catalog row except `created_ms`, by name."""
        return {
            "id": self.id,
            "model": self.model.name,
            "model_id": self.model.id,
            "dataset": self.dataset,
            "thing": self.thing,
            "kind": self.use.kind,
            "fit": self.use.text,
            "n_images": len(self.images),
            "sha256": self.sha256,
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with one row per array: `array, type, shape, mean, least, largest`."""
        import pandas as pd

        rows = [
            (name, str(v.dtype), str(list(v.shape)), *((v.mean(), v.min(), v.max()) if v.size else (np.nan,) * 3))
            for name, v in self.arrays.items()
        ]
        return pd.DataFrame(rows, columns=["array", "type", "shape", "mean", "least", "largest"])

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {list(values.shape)}" for name, values in self.arrays.items())
        what = f"{self.thing} {self.use.text}, {self.model.name}, {len(self.images)} images"
        return f"Fit({self.id[:12]}, {what}, {shapes})"


def little_endian(values: np.ndarray) -> bytes:
    """Return the bytes of an array in C order, little-endian.

    Examples:
        >>> little_endian(np.array([1, 2], ">u2")).hex()
        '01000200'
    """
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
