"""Named queries that functions answer, because the graph does not have what they need.

The docstring of each function is the header of its query (`named.py`).
"""

from __future__ import annotations

from .corrections import correction_table
from .defences import defence_table
from .detection import edges_against, flagged_images
from .edge_tests import changed_edges
from .enriched import enriched_edges
from .headers import Answer
from .neuron_paths import neuron_paths, path_and_circuit
from .profiles import usage_profile
from .readouts import circuit_footprint, direct_by_head, lens_by_layer, patching_map, path_effects, readouts
from .responses import images_of_circuit, images_over_conditions
from .stability import edge_stability, stability_by_images

WITHOUT_CIRCUITS: dict[str, Answer] = {
    "circuit-footprint": circuit_footprint,
    "correction-table": correction_table,
    "defence-table": defence_table,
    "direct-by-head": direct_by_head,
    "edges-against": edges_against,
    "flagged-images": flagged_images,
    "lens-by-layer": lens_by_layer,
    "patching-map": patching_map,
    "path-effects": path_effects,
    "readouts": readouts,
}
"""Functions about read-outs and studies, which read no circuits, by the name of the query."""

ANSWERS: dict[str, Answer] = {
    **WITHOUT_CIRCUITS,
    "changed-edges": changed_edges,
    "edge-stability": edge_stability,
    "enriched-edges": enriched_edges,
    "images-of-circuit": images_of_circuit,
    "images-over-conditions": images_over_conditions,
    "neuron-paths": neuron_paths,
    "path-and-circuit": path_and_circuit,
    "stability-by-images": stability_by_images,
    "usage-profile": usage_profile,
}
"""Functions by the name of the query."""
