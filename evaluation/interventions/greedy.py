"""Greedy choice of heads and MLPs to ablate, bounded by the clean cost.

Components are tried one by one, those first whose ablation alone helps attacked images most. A component is added if
the accuracy on attacked images rises and the accuracy on clean images stays within the allowed loss; the search ends
after a number of components in a row that are not added. Source: Dyslexify, arXiv 2508.20570, which orders heads by the
attention that the class token pays to the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...circuits.kinds import is_number, is_whole
from ...errors import InputError
from ...models import ConstantOutputs, Tokens, ViT, runs_model
from ...results import Exportable
from ..execution import DEFAULT, Execution
from ..pairs import ImagePairs
from .ablation import AblatedComponents, ablate_components

if TYPE_CHECKING:
    import pandas as pd

PerImage = Callable[[Tensor, Tensor], Tensor]
"""Returns a number per image, given logits and true classes."""


@dataclass(frozen=True)
class Step:
    """A component that was tried: its name, the accuracies with it and all that were added before, and whether it is.

    Attributes:
        component: the component.
        clean: accuracy on clean images.
        attacked: accuracy on attacked images.
        added: whether it was added.
    """

    component: str
    clean: float
    attacked: float
    added: bool


@dataclass(frozen=True, eq=False)
class GreedyComponents(Exportable):
    """The components that `greedy_components` chose.

    Attributes:
        edit: the ablation of them; None if none was added.
        clean: accuracy of the unedited model on clean images.
        attacked: accuracy of the unedited model on attacked images.
        steps: the components in the order in which they were tried.
    """

    edit: AblatedComponents | None
    clean: float
    attacked: float
    steps: tuple[Step, ...]

    @property
    def components(self) -> tuple[str, ...]:
        """The chosen components, first added first."""
        return tuple(step.component for step in self.steps if step.added)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per tried component: `component, clean, attacked, added`."""
        import pandas as pd

        rows = [(step.component, step.clean, step.attacked, step.added) for step in self.steps]
        return pd.DataFrame(rows, columns=["component", "clean", "attacked", "added"])

    def __repr__(self) -> str:
        last = next((step for step in reversed(self.steps) if step.added), None)
        clean, attacked = (self.clean, self.attacked) if last is None else (last.clean, last.attacked)
        return (
            f"GreedyComponents({len(self.components)} of {len(self.steps)} tried components, attacked accuracy "
            f"{self.attacked:.3f} to {attacked:.3f}, clean {self.clean:.3f} to {clean:.3f})"
        )


@runs_model
def greedy_components(
    model: ViT,
    pairs: ImagePairs,
    constants: ConstantOutputs,
    *,
    candidates: Sequence[str] | None = None,
    max_loss: int | float = 0.01,
    skips: int = 10,
    tokens: Tokens = "all",
    execution: Execution = DEFAULT,
) -> GreedyComponents:
    """Choose heads and MLPs greedily whose ablation raises the accuracy on attacked images at a bounded clean cost.

    Args:
        model: the model.
        pairs: clean images, and as their corrupted images the same images under the attack. Use images on which
            nothing is reported.
        constants: what ablated components send.
        candidates: names of components, in the order in which they are tried. By default all heads and MLPs, ordered
            by the mean log-probability of the true class on attacked images when only this component is ablated.
        max_loss: largest allowed loss of accuracy on clean images, 0 to 1.
        skips: number of components in a row that are not added, after which the search ends.
        tokens: where components are ablated, see `ablate_components`.
        execution: batch size and progress; progress counts runs of all pairs.

    Raises:
        InputError: pairs that do not fit or without corrupted images, an unknown component, constants of another
            model, a loss outside of 0 to 1, or a number of skips below 1.

    Examples:
        >>> found = greedy_components(model, pairs, cs.zero_outputs(model), candidates=["a0.h1", "m3"])
        >>> found.to_pandas()["component"].tolist()
        ['a0.h1', 'm3']
    """
    if not is_number(max_loss) or not 0 <= max_loss <= 1:
        raise InputError(f"max_loss: expected a number from 0 to 1, got {max_loss!r}")
    if not is_whole(skips) or skips < 1:
        raise InputError(f"skips: expected a whole number of at least 1, got {skips!r}")
    pairs.check_fit(model)
    images, size, done = (pairs.clean, pairs.corrupted), execution.size(model, "block"), 0
    every = tuple(model.graph("head").senders[1:])
    total = (len(every) if candidates is None else 0) + len(every if candidates is None else candidates)

    def edit(components: Sequence[str]) -> AblatedComponents:
        return ablate_components(model, components, constants, tokens=tokens)

    def measured(components: Sequence[str], of: PerImage, attacked: bool) -> float:
        with edit(components).applied(model):
            return _mean(model, images[attacked], pairs.labels, of, size)

    def report() -> None:
        nonlocal done
        done += 1
        execution.report(done, total)

    clean, attacked = (_mean(model, part, pairs.labels, _hits, size) for part in images)
    if candidates is None:
        gains = {}
        for name in every:
            gains[name] = measured([name], _log_probabilities, True)
            report()
        candidates = sorted(gains, key=lambda name: -gains[name])
    chosen: list[str] = []
    steps: list[Step] = []
    best, skipped = attacked, 0
    for name in candidates:
        now_clean, now_attacked = (measured([*chosen, name], _hits, kind) for kind in (False, True))
        added = now_attacked > best and now_clean >= clean - max_loss
        steps.append(Step(name, now_clean, now_attacked, added))
        report()
        if added:
            chosen, best, skipped = [*chosen, name], now_attacked, 0
        elif (skipped := skipped + 1) >= skips:
            break
    return GreedyComponents(edit(chosen) if chosen else None, clean, attacked, tuple(steps))


def _mean(model: ViT, images: Tensor, labels: Tensor, of: PerImage, size: int) -> float:
    """Return the mean of a function of logits and labels over images."""
    parts = [
        of(model.logits(batch).cpu(), own) for batch, own in zip(images.split(size), labels.split(size), strict=True)
    ]
    return float(torch.cat(parts).double().mean())


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.argmax(dim=1) == labels.cpu()


def _log_probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.double().log_softmax(dim=1).gather(1, labels.cpu()[:, None])[:, 0]
