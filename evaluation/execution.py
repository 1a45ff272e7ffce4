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
"""Bytes that a default batch may take. Fixed, not measured: a batch's size can move the last bit of a float32 score."""


@dataclass(frozen=True)
class Execution:
    """How a computation is run.

    Attributes:
        batch_size: images at a time; None: as many as fit a fixed budget of memory.
        progress: called with how much is done and of how much, in the computation's own unit.
        journal: a file in which a long method keeps what it has found. The same call continues from there; a damaged
            file is logged, and the call starts from the beginning.

    Examples:
        >>> scores = score_edges(model, pairs, execution=Execution(batch_size=8))
    """

    batch_size: int | None = None
    progress: Callable[[int, int], None] | None = None
    journal: Journal | Path | str | None = None

    def size(self, model: ViT, form: Form) -> int:
        """The batch size for a model's graph.

        Raises:
            InputError: `batch_size` is not a positive whole number.
        """
        asked: object = self.batch_size
        if asked is not None:
            if not isinstance(asked, Integral) or isinstance(asked, bool) or asked < 1:
                raise InputError(f"batch_size: expected a positive whole number, got {asked!r}")
            return int(asked)
        saved = 24 * model.n_layers  # streams' worth of activations that a backward pass keeps, and captures
        streams = model.graph(form).n_senders + saved
        image = streams * model.n_tokens * model.d_model * model.exact_dtype.itemsize
        return int(min(64, max(1, _BUDGET.get(model.device.type, 2**29) // image)))

    def report(self, done: int, total: int) -> None:
        """Report progress, where somebody wants it."""
        if self.progress is not None:
            self.progress(done, total)


DEFAULT = Execution()
