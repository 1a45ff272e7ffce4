"""Baselines for discovery methods: random circuits, and edges ranked by the size of their sender's output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from ..circuits import Circuit, ComputationGraph, EdgeScores, Form, Metric, random_circuit, size_grid, uniform_circuit
from ..errors import InputError, unknown
from ..models import ViT, capture, runs_model, sender_differences
from ..results import Exportable
from .curves import FaithfulnessCurve, curve_from
from .edge_sets import require_whole_number
from .evaluate import evaluate_many
from .execution import DEFAULT, Execution
from .measured import check_pairs
from .pairs import ImagePairs
from .reference import reference

if TYPE_CHECKING:
    import pandas as pd

Null = Literal["paths", "uniform"]
NULLS: dict[str, Callable[..., Circuit]] = {"paths": random_circuit, "uniform": uniform_circuit}
"""How random circuits are drawn.

`paths` adds whole paths from `input` to `logits` until the size is reached (Shi et al. 2024), so the circuits are
connected, as discovered ones are. `uniform` draws edges one by one and prunes. It is a weak baseline: almost none of
these edges are connected.
"""


def draw_circuits(
    graph: ComputationGraph, n_edges: int, count: int, null: str, rng: np.random.Generator
) -> list[Circuit]:
    """Return `count` random circuits of `n_edges` edges; empty circuits for size 0.

    Raises:
        InputError: `null` is unknown.
    """
    if null not in NULLS:
        raise unknown("null", null, NULLS)
    draw = NULLS[null] if n_edges else uniform_circuit
    return [draw(graph, n_edges, seed=int(seed)) for seed in rng.integers(2**32, size=count)]


@dataclass(frozen=True, eq=False)
class RandomCurves(Exportable):
    """Faithfulness curves of random circuits, one curve per draw.

    Attributes:
        null: how circuits were drawn, a key of `NULLS`.
        seed: seed of the draws.
        curves: one curve per draw, all at the same requested sizes.
    """

    null: str
    seed: int
    curves: tuple[FaithfulnessCurve, ...]

    @property
    def mean(self) -> FaithfulnessCurve:
        """The mean curve over draws; realised sizes are rounded."""
        first = self.curves[0]
        return FaithfulnessCurve(
            n_graph_edges=first.n_graph_edges,
            requested=first.requested,
            realised=np.mean([c.realised for c in self.curves], axis=0).round().astype(int),
            faithfulness=np.mean([c.faithfulness for c in self.curves], axis=0),
            retention=np.mean([c.retention for c in self.curves], axis=0),
        )

    @property
    def cpr(self) -> Float[np.ndarray, "draw"]:
        """Area under the faithfulness curve, per draw."""
        return np.array([curve.cpr for curve in self.curves])

    @property
    def cmd(self) -> Float[np.ndarray, "draw"]:
        """Area of |1 − faithfulness|, per draw. MIB's random baseline has 0.75 on its first task."""
        return np.array([curve.cmd for curve in self.curves])

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `draw` and those of a curve; one row per draw and size."""
        import pandas as pd

        frames = [curve.to_pandas() for curve in self.curves]
        frame = pd.concat(frames, ignore_index=True)
        frame.insert(0, "draw", np.repeat(np.arange(len(frames)), len(frames[0])))
        return frame

    def __repr__(self) -> str:
        return f"RandomCurves({len(self.curves)} draws of {len(self.curves[0].requested)} sizes, {self.null})"


@runs_model
def random_curves(
    model: ViT,
    pairs: ImagePairs,
    *,
    form: Form = "split",
    metric: str | Metric = "logit",
    sizes: Sequence[int] | FaithfulnessCurve | None = None,
    draws: int = 10,
    null: Null = "paths",
    seed: int = 0,
    execution: Execution = DEFAULT,
) -> RandomCurves:
    """Compute the faithfulness curves of random circuits (Shi et al. 2024).

    Each size of each draw is a separate circuit. Costs `draws` · sizes + 2 runs of one circuit on all images.

    Args:
        form: form of the graph; a curve passed as `sizes` must have this form.
        sizes: edges of each circuit. A curve is matched size by size: circuits have its realised sizes and are reported
            at its requested sizes. The default sizes are those of `faithfulness_curve`.
        draws: circuits per size.
        null: `paths` (connected) or `uniform`.
        seed: seed of the draws.
        execution: batch size and progress; progress counts runs of all images.

    Raises:
        InputError: sizes out of range, a curve of another graph, an unknown name, or any error of `evaluate`.

    Examples:
        >>> random_curves(model, pairs, form="block", sizes=[8, 16], draws=3)
        RandomCurves(3 draws of 2 sizes, paths)
    """
    graph = model.graph(form)
    draws = require_whole_number("draws", draws, 1)
    requested, n_edges = _sizes(graph, sizes)
    rng = np.random.default_rng(seed)
    by_size = [draw_circuits(graph, n, draws, null, rng) for n in n_edges]
    circuits = [column[i] for i in range(draws) for column in by_size]
    results = evaluate_many(model, pairs, circuits, metric=metric, execution=execution)
    parts = [slice(i * len(requested), (i + 1) * len(requested)) for i in range(draws)]
    return RandomCurves(null, seed, tuple(curve_from(circuits[p], results[p], requested=requested) for p in parts))


def _sizes(graph: ComputationGraph, sizes: Sequence[int] | FaithfulnessCurve | None) -> tuple[list[int], list[int]]:
    """Return the sizes to report and the sizes to draw."""
    if isinstance(sizes, FaithfulnessCurve):
        if sizes.n_graph_edges != graph.n_edges:
            raise InputError(
                f"sizes: the curve has a graph of {sizes.n_graph_edges} edges, but the {graph.form} form has "
                f"{graph.n_edges}; pass the form of the curve"
            )
        return sizes.requested.tolist(), sizes.realised.tolist()
    wanted = size_grid(graph.n_edges) if sizes is None else sorted(set(sizes))
    if not wanted or wanted[0] < 0 or wanted[-1] > graph.n_edges:
        raise InputError(f"sizes: expected numbers of edges from 0 to {graph.n_edges}, got {wanted[:5]}")
    return wanted, wanted


@runs_model
def magnitude_scores(
    model: ViT, pairs: ImagePairs, *, form: Form = "split", execution: Execution = DEFAULT
) -> EdgeScores:
    """Score each edge by the size of its sender's output: a baseline that ignores receiver and metric.

    s(u→v) = ‖o_u(x) − o_u(x')‖₂ over tokens and dimensions, averaged over images. All edges of a sender have the same
    score, and ties go to the earlier receiver, so extract circuits with `greedy`. Scores are unsigned, in units of the
    residual stream. Class labels are not used. Costs two forward passes per image pair.

    Args:
        form: form of the graph whose edges are scored.
        execution: batch size and progress; progress counts images.

    Raises:
        InputError: the pairs do not fit the model.

    Examples:
        >>> magnitude_scores(model, pairs).greedy(0.05)
        Circuit(...)
    """
    graph = model.graph(form)
    check_pairs(model, pairs)
    norms: list[np.ndarray] = []
    done = 0
    for batch in pairs.batches(execution.size(model, form)):
        differences = sender_differences(model, form, capture(model, batch.clean), reference(model, batch))
        norms.append(differences.flatten(2).norm(dim=2).cpu().numpy())
        execution.report(done := done + len(batch), len(pairs))
    per_image = np.concatenate(norms)[:, graph.edge_sender]
    return EdgeScores.from_images(graph, per_image, additive=False, signed=False)
