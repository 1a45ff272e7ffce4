"""Sequential edge patching: each edge is removed once, in turn, and stays removed if the metric loses little.

Receivers are processed from `logits` backwards (reverse topological order), so everything before the current receiver
is still the clean run. If several runs fit into a batch, removals are tried ahead along the expected decisions, and
runs after an unexpected decision are discarded. So the decisions are those of a loop that tries one removal at a time,
whatever was expected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..circuits import ComputationGraph, EdgeScores
from ..circuits.kinds import Param, choice
from ..evaluation.measured import MeasuredPairs
from ..evaluation.reference import reference
from ..models import Activations, SequentialRuns, capture
from .interpolation import along_path
from .method import MethodOutput, Task

ORDER: Param = choice("last first", "first first")
"""Order in which the senders of a receiver are tried: from the last in the graph to `input`, or from `input` on."""


def order_of(graph: ComputationGraph, order: str) -> Int[np.ndarray, "edge"]:
    """Return the flat edge indices in the order in which edges are decided."""
    blocks = [np.arange(*graph.offsets[receiver : receiver + 2]) for receiver in reversed(range(graph.n_receivers))]
    return np.concatenate([block[::-1] if order == "last first" else block for block in blocks])


@dataclass
class Sweep:
    """One pass over all edges at a threshold, possibly unfinished. Edges are in the order of decision.

    Attributes:
        threshold: how much an edge's removal may change the metric.
        start: the metric per image with no edge removed.
        values: the metric per image with this edge removed in addition to those removed before it.
        removed: the decisions.
        count: number of decided edges.
    """

    threshold: float
    start: Float[np.ndarray, "image"]
    values: Float[np.ndarray, "edge image"]
    removed: Bool[np.ndarray, "edge"]
    count: int = 0

    @classmethod
    def new(cls, threshold: float, start: Float[np.ndarray, "image"], edges: int) -> Sweep:
        return cls(threshold, start, np.zeros((edges, len(start))), np.zeros(edges, bool))

    @property
    def current(self) -> Float[np.ndarray, "image"]:
        """The metric with all edges removed that were decided so."""
        gone = np.flatnonzero(self.removed[: self.count])
        return self.values[gone[-1]] if len(gone) else self.start

    @cached_property
    def effects(self) -> Float[np.ndarray, "edge image"]:
        """For a finished sweep, what the metric lost by each removal when it was tried."""
        last = np.maximum.accumulate(np.where(self.removed, np.arange(len(self.removed)), -1))
        before = np.concatenate([[-1], last[:-1]])
        return np.where((before >= 0)[:, None], self.values[before], self.start) - self.values

    def decide(self, values: Float[np.ndarray, "image"], removes: Removes) -> bool:
        """Decide the next edge, given the metric without it."""
        self.removed[self.count] = removes(float((self.current - values).mean()), self.threshold)
        self.values[self.count] = values
        self.count += 1
        return bool(self.removed[self.count - 1])

    def at(self, threshold: float, removes: Removes) -> Sweep:
        """Return a sweep at another threshold, decided up to the first decision that differs from this one."""
        removed = np.array([removes(effect, threshold) for effect in self.effects.mean(axis=1).tolist()])
        same = removed == self.removed
        first = len(same) if same.all() else int(np.argmin(same))
        sweep = Sweep.new(threshold, self.start, len(same))
        sweep.values[:first], sweep.removed[:first], sweep.count = self.values[:first], self.removed[:first], first
        if first < len(same):
            sweep.decide(self.values[first], removes)
        return sweep


Removes = Callable[[float, float], bool]
"""Whether to remove an edge, given the mean change of the metric (positive: a loss) and the threshold."""


class Sequential:
    """Sweeps over the edges of a task, saved in its journal.

    Attributes:
        order: flat edge indices in the order of decision.
        sweeps: sweeps so far; all but the last are finished.
        ahead: how many removals to try at once next, if as many runs fit.
    """

    def __init__(self, task: Task, order: Int[np.ndarray, "edge"], removes: Removes, max_sweeps: int) -> None:
        """Resume from the task's journal; `max_sweeps` is the total of the progress."""
        self.task, self.graph, self.order, self.removes = task, task.graph, order, removes
        self.max_sweeps = max_sweeps
        self.sweeps: list[Sweep] = []
        self._resume(task.journal.read())

    def _resume(self, kept: dict[str, np.ndarray]) -> None:
        for index, (threshold, count) in enumerate(
            zip(kept.get("thresholds", ()), kept.get("counts", ()), strict=True)
        ):
            values, removed = kept[f"values {index}"], kept[f"removed {index}"]
            self.sweeps.append(Sweep(float(threshold), kept["start"], values, removed, int(count)))
        self.ahead = int(kept.get("ahead", 1))

    def _keep(self) -> None:
        state = {
            "start": self.start,
            "thresholds": np.array([sweep.threshold for sweep in self.sweeps]),
            "counts": np.array([sweep.count for sweep in self.sweeps]),
            "ahead": np.array(self.ahead),
        }
        for index, sweep in enumerate(self.sweeps):
            state |= {f"values {index}": sweep.values, f"removed {index}": sweep.removed}
        self.task.journal.save(state)
        done = sum(sweep.count for sweep in self.sweeps)
        self.task.progress(done, self.max_sweeps * self.graph.n_edges)

    @cached_property
    def _batches(self) -> list[MeasuredPairs]:
        return list(self.task.pairs.batches(self.task.batch_size))

    @cached_property
    def ends(self) -> tuple[Float[np.ndarray, "image"], Float[np.ndarray, "image"]]:
        """The metric per image on the clean and on the corrupted images."""
        model = self.task.model
        clean = [_numbers(batch.values(model.logits(batch.clean))) for batch in self._batches]
        corrupted = [_numbers(batch.values(reference(model, batch).logits)) for batch in self._batches]
        return np.concatenate(clean), np.concatenate(corrupted)

    @cached_property
    def start(self) -> Float[np.ndarray, "image"]:
        return self.sweeps[0].start if self.sweeps else self.ends[0]

    @cached_property
    def _first_guess(self) -> Float[np.ndarray, "edge"]:
        """Expected effect of each removal before any was tried: integrated gradients with one step.

        Without corrupted images the gradient is that of the clean run.
        """
        model, form = self.task.model, self.task.form
        point = 0.5 if self.task.pairs.has_images else 1.0
        scores = [along_path(model, batch, form, [point], "plain").scores for batch in self._batches]
        return torch.cat(scores).double().mean(dim=0).cpu().numpy()[self.order]

    @cached_property
    def _fits(self) -> int:
        """Number of runs of all images that fit into one batch."""
        return max(1, self.task.batch_size // len(self.task.pairs))

    def sweep(self, index: int, threshold: float) -> Sweep:
        """Return the finished sweep of this number at a threshold; resumes where the journal stopped."""
        if index == len(self.sweeps):
            finished = [sweep.at(threshold, self.removes) for sweep in self.sweeps]
            new = Sweep.new(threshold, self.start, self.graph.n_edges)
            self.sweeps.append(max([*finished, new], key=lambda sweep: sweep.count))
        sweep = self.sweeps[index]
        if sweep.count < self.graph.n_edges:
            runs = [SequentialRuns(self.task.model, self.graph, *self._ends(batch)) for batch in self._batches]
            expected = self._expected(sweep)
            for receiver in reversed(range(self.graph.n_receivers)):
                self._decide(receiver, sweep, runs, expected)
                for run in runs:
                    run.settle(receiver)
        return sweep

    def _ends(self, batch: MeasuredPairs) -> tuple[Activations, Activations]:
        return capture(self.task.model, batch.clean), reference(self.task.model, batch)

    def _expected(self, sweep: Sweep) -> Bool[np.ndarray, "edge"]:
        """Return which edges are expected to be removed, by the sweep of the nearest threshold or by a first guess."""
        if self._fits == 1:
            return np.ones(self.graph.n_edges, bool)
        others = [other for other in self.sweeps if other is not sweep]
        nearest = min(others, key=lambda other: abs(np.log(other.threshold / sweep.threshold)), default=None)
        effects = self._first_guess if nearest is None else nearest.effects.mean(axis=1)
        return np.array([self.removes(float(effect), sweep.threshold) for effect in effects])

    def _decide(
        self, receiver: int, sweep: Sweep, runs: list[SequentialRuns], expected: Bool[np.ndarray, "edge"]
    ) -> None:
        """Decide the remaining edges into one receiver, and apply the decisions to the runs."""
        first, stop = (self.graph.n_edges - int(self.graph.offsets[receiver + at]) for at in (1, 0))
        senders = self.graph.edge_sender[self.order]
        for at in np.flatnonzero(sweep.removed[first : min(stop, sweep.count)]):
            for run in runs:
                run.close(receiver, int(senders[first + at]))
        while sweep.count < stop:
            places = range(sweep.count, min(stop, sweep.count + min(self.ahead, self._fits)))
            if runs[0].matters(receiver):
                self._try(receiver, sweep, runs, expected, places)
            else:
                places = range(sweep.count, stop)
                for _ in places:
                    sweep.decide(sweep.current, self.removes)
            for place in range(places.start, sweep.count):
                if sweep.removed[place]:
                    for run in runs:
                        run.close(receiver, int(senders[place]))
            self._keep()

    def _try(
        self,
        receiver: int,
        sweep: Sweep,
        runs: list[SequentialRuns],
        expected: Bool[np.ndarray, "edge"],
        places: range,
    ) -> None:
        """Try removals along the expected decisions; decide up to the first unexpected one."""
        senders = self.graph.edge_sender[self.order[places.start : places.stop]].tolist()
        stay = expected[places.start : places.stop].tolist()
        logits = [run.without(receiver, senders, stay) for run in runs]
        for row in range(len(places)):
            values = [_numbers(b.values(part[row])) for b, part in zip(self._batches, logits, strict=True)]
            if sweep.decide(np.concatenate(values), self.removes) != stay[row]:
                self.ahead = max(1, min(self.ahead, 2 * row))
                return
        self.ahead = min(self._fits, 2 * self.ahead)


def _numbers(values: Tensor) -> Float[np.ndarray, "image"]:
    return values.double().cpu().numpy()


def method_output(search: Sequential, sweep: Sweep | None, *, order: str, **trace: Any) -> MethodOutput:
    """Return the output of a finished sweep, or all edges without scores if there is none.

    Args:
        order: name of the order, for the trace.
        trace: further entries of the trace.
    """
    members = np.ones(search.graph.n_edges, bool)
    scores = None
    if sweep is not None:
        members[search.order] = ~sweep.removed
        effects = np.empty_like(sweep.effects.T)
        effects[:, search.order] = sweep.effects.T
        exact = np.float64 if search.task.model.exact_dtype.itemsize == 8 else np.float32
        scores = EdgeScores.from_images(search.graph, effects.astype(exact), additive=False)
    facts = {
        "threshold": sweep and sweep.threshold,
        "receivers": "from logits backwards",
        "senders": order,
        "order": search.order.tolist(),
        "edges_before_pruning": int(members.sum()),
        "edges_after_pruning": int(search.graph.prune(members).sum()),
    }
    return MethodOutput(search.graph, scores, members, facts | trace)
