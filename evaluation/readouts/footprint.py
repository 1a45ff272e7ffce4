"""Footprints: at which tokens the edges of a circuit carry the metric; see `edge_parts`.

What flows through several edges of a path is counted at each of them. So the edges of a circuit are summed by layer of
the receiver, or only those out of `input` are summed.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...circuits import FORMS, Circuit, Metric, Readout
from ...circuits.kinds import choice, whole
from ...circuits.recipe import Scalar
from ...errors import InputError
from ...models import GRADIENTS, ViT, runs_model
from ..execution import DEFAULT, Execution
from ..measured import MeasuredPairs, measure
from ..pairs import ImagePairs
from ..path_points import RULES
from .edge_parts import by_layer, edge_parts, form_of
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
    if isinstance(edges, Circuit) and edges.graph != model.graph(form_of(use)):
        raise InputError(f"edges: expected a circuit over the {use['form']} form of {model.name}, got {edges.graph}")
    return edge_parts(model, measure(model, pairs, metric), names, use, execution)


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
    return by_layer(model, found)


def _of_input(model: ViT, pairs: MeasuredPairs, *, execution: Execution, **params: Scalar) -> Readout:
    """Return the footprint of all edges out of `input`, by layer of the receiver."""
    use = FOOTPRINT.use(**params)
    edges = [name for name in model.graph(form_of(use)).edge_names if name.startswith("input->")]
    return by_layer(model, edge_parts(model, pairs, edges, use, execution))


FOOTPRINT = ReadoutKind(
    key="footprint",
    name="The scores of the edges out of `input`, token by token and by layer of the receiver",
    function=_of_input,
    passes=lambda model, by, form, steps, rule, gradient: (steps + 2, steps),
    params={
        "by": choice("token", "source-token"),
        "form": choice(*FORMS, default="split"),
        "steps": whole(5),
        "rule": choice(*RULES),
        "gradient": choice(*GRADIENTS),
    },
    reads_metric=True,
)
