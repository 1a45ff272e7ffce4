"""How a computation is run: batch size, progress and journal. None of them changes the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

from ..circuits import Form
from ..errors import InputError
from ..models import ViT
from .journal import Journal

_BUDGET = {"cpu": 2**29, "cuda": 2**33}
"""Bytes per default batch. Fixed, not measured: the batch size can change the last bit of a float32 score."""


@dataclass(frozen=True)
class Execution:
    """How a computation is run.

    Attributes:
        batch_size: images per batch; None for as many as fit into a fixed memory budget.
        progress: called with the completed and the total amount, in the computation's own unit.
        journal: file in which a long method saves its progress. The same call resumes from there; if the file is
            damaged, this is logged and the call starts from the beginning.

    Examples:
        >>> scores = score_edges(model, pairs, execution=Execution(batch_size=8))
    """

    batch_size: int | None = None
    progress: Callable[[int, int], None] | None = None
    journal: Journal | Path | str | None = None

    def size(self, model: ViT, form: Form) -> int:
        """Return the batch size for a model's graph.

        Raises:
            InputError: `batch_size` is not a positive whole number.
        """
        requested: object = self.batch_size
        if requested is not None:
            if not isinstance(requested, Integral) or isinstance(requested, bool) or requested < 1:
                raise InputError(f"batch_size: expected a positive whole number, got {requested!r}")
            return int(requested)
        saved = 24 * model.n_layers  # activations saved for the backward pass and captured, in units of one stream
        streams = model.graph(form).n_senders + saved
        image = streams * model.n_tokens * model.d_model * model.exact_dtype.itemsize
        return int(min(64, max(1, _BUDGET.get(model.device.type, 2**29) // image)))

    def report(self, done: int, total: int) -> None:
        """Call `progress`, if there is one."""
        if self.progress is not None:
            self.progress(done, total)


DEFAULT = Execution()
