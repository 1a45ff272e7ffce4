"""Named queries about neuron paths: that of each image, which the graph does not contain, and beside a circuit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..circuits import Circuit, CircuitRecord, asks_for_paths, component_usage
from ..errors import InputError, NotComparable
from ..results import Table

if TYPE_CHECKING:
    from ..store import Store


def neuron_paths(store: Store, values: Mapping[str, Any]) -> Table:
    """The neuron path of each image of a class, with the parts of its neurons.

    Parameters:
      circuit: circuit; id of the path of the class, or the beginning of it
    Columns:
      image: SHA-256 of the image's content
      layer: layer of the MLP, counted from 0
      neuron: name of the neuron
      part: the neuron's part of the path integral
      on_class_path: whether the neuron is on the path of the class
      jas: joint attribution score of the image's path
      ig: path integral of the image's path, the sum of its parts
    """
    record = _path(store, values["circuit"])
    found, _ = store.archive.discovery(record.discovery_id, per_image=False)
    paths, parts, jas = (np.array(found.trace[name]) for name in ("paths", "parts", "jas"))
    images, layers, k = paths.shape
    layer = np.tile(np.repeat(np.arange(layers), k), images)
    names = [f"m{place}.n{neuron}" for place, neuron in zip(layer, paths.ravel(), strict=True)]
    nodes = set(record.circuit.nodes)
    each = {"image": found.images, "jas": jas, "ig": parts.sum(axis=(1, 2))}
    of_image = {name: np.repeat(np.array(values), layers * k) for name, values in each.items()}
    frame = pd.DataFrame(
        {
            "image": of_image["image"],
            "layer": layer,
            "neuron": names,
            "part": parts.ravel(),
            "on_class_path": [name in nodes for name in names],
            "jas": of_image["jas"],
            "ig": of_image["ig"],
        }
    )
    return Table(frame)


def path_and_circuit(store: Store, values: Mapping[str, Any]) -> Table:
    """A neuron path beside a circuit of edges of the same model, MLP by MLP: what they have in common are components.

    Parameters:
      path: circuit; id of a neuron path, or the beginning of it
      circuit: circuit; id of a circuit of edges, or the beginning of it
    Columns:
      mlp: name of the MLP
      neurons: the path's neurons in it
      path_share: mean share of the images whose own path has these neurons
      in_circuit: whether the circuit has an edge at the MLP
      edges_in: number of the circuit's edges into the MLP
      edges_out: number of the circuit's edges out of it
      edge_share: share of the ends of the circuit's edges at the MLP
      score_out: sum of the scores of the edges out of it; missing without scores
    """
    path, other = _path(store, values["path"]), store.archive.circuit(values["circuit"])[0]
    if asks_for_paths(other.item):
        raise InputError(f"circuit {other.id[:12]}: expected a circuit of edges, got a neuron path; compare --by class")
    a, b = path.item, other.item
    if a.model.id != b.model.id:
        raise NotComparable(f"expected a path and a circuit of one model, got {a.model.name} and {b.model.name}")
    pairs = (("class", a.target_class.name, b.target_class.name), ("condition", a.condition.text, b.condition.text))
    notes = tuple(f"the {name} differs: {left} against {right}" for name, left, right in pairs if left != right)
    return Table(pd.DataFrame(list(_by_mlp(path.circuit, other.circuit))), notes)


def _by_mlp(path: Circuit, circuit: Circuit) -> Iterator[dict[str, Any]]:
    """Yield a row per MLP."""
    shares, graph = path.to_pandas(), circuit.universe
    usage, ends = component_usage(circuit), (graph.edges.sender, graph.edges.receiver)
    for layer in range(sum(component.kind == "mlp" for component in graph.components)):
        mlp = f"m{layer}"
        node = graph.node_index[mlp]
        inside = shares.loc[shares["sender"].str.startswith(f"{mlp}.")]
        out, into = (circuit.members & (end == node) for end in ends)
        yield {
            "mlp": mlp,
            "neurons": ", ".join(inside["sender"]),
            "path_share": inside["score"].mean(),
            "in_circuit": bool(out.any() or into.any()),
            "edges_in": int(into.sum()),
            "edges_out": int(out.sum()),
            "edge_share": float(usage[node]),
            "score_out": None if circuit.score is None else float(circuit.score[out].sum()),
        }


def _path(store: Store, id: str) -> CircuitRecord:
    """Return the neuron path with this id.

    Raises:
        InputError: it is another circuit.
    """
    record, _ = store.archive.circuit(id)
    if not asks_for_paths(record.item):
        raise InputError(
            f"circuit {record.id[:12]}: expected the neuron path of a class, got a circuit of form "
            f"{record.item.recipe.form}; the query neurons-of-class lists the paths"
        )
    return record
