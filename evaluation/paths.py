"""Path patching: the effect of a single path, with everything outside it fixed.

noising: the first sender of the path writes its corrupted output, as read by the next component of the path and by no
other. That component reads everything else as in the clean run, and its new output continues along the path in the
same way. After the last receiver of the path, the run continues without restrictions:

- a path of one edge `a0.h1->m2` is exact patching of that edge;
- a path that ends at `logits` is the effect of this path only (a direct effect if it has one edge).

    noising:   effect = m(x) − m(x with the path corrupted)
    denoising: effect = m(x' with the path restored) − m(x')

A positive effect raises the metric. Effects are in units of the metric, per image. As differences of two runs, small
effects round to zero in 16-bit types. Costs two full runs, one run of the components on the path and, if it does not
end at `logits`, one run of everything after it.

Wang et al. 2023, arXiv 2211.00593; Goldowsky-Dill et al. 2023, arXiv 2304.05969.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..circuits import FORMS, ComputationGraph, Edge, Form, Metric
from ..circuits.recipe import Direction
from ..errors import InputError, unknown
from ..models import CLEAN, CURRENT, PatchedRuns, ViT, capture, runs_model
from ..results import Exportable, Table
from .execution import DEFAULT, Execution
from .measured import MeasuredPairs, measure
from .pairs import ImagePairs
from .reference import check_direction, reference

RECEIVED = CLEAN
"""State of an edge that carries the other run's value.

In `PatchedRuns`, the other run takes the place of the clean run, and the base run that of the corrupted run.
"""


@dataclass(frozen=True)
class PathEffect(Exportable):
    """The effect of a path.

    Attributes:
        edges: edges of the path, from its first sender on.
        base: the metric of the unpatched base run (noising: the clean run), per image.
        patched: the metric with the path patched, per image.
        direction: `noising` or `denoising`.
    """

    edges: tuple[str, ...]
    base: Float[np.ndarray, "image"]
    patched: Float[np.ndarray, "image"]
    direction: Direction

    @property
    def per_image(self) -> Float[np.ndarray, "image"]:
        """Effect in units of the metric; positive if the path raises it."""
        return self.base - self.patched if self.direction == "noising" else self.patched - self.base

    @property
    def mean(self) -> float:
        return float(self.per_image.mean())

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `image, base, patched, effect`; one row per image."""
        columns = {"base": self.base, "patched": self.patched, "effect": self.per_image}
        return pd.DataFrame(columns).rename_axis("image").reset_index()

    def __repr__(self) -> str:
        return f"PathEffect({' '.join(self.edges)}: {self.mean:.4g} over {len(self.base)} images, {self.direction})"


@runs_model
def patch_path(
    model: ViT,
    pairs: ImagePairs,
    path: Sequence[str],
    *,
    form: Form = "split",
    metric: str | Metric = "logit",
    direction: Direction = "noising",
    execution: Execution = DEFAULT,
) -> PathEffect:
    """Patch one path.

    Args:
        path: components in order, such as `["a0.h1", "a2.h0<q>", "logits"]`, or edges, such as
            `["a0.h1->a2.h0<q>", "a2.h0->logits"]`. In the `attention` form, heads follow the layer's input, as in
            `["m0", "a1.in", "a1.h2", "logits"]`.
        form: form of the graph.
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        direction: `noising` (the path corrupted in the clean run) or `denoising` (restored in the corrupted run).
        execution: batch size.

    Raises:
        InputError: an unknown name, a step without an edge, a path without edges, pairs or a metric that do not fit, or
            `denoising` without corrupted images.

    Examples:
        >>> patch_path(model, pairs, ["a0.h1", "a2.h0<q>", "logits"])
        PathEffect(a0.h1->a2.h0<q> a2.h0->logits: ... over 8 images, noising)
    """
    graph = _graph(model, form)
    edges = path_edges(graph, path)
    measured = measure(model, pairs, metric)
    check_direction(direction, measured)
    carries = path_carries(graph, edges)
    base, patched = [], []
    for batch in measured.batches(execution.size(model, form)):
        runs = _PathRuns(model, batch, direction)
        base.append(runs.base)
        patched.append(runs.values(graph, carries))
    before, after = (torch.cat(parts).double().cpu().numpy() for parts in (base, patched))
    return PathEffect(tuple(graph.edge_names[edge] for edge in edges), before, after, direction)


