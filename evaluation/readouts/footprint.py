"""Footprints: at which tokens the edges of a circuit carry the metric; see `edge_parts`.

What flows through several edges of a path is counted at each of them. So the edges of a circuit are summed by layer of
the receiver, or only those out of `input` are summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...circuits import FORMS, Axis, Circuit, ComputationGraph, Metric, Readout, ReadoutUse
from ...circuits.kinds import choice
from ...circuits.readout import Label
from ...circuits.recipe import Scalar
from ...errors import InputError
from ...models import ViT, runs_model
from ..execution import DEFAULT, Execution
from ..measured import MeasuredPairs, measure
from ..pairs import ImagePairs
from .edge_parts import PARAMS, by_receiver, edge_parts, out_of_input
from .kind import ReadoutKind


@runs_model
def footprint(
    model: ViT,
    pairs: ImagePairs,
    edges: Circuit | Sequence[str],
    *,
    metric: str | Metric = "logit",
    execution: Execution = DEFAULT,
    **params: Scalar,
) -> Readout:
    """Divide the scores of edges by token.

    Args:
        edges: a circuit, or names such as `input->a0.h1<k>`.
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        execution: batch size and progress; progress counts images.
        **params: `by` is `token` (at which the sender writes and the receiver reads) or `source-token` (which a head
            reads what it writes from); `form` is the form of the graph, that of the circuit if there is one; `steps`,
            `rule` and `gradient` are those of the method `eap-ig`.

    Returns:
        Parts `[image, edge, token]` or `[image, edge, source_token]`, in units of the metric. Their sum over tokens is
        the score of the edge by `eap-ig`. Prefix tokens are first, then the patches row by row.

    Raises:
        InputError: no edge, an unknown or a repeated one; an unknown parameter or value; a circuit of another graph;
            pairs or a metric that do not fit, or no corrupted images.

    Examples:
        >>> found = footprint(model, pairs, ["input->a0.h1<k>", "m3->logits"])
        >>> found.names, found.values.shape
        (('image', 'edge', 'token'), (8, 2, 65))
        >>> np.allclose(found.values.sum(axis=2)[:, 1], scores.per_image[:, graph.index_of("m3->logits")], atol=1e-5)
        True
    """
    names = edges.edges if isinstance(edges, Circuit) else tuple(edges)
    if not names:
        raise InputError("edges: expected at least one edge, got none")
    if isinstance(edges, Circuit):
        params = {"form": edges.graph.form, **params}
    use = FOOTPRINT.use(**params)
    graph = _graph(model, use)
    if isinstance(edges, Circuit) and edges.graph != graph:
        raise InputError(f"edges: expected a circuit over the {graph.form} form of {model.name}, got {edges.graph}")
    axis = Axis("edge", names)
    rows: dict[Label, np.ndarray] = {name: np.array([graph.index_of(name)]) for name in names}
    return edge_parts(model, graph, measure(model, pairs, metric), (axis.name, rows), use, execution)


def footprint_by_layer(model: ViT, found: Readout) -> Readout:
    """Sum the footprints of edges by the layer of their receivers.

    Args:
        model: the model.
        found: a footprint of edges, see `footprint`.

    Returns:
        `[image, layer, token]`, the last layer being `logits`; 0 for a layer that none of the edges goes to.

    Raises:
        InputError: another read-out.

    Examples:
        >>> footprint_by_layer(model, footprint(model, pairs, circuit)).axis("layer").labels
        (0, 1, 2, 3, 'logits')
    """
    if found.use.kind != "footprint" or found.names[:2] != ("image", "edge"):
        raise InputError(f"found: expected the footprint of edges image by image, got {found!r}")
    graph = _graph(model, found.use)
    rows = by_receiver(graph, np.array([graph.index_of(str(name)) for name in found.axis("edge").labels]))
    places = {graph.index_of(str(name)): place for place, name in enumerate(found.axis("edge").labels)}
    sums = [found.values[:, [places[int(edge)] for edge in edges]].sum(axis=1) for edges in rows.values()]
    axes = (found.axis("image"), Axis("layer", tuple(rows)), found.axes[2])
    return replace(found, axes=axes, values=np.stack(sums, axis=1))


def _graph(model: ViT, use: ReadoutUse) -> ComputationGraph:
    return model.graph(next(form for form in FORMS if form == use["form"]))


def _of_input(model: ViT, pairs: MeasuredPairs, *, execution: Execution, **params: Scalar) -> Readout:
    """Return the footprint of all edges out of `input`, by layer of the receiver."""
    use = FOOTPRINT.use(**params)
    graph = _graph(model, use)
    rows = by_receiver(graph, out_of_input(graph, np.arange(graph.n_edges)))
    return edge_parts(model, graph, pairs, ("layer", rows), use, execution)


FOOTPRINT = ReadoutKind(
    key="footprint",
    name="The scores of the edges out of `input`, token by token and by layer of the receiver",
    function=_of_input,
    passes=lambda model, by, form, steps, rule, gradient: (steps + 2, steps),
    numbers=lambda model, **params: (model.n_layers + 1) * model.n_tokens,
    params={"by": PARAMS["by"], "form": choice(*FORMS, default="split"), **PARAMS},
    reads_metric=True,
)
