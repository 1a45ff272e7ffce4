"""Responses: metric and top class of a model on each image of a set, with or without an intervention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from ..results import Exportable
from .recipe import (
    ClassInfo,
    Condition,
    Contrast,
    Corruption,
    Metric,
    ModelInfo,
    Selection,
    Variant,
    WorkItem,
    digest,
    identity_fields,
)
from .subject import subject_columns

if TYPE_CHECKING:
    import pandas as pd

Role = Literal["full", "empty", "circuit"]
ROLES: tuple[Role, ...] = ("full", "empty", "circuit")
"""The three responses behind the evaluation of a circuit: model, every edge corrupted, circuit."""


class Intervention(Variant):
    """What is done to a model, or which edges are corrupted.

    `none`, `corrupted` (every edge carries the corrupted value) and `circuit` (every edge outside a stored circuit
    does) are patched runs; all others are edits of the model that name edges and directions by hash.
    """

    @property
    def text(self) -> str:
        """Canonical text with the first digits of each hash: `steer-edges(directions=3f2a81c04b17, n=24, …)`."""
        shown = tuple((name, v[:12] if isinstance(v, str) and len(v) == 64 else v) for name, v in self.params)
        return Variant(self.kind, shown).text

    @classmethod
    def of_circuit(cls, id: str) -> Intervention:
        """Return the intervention that corrupts every edge outside the circuit with this id."""
        return cls.of("circuit", {"id": id})


NO_INTERVENTION = Intervention("none")
EVERY_EDGE = Intervention("corrupted")


@dataclass(frozen=True)
class Trial:
    """One question about the behaviour of a model on images of a class, under a condition and an intervention.

    Attributes:
        model: the model.
        target_class: true class of the images.
        condition: what was done to the images.
        selection: selection of the images.
        split: part of the selection, such as `report`.
        metric: metric of the logits.
        intervention: which edges are corrupted.
        corruption: source of the values of corrupted edges; None if no edge is corrupted.
        dtype: floating-point type of the forward passes.
        seed: seed of all random choices of images.
        contrast: names of what the images are contrasted with; not part of the identity.
    """

    model: ModelInfo
    target_class: ClassInfo
    condition: Condition
    selection: Selection
    split: str
    metric: Metric
    intervention: Intervention
    corruption: Corruption | None = None
    dtype: str = "float32"
    seed: int = 0
    contrast: Contrast = field(default_factory=Contrast)

    @classmethod
    def of(cls, item: WorkItem, intervention: Intervention, split: str = "report") -> Trial:
        """Return the trial on the images of a work item; method, form and direction of its recipe are ignored."""
        recipe = item.recipe
        return cls(
            item.model,
            item.target_class,
            item.condition,
            item.selection,
            split,
            recipe.metric,
            intervention,
            None if intervention == NO_INTERVENTION else recipe.corruption,
            recipe.dtype,
            recipe.seed,
            item.contrast,
        )

    @cached_property
    def id(self) -> str:
        """Hash of model fingerprint, images, class, condition, metric and intervention."""
        return digest({**self._identity(), "model": self.model.id})

    @property
    def circuit(self) -> str | None:
        """Id of the circuit; None for other interventions."""
        return str(self.intervention["id"]) if self.intervention.kind == "circuit" else None

    def _identity(self) -> dict[str, Any]:
        values = {
            **identity_fields(self),
            "target_class": identity_fields(self.target_class),
            "selection": identity_fields(self.selection),
        }
        values |= {name: v.to_dict() for name, v in values.items() if isinstance(v, Variant)}
        del values["contrast"]
        return values

    def to_dict(self) -> dict[str, Any]:
        named = {} if self.contrast == Contrast() else {"contrast": asdict(self.contrast)}
        return {**self._identity(), "model": asdict(self.model), **named}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Trial:
        parts = dict(value)
        corruption, contrast = parts.pop("corruption"), parts.pop("contrast", {})
        return cls(
            model=ModelInfo(**parts.pop("model")),
            target_class=ClassInfo(**parts.pop("target_class")),
            condition=Condition.from_dict(parts.pop("condition")),
            selection=Selection(**parts.pop("selection")),
            metric=Metric.from_dict(parts.pop("metric")),
            intervention=Intervention.from_dict(parts.pop("intervention")),
            corruption=None if corruption is None else Corruption.from_dict(corruption),
            contrast=Contrast(**{**contrast, "against": tuple(contrast.get("against", ()))}),
            **parts,
        )


def trials_of(item: WorkItem, circuit: str) -> dict[Role, Trial]:
    """Return the trials behind the evaluation of a circuit, by role.

    Args:
        item: item of the circuit, with the report images.
        circuit: id of the circuit.

    Examples:
        >>> record = store.circuit(store.circuits()["id"][0])
        >>> {role: trial.intervention.kind for role, trial in trials_of(record.item, record.id).items()}
        {'full': 'none', 'empty': 'corrupted', 'circuit': 'circuit'}
    """
    interventions = (NO_INTERVENTION, EVERY_EDGE, Intervention.of_circuit(circuit))
    return {role: Trial.of(item, what) for role, what in zip(ROLES, interventions, strict=True)}


@dataclass(frozen=True, eq=False)
class Response(Exportable):
    """The answer to a trial: metric, top class and hit per image.

    Attributes:
        trial: the question.
        images: SHA-256 of the content of each image, before the attack, if there is one.
        metric: metric of the logits; higher is better.
        predicted: index of the top class.
        true: index of the true class.
        hit: whether the top class is the one that the metric raises.
        provenance: device and versions (JSON values), not part of the identity.
    """

    trial: Trial
    images: tuple[str, ...]
    metric: Float[np.ndarray, "image"]
    predicted: Int[np.ndarray, "image"]
    true: Int[np.ndarray, "image"]
    hit: Bool[np.ndarray, "image"]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The id of the trial."""
        return self.trial.id

    @property
    def accuracy(self) -> float:
        """Share of hits."""
        return float(self.hit.mean())

    @cached_property
    def sha256(self) -> str:
        """Checksum of the images and the little-endian bytes of the arrays."""
        check = sha256("\n".join(self.images).encode())
        for values, kind in ((self.metric, "<f8"), (self.predicted, "<i4"), (self.true, "<i4"), (self.hit, "|b1")):
            check.update(np.ascontiguousarray(values, kind).tobytes())
        return check.hexdigest()

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with one row per image: `image, true, predicted, hit, metric`."""
        import pandas as pd

        values = {"true": self.true, "predicted": self.predicted, "hit": self.hit, "metric": self.metric}
        return pd.DataFrame({"image": list(self.images), **values})

    def __repr__(self) -> str:
        trial = self.trial
        where = f"{trial.model.name}, {trial.target_class.name!r}, {trial.condition.text}"
        return f"Response({self.id[:12]}, {where}, {trial.intervention.kind}, {len(self.images)} images)"

    def _first_rows(self, n: int) -> pd.DataFrame:
        return self.to_pandas().head(n)

    def properties(self) -> dict[str, Any]:
        """Return the columns of its catalog row except `created_ms`, by name."""
        trial = self.trial
        return {
            "id": self.id,
            **subject_columns(trial),
            "word": trial.contrast.word,
            "target": trial.contrast.target,
            "metric": trial.metric.text,
            "corruption": None if trial.corruption is None else trial.corruption.text,
            "split": trial.split,
            "intervention": trial.intervention.kind,
            "circuit": trial.circuit,
            "dtype": trial.dtype,
            "seed": trial.seed,
            "n_images": len(self.images),
            "metric_mean": float(self.metric.mean()),
            "accuracy": self.accuracy,
            "sha256": self.sha256,
        }
