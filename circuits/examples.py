"""Example images: a few images of a class as a model sees them, clean and attacked, with the model's predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from ..results import Exportable
from .recipe import ClassInfo, Condition, ModelInfo, Selection, WorkItem, digest, identity_fields
from .subject import subject_columns

if TYPE_CHECKING:
    import pandas as pd

Pixels = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, eq=False)
class SeenImage:
    """An image as a model sees it, before normalisation, with the model's prediction.

    Attributes:
        pixels: the image.
        predicted: name of the class with the highest logit.
        probability: its softmax probability.
    """

    pixels: Pixels
    predicted: str
    probability: float


@dataclass(frozen=True, eq=False)
class Example:
    """An image, and its attacked twin.

    Attributes:
        hash: SHA-256 of the content of the image, before the attack.
        file: its file.
        clean: the unattacked image.
        attacked: the image under the condition; None for natural images.
    """

    hash: str
    file: str
    clean: SeenImage
    attacked: SeenImage | None = None

    @cached_property
    def perturbation(self) -> Float[np.ndarray, "height width 3"] | None:
        """The attacked image minus the clean one, for pixels in [0, 1]; None without an attack."""
        return None if self.attacked is None else self.attacked.pixels / 255.0 - self.clean.pixels / 255.0

    @property
    def amplified(self) -> tuple[Pixels, float] | None:
        """The perturbation on grey, and the factor that gives it full contrast; None without an attack."""
        if self.perturbation is None:
            return None
        factor = 0.5 / self.linf if self.linf else 1.0
        return np.rint(255 * np.clip(0.5 + factor * self.perturbation, 0, 1)).astype(np.uint8), factor

    @property
    def linf(self) -> float | None:
        """The largest absolute entry of the perturbation; None without an attack."""
        return None if self.perturbation is None else float(np.abs(self.perturbation).max())

    @property
    def l2(self) -> float | None:
        """The Euclidean norm of the perturbation; None without an attack."""
        return None if self.perturbation is None else float(np.linalg.norm(self.perturbation))


@dataclass(frozen=True, eq=False)
class ExampleImages(Exportable):
    """A few images of one class under one condition.

    Attributes:
        model: the model.
        target_class: true class of the images.
        condition: what was done to the images.
        selection: the images that they were taken from.
        count: the requested number of images.
        examples: the images, report images first.
        checks: success rates of the attack and of its variants, see `images.attack_checks`; empty without them. Not
            part of the checksum.
    """

    model: ModelInfo
    target_class: ClassInfo
    condition: Condition
    selection: Selection
    count: int
    examples: tuple[Example, ...]
    checks: Mapping[str, Any]

    @classmethod
    def of(
        cls, item: WorkItem, count: int, examples: tuple[Example, ...], checks: Mapping[str, Any] | None = None
    ) -> ExampleImages:
        """Return the example images of an item; its recipe is ignored."""
        return cls(item.model, item.target_class, item.condition, item.selection, count, examples, checks or {})

    @cached_property
    def id(self) -> str:
        """Hash of model fingerprint, class, condition, selection and requested number."""
        return _id(self.model, self.target_class, self.condition, self.selection, self.count)

    @cached_property
    def sha256(self) -> str:
        """Checksum of hashes, files, predictions and pixels."""
        check = sha256()
        for example in self.examples:
            check.update(f"{example.hash}\n{example.file}\n".encode())
            for seen in filter(None, (example.clean, example.attacked)):
                check.update(f"{seen.predicted}\n{seen.probability!r}\n{seen.pixels.shape}\n".encode())
                check.update(np.ascontiguousarray(seen.pixels).data)
        return check.hexdigest()

    def properties(self) -> dict[str, Any]:
        """Return the columns of its catalog row except `created_ms`, by name."""
        return {
            "id": self.id,
            **subject_columns(self),
            "n_images": len(self.examples),
            "sha256": self.sha256,
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with one row per image: predictions and norms, without pixels."""
        import pandas as pd

        columns = ["hash", "file", "predicted", "probability", "attacked_as", "attacked_probability", "linf", "l2"]
        return pd.DataFrame([_row(example) for example in self.examples], columns=columns)

    def __repr__(self) -> str:
        where = f"{self.model.name}, {self.target_class.name!r}, {self.condition.text}"
        return f"ExampleImages({self.id[:12]}, {where}, {len(self.examples)} images)"


def _row(example: Example) -> dict[str, Any]:
    attacked = example.attacked
    return {
        "hash": example.hash,
        "file": example.file,
        "predicted": example.clean.predicted,
        "probability": example.clean.probability,
        "attacked_as": attacked and attacked.predicted,
        "attacked_probability": attacked and attacked.probability,
        "linf": example.linf,
        "l2": example.l2,
    }


def examples_id(item: WorkItem, count: int) -> str:
    """Return the id of the example images of an item, before they exist.

    Examples:
        >>> item = store.circuit(store.circuits()["id"][0]).item
        >>> examples_id(item, 3) == examples_id(item, 3), examples_id(item, 3) == examples_id(item, 4)
        (True, False)
    """
    return _id(item.model, item.target_class, item.condition, item.selection, count)


def _id(model: ModelInfo, cls: ClassInfo, condition: Condition, selection: Selection, count: int) -> str:
    return digest(
        {
            "examples": count,
            "model": model.id,
            "class": identity_fields(cls),
            "condition": condition.to_dict(),
            "selection": identity_fields(selection),
        }
    )
