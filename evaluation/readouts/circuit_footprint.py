"""Where in the image a circuit gets the metric from: its footprint, and those of its strongest edges; see `edge_parts`.

What flows through several edges of a path is counted at each of them. So the circuit's edges out of `input` are summed,
and those into each layer, but not all of them.
"""

from __future__ import annotations

import numpy as np

from ...circuits import Circuit, Metric, Readout
from ...circuits.kinds import REQUIRED, Param, whole
from ...circuits.readout import Label
from ...circuits.recipe import Scalar
from ...errors import InputError
from ...models import ViT, runs_model
from ..execution import DEFAULT, Execution
from ..measured import MeasuredPairs, measure
from ..pairs import ImagePairs
from .edge_parts import PARAMS, by_receiver, edge_parts, out_of_input
from .kind import ReadoutKind

OUT_OF_INPUT = "out of input"
"""Label of the circuit's edges out of `input` on the axis `edges`."""


@runs_model
def circuit_footprint(
    model: ViT,
    pairs: ImagePairs,
    circuit: Circuit,
    *,
    metric: str | Metric = "logit",
    execution: Execution = DEFAULT,
    **params: Scalar,
) -> Readout:
    """Divide the scores of a circuit's edges by token, added up, and of its strongest edges by themselves.

    Args:
        circuit: a circuit over a form of the model's graph.
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        execution: batch size and progress; progress counts images.
        **params: `strongest` is the number of edges that also have their own footprint, those of the largest scores in
            the circuit; `by`, `steps`, `rule` and `gradient` are those of `footprint`.

    Returns:
        Parts `[image, edges, token]` or `[image, edges, source_token]`, in units of the metric. The axis `edges` has
        the sums over the circuit's edges `out of input`, `into layer 0` … and `into logits`, then its strongest edges
        by name. Prefix tokens are first, then the patches row by row.

    Raises:
        InputError: a circuit of another graph; an unknown parameter or value; pairs or a metric that do not fit, or no
            corrupted images.

    Examples:
        >>> found = circuit_footprint(model, pairs, circuit, strongest=2)
        >>> found.axis("edges").labels[:6]
        ('out of input', 'into layer 0', 'into layer 1', 'into layer 2', 'into layer 3', 'into logits')
        >>> set(found.axis("edges").labels[6:]) <= set(circuit.edges)
        True
    """
    use = CIRCUIT_FOOTPRINT.use(**{"circuit": circuit.extraction, **params})
    return CIRCUIT_FOOTPRINT.read(model, measure(model, pairs, metric), use, execution, circuit)


def _circuit_footprint(
    model: ViT, pairs: MeasuredPairs, *, execution: Execution, members: Circuit, strongest: int, **params: Scalar
) -> Readout:
    graph = members.graph
    if graph != model.graph(graph.form):
        raise InputError(f"circuit: expected one over a graph of {model.name}, got one over {graph}")
    use = CIRCUIT_FOOTPRINT.use(strongest=strongest, **params)
    edges = np.flatnonzero(members.members)
    layers = by_receiver(graph, edges)
    rows: dict[Label, np.ndarray] = {OUT_OF_INPUT: out_of_input(graph, edges)}
    rows |= {f"into {name if name == 'logits' else f'layer {name}'}": into for name, into in layers.items()}
    rows |= {graph.edge_names[edge]: np.array([edge]) for edge in _strongest(members, strongest)}
    return edge_parts(model, graph, pairs, ("edges", rows), use, execution)


def _strongest(circuit: Circuit, count: int) -> list[int]:
    """Return the member edges with the scores of largest magnitude; without scores, those that were extracted first."""
    order = circuit.order
    if circuit.score is not None:
        order = order[np.argsort(-np.abs(circuit.score[order]), kind="stable")]
    return [int(edge) for edge in order[:count]]


CIRCUIT_FOOTPRINT = ReadoutKind(
    key="circuit-footprint",
    name="The scores of a circuit's edges, added up and of the strongest ones by themselves, token by token",
    function=_circuit_footprint,
    passes=lambda model, circuit, strongest, by, steps, rule, gradient: (steps + 2, steps),
    numbers=lambda model, strongest, **params: (model.n_layers + 2 + strongest) * model.n_tokens,
    params={
        "circuit": Param.accepting(REQUIRED, "the name of a circuit", lambda value: isinstance(value, str)),
        "strongest": whole(6, 0),
        **PARAMS,
    },
    lacks={"form": "it is that of the circuit"},
    reads_metric=True,
    about="circuit",
)
