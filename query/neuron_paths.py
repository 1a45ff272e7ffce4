"""The named query about the neuron path of each image, which the graph does not contain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..circuits import asks_for_paths
from ..errors import InputError
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
    record, _ = store.archive.circuit(values["circuit"])
    if not asks_for_paths(record.item):
        raise InputError(
            f"circuit {record.id[:12]}: expected the neuron path of a class, got a circuit of form "
            f"{record.item.recipe.form}; the query neurons-of-class lists the paths"
        )
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
