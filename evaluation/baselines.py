"""What a method has to beat: circuits drawn at random, and edges ranked by how much their senders write."""

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
from .edge_sets import whole_number
from .evaluate import evaluate_many
from .execution import DEFAULT, Execution
from .measured import check_pairs
from .pairs import ImagePairs

if TYPE_CHECKING:
    import pandas as pd

Null = Literal["paths", "uniform"]
NULLS: dict[str, Callable[..., Circuit]] = {"paths": random_circuit, "uniform": uniform_circuit}
"""`paths`: whole paths from `input` to `logits` until the size is reached (Shi et al. 2024): connected, as circuits
that are found. `uniform`: edges drawn one by one, then pruned: too easy to beat, as next to nothing of them is
connected."""


def drawn(graph: ComputationGraph, n_edges: int, count: int, null: str, rng: np.random.Generator) -> list[Circuit]:
    """Random circuits of a size; empty ones for size 0.

    Raises:
        InputError: no such null.
    """
    if null not in NULLS:
        raise unknown("null", null, NULLS)
    draw = NULLS[null] if n_edges else uniform_circuit
    return [draw(graph, n_edges, seed=int(seed)) for seed in rng.integers(2**32, size=count)]


@dataclass(frozen=True, eq=False)
class RandomCurves(Exportable):
    """Curves of random circuits: one draw of every size each.

    Attributes:
        null: how circuits were drawn, a key of `NULLS`.
        seed: of the draws.
        curves: one a draw, all of the same requested sizes.
    """

    null: str
    seed: int
    curves: tuple[FaithfulnessCurve, ...]

    @property
    def mean(self) -> FaithfulnessCurve:
        """Means over draws; realised sizes rounded."""
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
        """Area under faithfulness, per draw."""
        return np.array([curve.cpr for curve in self.curves])

    @property
    def cmd(self) -> Float[np.ndarray, "draw"]:
        """Area of |1 − faithfulness|, per draw: MIB's random baseline has 0.75 on its first task."""
        return np.array([curve.cmd for curve in self.curves])

    def to_pandas(self) -> pd.DataFrame:
        """Columns `draw` and those of a curve; one row per draw and size."""
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
    """The curves that a scoring which knows nothing would have: random circuits of growing size (Shi et al. 2024).

    Each size of each draw is a circuit of its own. Costs `draws` · sizes + 2 runs of one circuit on all images.

    Args:
        form: of the graph, for sizes; a curve to match must be of this form.
        sizes: edges of each circuit; a curve, to match it size by size: circuits of its realised sizes, told at its
            requested ones; by default the sizes that `faithfulness_curve` has.
        draws: circuits of each size.
        null: `paths` (connected) or `uniform`.
        seed: of the draws: the same seed gives the same circuits.
        execution: its progress counts runs of all images.

    Raises:
        InputError: sizes out of range, a curve of another graph, unknown names, or what `evaluate` raises.
    """
    graph = model.graph(form)
    draws = whole_number("draws", draws, 1)
    asked, n_edges = _sizes(graph, sizes)
    rng = np.random.default_rng(seed)
    by_size = [drawn(graph, n, draws, null, rng) for n in n_edges]
    circuits = [column[i] for i in range(draws) for column in by_size]
    found = evaluate_many(model, pairs, circuits, metric=metric, execution=execution)
    parts = [slice(i * len(asked), (i + 1) * len(asked)) for i in range(draws)]
    return RandomCurves(null, seed, tuple(curve_from(circuits[p], found[p], requested=asked) for p in parts))


def _sizes(graph: ComputationGraph, sizes: Sequence[int] | FaithfulnessCurve | None) -> tuple[list[int], list[int]]:
    """Sizes to tell, and edges to draw."""
    if isinstance(sizes, FaithfulnessCurve):
        if sizes.n_graph_edges != graph.n_edges:
            raise InputError(
                f"sizes: the curve is of a graph of {sizes.n_graph_edges} edges, the {graph.form} form has "
                f"{graph.n_edges}; give the curve's form"
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
    """Score each edge by how much its sender writes, whoever reads it: a baseline that knows sizes and no metric.

    s(u→v) = ‖o_u(x) − o_u(x')‖₂ over tokens and dimensions, the mean over images: what patching the edge moves in the
    stream. All edges out of a sender are equal, and ties go to the earlier receiver; grow circuits from such scores by
    `greedy`. Magnitudes without sign, in units of the stream. Two forwards an image pair. Classes are not read.

    Args:
        form: of the graph whose edges are scored.
        execution: its progress counts images.

    Raises:
        InputError: pairs that do not fit.

    Examples:
        >>> magnitude_scores(model, pairs).greedy(0.05)
    """
    graph = model.graph(form)
    check_pairs(model, pairs)
    norms: list[np.ndarray] = []
    done = 0
    for batch in pairs.batches(execution.size(model, form)):
        differences = sender_differences(model, form, capture(model, batch.clean), capture(model, batch.corrupted))
        norms.append(differences.flatten(2).norm(dim=2).cpu().numpy())
        execution.report(done := done + len(batch), len(pairs))
    per_image = np.concatenate(norms)[:, graph.edge_sender]
    return EdgeScores.from_images(graph, per_image, additive=False, signed=False)
