"""What a model does on each image of a set: of itself, or under an intervention such as a circuit."""

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

if TYPE_CHECKING:
    import pandas as pd

Role = Literal["full", "empty", "circuit"]
ROLES: tuple[Role, ...] = ("full", "empty", "circuit")
"""The three responses behind the evaluation of a circuit: of the model, with every edge corrupted, of the circuit."""


class Intervention(Variant):
    """What was done to the run: `none`, `corrupted` (every edge), `circuit` (every edge outside one of the store)."""

    @classmethod
    def of_circuit(cls, id: str) -> Intervention:
        """Corrupt every edge outside the circuit of this id."""
        return cls.of("circuit", {"id": id})


NO_INTERVENTION = Intervention("none")
EVERY_EDGE = Intervention("corrupted")


@dataclass(frozen=True)
class Trial:
    """One question about behaviour: what does a model do on images of a class, under a condition and an intervention?

    Attributes:
        model: whose answers they are.
        target_class: true class of the images.
        condition: what was done to the images.
        selection: which images.
        split: part of the selection, such as `report`.
        metric: what is read from the logits.
        intervention: what was done to the run.
        corruption: where corrupted edges take their values from; None where no edge is corrupted.
        dtype: floating-point type of the run.
        seed: seed of everything random in the images.
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
        """The trial on the images of a work item. Method, form and direction of its recipe do not matter."""
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
        return digest({**self._asked(), "model": self.model.id})

    @property
    def circuit(self) -> str | None:
        """Id of the circuit that was run; None where none was."""
        return str(self.intervention["id"]) if self.intervention.kind == "circuit" else None

    def _asked(self) -> dict[str, Any]:
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
        return {**self._asked(), "model": asdict(self.model), **named}

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
    """The trials behind the evaluation of a circuit of an item, by role.

    Args:
        item: whose report images they are of.
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
    """What a model did on each image of a trial.

    Attributes:
        trial: the question.
        images: SHA-256 of the content of each image, before the attack where there is one.
        metric: of the logits; higher is better.
        predicted: index of the top class.
        true: index of the true class.
        hit: whether the top class is the one that the metric raises.
        provenance: device, versions: results, not identity (JSON values).
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
        """A row per image: `image, true, predicted, hit, metric`."""
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
        """The columns of its catalog row, but `created_ms`, by name."""
        trial = self.trial
        return {
            "id": self.id,
            "model": trial.model.name,
            "model_id": trial.model.id,
            "dataset": trial.target_class.dataset,
            "class": trial.target_class.name,
            "class_index": trial.target_class.class_index,
            "attack": trial.condition.kind,
            "condition": trial.condition.text,
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
