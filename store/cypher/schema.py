"""The schema of the graph: labels, relationship types, and their properties with their types."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

UNIVERSE_NODE = pa.schema(
    [(name, pa.string()) for name in ("name", "kind")] + [(name, pa.int64()) for name in ("layer", "head", "neuron")]
)
UNIVERSE_EDGE = pa.schema([("edge", pa.string()), ("port", pa.string())])
"""The tables of a universe, from which nodes and edges of circuits, and components, are made."""

NODE = pa.schema([("key", pa.string()), *UNIVERSE_NODE, ("full_in", pa.float64()), ("full_out", pa.float64())])
FEEDS = pa.schema(
    [
        ("from", pa.string()),
        ("to", pa.string()),
        *UNIVERSE_EDGE,
        ("score", pa.float64()),
        ("std", pa.float64()),
        ("rank", pa.int64()),
        ("frequency", pa.float64()),
    ]
)
PAIR = pa.schema([("from", pa.string()), ("to", pa.string())])
SIMILAR = pa.schema(
    [*PAIR, ("measure", pa.string()), ("value", pa.float64()), ("chance", pa.float64()), ("floor", pa.float64())]
)
"""Ids of a circuit and of one of those nearest to it, and how similar they are."""

NOTE = pa.schema(
    [(name, pa.string()) for name in ("id", "text", "author", "about", "tags", "state", "replaces")]
    + [("latest", pa.bool_()), ("created_ms", pa.int64())]
)
ABOUT = pa.schema([("from", pa.string()), ("label", pa.string()), ("to", pa.string())])
"""Id of a note, label and key of a node that it is about."""

SHARED = {
    "Model": pa.schema(
        [("id", pa.string()), ("name", pa.string())]
        + [(name, pa.int64()) for name in ("n_layers", "n_heads", "d_model", "n_classes")]
    ),
    "Dataset": pa.schema([("name", pa.string())]),
    "Class": pa.schema(
        [
            ("key", pa.string()),
            ("name", pa.string()),
            ("class_index", pa.int64()),
            ("tags", pa.string()),
            ("dataset", pa.string()),
        ]
    ),
    "Condition": pa.schema(
        [("key", pa.string()), ("name", pa.string()), ("attack", pa.string()), ("version", pa.int64())]
    ),
    "Recipe": pa.schema(
        [(name, pa.string()) for name in ("key", "name", "method", "form", "metric", "direction", "corruption")]
        + [("signed", pa.bool_()), ("dtype", pa.string()), ("seed", pa.int64())]
    ),
    "Component": pa.schema([("key", pa.string()), *UNIVERSE_NODE, ("model", pa.string())]),
}
"""Nodes that circuits share, by label, parents first. The first column is the key; `dataset` of a class and `model` of
a component are keys of their parents."""

_IMAGES = ("dataset", "class", "image_group", "attack", "condition")
_QUESTION = ("model", "model_id", *_IMAGES, "word", "target", "against")
_RECIPE = ("method", "form", "corruption", "metric", "direction", "extraction")
_SIZES = ("size_requested", "n_nodes", "n_edges", "n_graph_edges")
_COUNT = ("class_index", *_SIZES, "n_images", "n_eval", "seed", "created_ms")
_EVALUATED = ("metric_full", "metric_empty", "metric_circuit", "faithfulness", "faithfulness_random")
_ACCURACY = ("accuracy_full", "accuracy_empty", "accuracy_circuit", "retention")
REFERENCES = ("class_key", "condition_key", "recipe_key")
CIRCUIT = pa.schema(
    [(name, pa.string()) for name in ("id", *_QUESTION, *_RECIPE, "flag", "sha256")]
    + [(name, pa.int64()) for name in _COUNT]
    + [(name, pa.float64()) for name in (*_EVALUATED, *_ACCURACY)]
    + [(name, pa.string()) for name in REFERENCES]
)
"""Properties of circuits, then keys of other nodes that they refer to; `model_id` is both."""

OURS = {
    "Store": ("id", "schema", "lease_owner", "lease_until_ms"),
    "Migration": ("version", "name", "checksum"),
}
"""Internal nodes: queries may use them, but messages do not suggest them."""

_PARENTS = {"Class": "dataset", "Component": "model"}
"""Columns of `SHARED` that are relationships in the graph."""

NODES: Mapping[str, tuple[str, ...]] = {
    **{label: tuple(n for n in of.names if n != _PARENTS.get(label)) for label, of in SHARED.items()},
    "Circuit": tuple(n for n in CIRCUIT.names if n not in REFERENCES),
    "Node": tuple(NODE.names),
    "Note": tuple(NOTE.names),
    **OURS,
}
"""Properties of the nodes, by label."""

RELATIONSHIPS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("OF_MODEL", "OF_CLASS", "OF_DATASET", "UNDER", "FOUND_BY", "HAS", "INSTANCE_OF", "PART_OF"), ()),
    "FEEDS": tuple(FEEDS.names[2:]),
    "CONTAINS": (),
    "SIMILAR": tuple(SIMILAR.names[2:]),
    "ABOUT": (),
}
"""Properties of the relationships, by type."""