@runs_model
def head_to_head(
    model: ViT,
    pairs: ImagePairs,
    sender_layer: int,
    receiver_layer: int,
    *,
    form: Literal["split", "head"] = "split",
    metric: str | Metric = "logit",
    direction: Direction = "noising",
    execution: Execution = DEFAULT,
) -> Table:
    """Compute the effect of each head of one layer on each head of a later layer.

    Args:
        sender_layer: layer of the sending heads.
        receiver_layer: layer of the receiving heads, after `sender_layer`.
        form: `split`: one row for each of q, k and v; `head`: one row for all three together.

    The other arguments are those of `patch_path`.

    Returns:
        Columns `sender`, `receiver`, `port` (empty in the `head` form); `effect`, the mean over images of the effect of
        the edge, with everything after the receiver recomputed; `effect_std`, the standard deviation over images (ddof
        1; NaN for one image); `direct`, the mean of the part that goes from the receiver straight to `logits`. In units
        of the metric, positive if it is raised. Facts: `base` (the metric of the unpatched base run) and `images`.

    Raises:
        InputError: layers that the model lacks or in the wrong order, and as for `patch_path`.

    Examples:
        >>> head_to_head(model, pairs, 0, 3).to_pandas().columns.tolist()
        ['sender', 'receiver', 'port', 'effect', 'effect_std', 'direct']
    """
    graph = _graph(model, form, ("split", "head"))
    if not 0 <= sender_layer < receiver_layer < model.n_layers:
        raise InputError(
            f"layers: expected 0 ≤ sender_layer < receiver_layer ≤ {model.n_layers - 1}, "
            f"got {sender_layer} and {receiver_layer}"
        )
    measured = measure(model, pairs, metric)
    check_direction(direction, measured)
    edges = _between(graph, sender_layer, receiver_layer)
    to_logits = {e: graph.index_of(f"{graph.edge(e).receiver}->logits") for e in edges}
    carried = [path_carries(graph, path) for e in edges for path in ((e,), (e, to_logits[e]))]
    base, patched = [], []
    for batch in measured.batches(execution.size(model, form)):
        runs = _PathRuns(model, batch, direction)
        base.append(runs.base)
        patched.append(torch.stack([runs.values(graph, carries) for carries in carried]))
    before, after = torch.cat(base).double().cpu(), torch.cat(patched, dim=1).double().cpu()
    effects = before - after if direction == "noising" else after - before
    frame = _pairs_frame([graph.edge(edge) for edge in edges], live=effects[0::2], direct=effects[1::2])
    return Table(frame, facts={"base": float(before.mean()), "images": len(pairs)})


def _pairs_frame(
    edges: list[Edge], live: Float[Tensor, "edge image"], direct: Float[Tensor, "edge image"]
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sender": [edge.sender for edge in edges],
            "receiver": [edge.receiver for edge in edges],
            "port": [edge.port for edge in edges],
            "effect": live.mean(1),
            "effect_std": live.std(1) if live.shape[1] > 1 else float("nan"),
            "direct": direct.mean(1),
        }
    )


def path_edges(graph: ComputationGraph, path: Sequence[str]) -> tuple[int, ...]:
    """Return the flat indices of a path's edges, given its components or its edges.

    Raises:
        InputError: an unknown name, a step without an edge, or a path without edges.
    """
    if isinstance(path, str) or not path:
        raise InputError(f"path: expected components or edges in order, got {path!r}")
    steps = list(path) if "->" in path[0] else _steps(graph, path)
    edges = tuple(graph.index_of(step) for step in steps)
    if not edges:
        raise InputError(f"path: {' '.join(path)} has no edge; name at least a sender and a receiver")
    for before, after in pairwise(edges):
        if graph.edge(after).sender not in _writes(graph, before):
            raise InputError(
                f"path: {graph.edge_names[before]} cannot be followed by {graph.edge_names[after]}; the next edge must "
                f"leave {' or '.join(_writes(graph, before)) or 'nothing: the path ends at logits'}"
            )
    return edges


def _steps(graph: ComputationGraph, components: Sequence[str]) -> list[str]:
    """Return the edge names between consecutive components; structural links are steps without an edge."""
    steps = []
    for here, there in pairwise(components):
        sender = here.partition("<")[0]
        if (sender, there) not in graph.structural_links:
            steps.append(f"{sender}->{there}")
    return steps


def _writes(graph: ComputationGraph, edge: int) -> list[str]:
    """Return the senders whose output the edge changes directly."""
    node = graph.edge(edge).receiver
    below = [head for above, head in graph.structural_links if above == node]
    return below or ([node] if node in graph.senders else [])


def path_carries(graph: ComputationGraph, edges: Sequence[int]) -> Int[np.ndarray, "edge"]:
    """Return what each edge carries while a path is patched.

    The first edge of the path carries the value of the other run. Later edges of the path, and all edges downstream of
    its end, carry the current value. All other edges carry the value of the base run.
    """
    carries = np.zeros(graph.n_edges, int)
    changed = [graph.senders.index(sender) for sender in _writes(graph, edges[-1])]
    if changed:  # senders that do not depend on the path's end have the base run's value anyway
        carries[graph.edge_sender >= min(changed)] = CURRENT
    carries[list(edges[1:])] = CURRENT
    carries[edges[0]] = RECEIVED
    return carries


def _between(graph: ComputationGraph, sender_layer: int, receiver_layer: int) -> list[int]:
    layers = {c.name: c.layer for c in graph.components if c.kind == "head"}
    edges = map(graph.edge, range(graph.n_edges))
    wanted = (sender_layer, receiver_layer)
    return [i for i, edge in enumerate(edges) if (layers.get(edge.sender), layers.get(edge.receiver)) == wanted]


def _graph(model: ViT, form: str, forms: Sequence[Form] = FORMS) -> ComputationGraph:
    if form not in forms:
        raise unknown("form", form, forms)
    return model.graph(form)  # type: ignore[arg-type]


class _PathRuns:
    """Runs of one batch in which closed edges carry the value of the base run."""

    def __init__(self, model: ViT, batch: MeasuredPairs, direction: Direction) -> None:
        clean, corrupted = capture(model, batch.clean), reference(model, batch)
        base, other = (clean, corrupted) if direction == "noising" else (corrupted, clean)
        self.batch, self.base = batch, batch.values(base.logits)
        self.runs = PatchedRuns(model, base.stream, corrupted=base, clean=other)

    def values(self, graph: ComputationGraph, carries: Int[np.ndarray, "edge"]) -> Float[Tensor, "image"]:
        return self.batch.values(self.runs.logits(graph, carries))
