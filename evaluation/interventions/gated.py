"""Gated edits: each image is edited or not, by its own score.

A gate scores an image with the unedited model, and the image is edited if its score exceeds the gate's threshold. The
threshold follows from a false-alarm rate on selection images, which neither the gate nor the edit was fitted on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...circuits import digest
from ...circuits.kinds import REQUIRED, Param, is_number, number
from ...circuits.response import Intervention
from ...errors import InputError, check_known, warn
from ...models import ViT, plain_torch
from ..execution import DEFAULT, Execution
from ..pairs import check_images
from .chosen import chosen_senders
from .directions import Directions, projections, sent
from .edit import Changes, Edit, check_model
from .kind import HASH, InterventionKind

Statistic = Literal["mean", "max"]
"""How the excess of an image's projections becomes one number."""


@runtime_checkable
class Gate(Protocol):
    """Something that decides which images are edited."""

    @property
    def id(self) -> str:
        """Hash of everything that decides its scores."""
        ...

    @property
    def threshold(self) -> float:
        """Images with a higher score are edited."""
        ...

    def scores(self, model: ViT, images: Float[Tensor, "image channel height width"]) -> Any:
        """Return one score per image, higher if it is more suspicious; an image's score depends on no other image."""
        ...


class GatedChanges(Changes):
    """Changes of the images that a gate flags. The gate runs when images enter the model.

    Args:
        inner: the changes.
        gate: the gate.
        model: the model.
    """

    def __init__(self, inner: Changes, gate: Gate, model: ViT) -> None:
        super().__init__()
        self.inner, self.gate, self.model = inner, gate, model

    def hooks(self, module: Any) -> Iterator[RemovableHandle]:
        self.model = replace(self.model, module=module)
        yield module.patch_embed.register_forward_pre_hook(self._decide)
        yield from self.inner.hooks(module)

    def _decide(self, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        if self.off:
            return
        self.off = self.inner.off = True
        try:
            with torch.no_grad():
                scores = torch.as_tensor(self.gate.scores(self.model, args[0].detach()))
        finally:
            self.off = self.inner.off = False
        if scores.shape != (len(args[0]),):
            raise InputError(f"gate: expected one score per image ({len(args[0])}), got {tuple(scores.shape)}")
        self.inner.mask = (scores > self.gate.threshold).to(args[0].device)


@dataclass(frozen=True, eq=False, repr=False)
class GatedEdit(Edit):
    """An edit of the images that a gate flags; created by `gated`."""

    edit: Edit
    gate: Gate

    @property
    def intervention(self) -> Intervention:
        inner = digest(self.edit.intervention.to_dict())
        return GATED.use(edit=inner, gate=self.gate.id, threshold=float(self.gate.threshold))

    @property
    def text(self) -> str:
        return f"{self.edit.text}, if the gate's score is above {self.gate.threshold:.4g}"

    def changes(self, model: ViT) -> Changes:
        return GatedChanges(self.edit.changes(model), self.gate, model)


def gated(edit: Edit, gate: Gate) -> GatedEdit:
    """Return the edit of only those images that a gate flags; the others run bit-identically to the unedited model.

    An image is flagged by itself, with the unedited model, whatever else is in the batch. The decision has no gradient:
    gradients are those of the branch that the image takes. For an attack that knows the defence, attack the edit
    without the gate as well, since the attacker may stay below the threshold.

    Args:
        edit: the edit.
        gate: the gate, such as what `projection_gate` returns, or a fitted detector.

    Raises:
        InputError: an edit that is itself gated.

    Examples:
        >>> directions = cs.fit_directions(model, pairs)
        >>> gate = projection_gate(model, directions, pairs.clean, false_alarms=0.25)
        >>> edit = gated(cs.steer_senders(directions), gate)
        >>> with edit.applied(model):
        ...     same = torch.equal(model.logits(pairs.clean[:1]), model.logits(pairs.clean)[:1])
        >>> edit.intervention.kind
        'gated'
    """
    if isinstance(edit, GatedEdit):
        raise InputError("edit: expected one without a gate, got a gated edit; a gate that combines both would do it")
    return GatedEdit(edit.model, edit, gate)


@dataclass(frozen=True, eq=False)
class ProjectionGate:
    """A gate that flags images whose senders project on directions further than clean images do.

    The score is the mean or the largest excess ReLU(⟨o_u,p , v⟩ − b) over the senders and tokens with a direction.

    Attributes:
        directions: the directions.
        senders: names of the senders.
        statistic: `mean` or `max`.
        threshold: images with a higher score are flagged.
    """

    directions: Directions
    senders: tuple[str, ...]
    statistic: Statistic
    threshold: float

    @property
    def id(self) -> str:
        """Hash of directions, senders, statistic and threshold."""
        return digest([self.directions.sha256, list(self.senders), self.statistic, self.threshold])

    @plain_torch()
    def scores(
        self, model: ViT, images: Float[Tensor, "image channel height width"], *, execution: Execution = DEFAULT
    ) -> Float[Tensor, "image"]:
        """Return the score of each image.

        Raises:
            InputError: another model than that of the directions.
        """
        check_model("gate", self.directions.model, model)
        rows = list(chosen_senders(self.directions.graph, self.senders))
        offsets = torch.from_numpy(self.directions.offsets[rows])
        there = torch.from_numpy(self.directions.defined[rows])
        size, parts = execution.size(model, self.directions.graph.form), []
        for batch in images.split(size):
            found = projections(model, self.directions, sent(model, batch))[:, rows]
            excess = torch.relu(found - offsets.to(found))[:, there.to(found.device)]
            parts.append(excess.mean(dim=1) if self.statistic == "mean" else excess.amax(dim=1))
        return torch.cat(parts).cpu()

    def __repr__(self) -> str:
        return f"ProjectionGate({self.statistic} excess of {len(self.senders)} senders above {self.threshold:.4g})"


def projection_gate(
    model: ViT,
    directions: Directions,
    images: Float[Tensor, "image channel height width"],
    *,
    senders: Sequence[str] | None = None,
    statistic: Statistic = "mean",
    false_alarms: int | float = 0.05,
    execution: Execution = DEFAULT,
) -> ProjectionGate:
    """Return the gate that flags images by the excess of their projections, with a threshold from clean images.

    Args:
        model: the model.
        directions: what `fit_directions` returns.
        images: normalised clean selection images, on which the threshold is chosen.
        senders: names of the senders whose excess counts; all by default.
        statistic: `mean` or `max` of the excess.
        false_alarms: largest share of these images that may be flagged, from 0 to below 1.
        execution: batch size.

    Raises:
        InputError: no images or images that do not fit, directions of another model or without a direction at the
            senders, an unknown statistic, or a rate outside of 0 to 1.

    Examples:
        >>> gate = projection_gate(model, cs.fit_directions(model, pairs), pairs.clean, false_alarms=0.25)
        >>> float((gate.scores(model, pairs.clean) > gate.threshold).double().mean()) <= 0.25
        True
    """
    check_known("statistic", statistic, get_args(Statistic))
    directions.check_fit(model)
    check_images("images", images, model)
    chosen = chosen_senders(directions.graph, senders)
    if not directions.defined[list(chosen)].any():
        raise InputError("senders: expected at least one with a direction, but these have none at any token")
    names = tuple(directions.graph.senders[sender] for sender in chosen)
    gate = ProjectionGate(directions, names, statistic, 0.0)
    return replace(gate, threshold=threshold_at(gate.scores(model, images, execution=execution), false_alarms))


def threshold_at(scores: Float[Tensor, "image"] | Float[np.ndarray, "image"], false_alarms: int | float) -> float:
    """Return the lowest of the scores that at most this share of them exceeds.

    Warns if there are too few scores for the rate, so that none exceeds it.

    Args:
        scores: scores of clean images.
        false_alarms: the share, from 0 to below 1.

    Raises:
        InputError: no scores, a score that is not finite, or a rate outside of 0 to 1.

    Examples:
        >>> threshold_at(np.array([3.0, 1.0, 2.0, 4.0]), 0.25)
        3.0
    """
    values = np.sort(np.asarray(scores, float))
    if not is_number(false_alarms) or not 0 <= false_alarms < 1:
        raise InputError(f"false_alarms: expected a number from 0 to below 1, got {false_alarms!r}")
    if not len(values) or not np.isfinite(values).all():
        raise InputError(f"scores: expected at least one finite number, got {len(values)} with NaN or infinity or none")
    allowed = int(np.floor(false_alarms * len(values) + 1e-9))
    if false_alarms and not allowed:
        warn(
            f"false_alarms: {len(values)} images are too few for a rate of {false_alarms:g}, so the threshold is their "
            f"largest score; use at least {np.ceil(1 / false_alarms):.0f} images"
        )
    return float(values[len(values) - 1 - allowed])


GATED = InterventionKind(
    key="gated",
    name="An edit of the images that a gate flags",
    function=gated,
    params={"edit": HASH, "gate": Param(REQUIRED, "the id of a gate", str), "threshold": number(REQUIRED, "a number")},
)
