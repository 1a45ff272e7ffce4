"""Where in a model a circuit lies, by kind of component and layer, or by depth for models of different sizes.

A layer of L occupies the interval from l / L to (l + 1) / L of the depth. A depth profile has the share of the ends of
a circuit's edges at each kind of component in each quarter of the depth; a layer that lies in two quarters counts in
both by its parts. Components without a layer, such as input and logits, are spread over all quarters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from ..results import Table
from .circuit import Circuit
from .consensus import component_usage
from .random import random_circuit
from .universe import Universe

QUARTERS = 4

DRAWS = 10
"""Number of pairs of random circuits behind an expected overlap."""

Profile = Mapping[str, Float[np.ndarray, "quarter"]]
"""Shares by kind of component and quarter of the depth; the sum is 1 if the circuit has edges."""


def usage_profile(circuit: Circuit) -> Table:
    """Count the edges of a circuit by kind and layer of their senders and receivers, and count its nodes.

    Returns:
        A row per role, kind of component and layer, in topological order. Columns: `role` (`sender` and `receiver`:
        edges are counted; `node`: nodes are), `kind`, `layer` (missing for kinds without layers), `kept` (number in the
        circuit), `possible` (number in the universe), `share` (`kept` as a share of all rows of the role).

    Examples:
        >>> profile = usage_profile(circuit).to_pandas()
        >>> profile.groupby("role")["share"].sum().round(6).to_dict()
        {'node': 1.0, 'receiver': 1.0, 'sender': 1.0}
    """
    universe, edges = circuit.universe, circuit.universe.edges
    places = [(component.kind, component.layer) for component in universe.components]
    rows = list(dict.fromkeys(places))
    row_of = np.array([rows.index(place) for place in places])
    counted = {
        "sender": (edges.sender, circuit.members),
        "receiver": (edges.receiver, circuit.members),
        "node": (np.arange(len(places)), np.isin(universe.node_names, circuit.nodes)),
    }
    parts = [_counts(rows, row_of[at], kept).assign(role=role) for role, (at, kept) in counted.items()]
    columns = ["role", "kind", "layer", "kept", "possible", "share"]
    return Table(pd.concat(parts, ignore_index=True).loc[:, columns])


def _counts(
    rows: Sequence[tuple[str, int | None]], at: Int[np.ndarray, "element"], kept: Bool[np.ndarray, "element"]
) -> pd.DataFrame:
    """Count elements, and kept elements, by the row at which each is; rows without an element are left out."""
    in_circuit, possible = np.bincount(at[kept], minlength=len(rows)), np.bincount(at, minlength=len(rows))
    frame = pd.DataFrame({"kind": [kind for kind, _ in rows], "layer": pd.array([at for _, at in rows], "Int64")})
    frame = frame.assign(kept=in_circuit, possible=possible, share=in_circuit / max(1, kept.sum()))
    return frame.loc[possible > 0]


def depth_profile(circuit: Circuit) -> Profile:
    """Return the share of the ends of the circuit's edges at each kind of component, in each quarter of the depth.

    Examples:
        >>> profile = depth_profile(circuit)
        >>> sorted(profile)
        ['head', 'input', 'logits', 'mlp']
        >>> round(float(sum(shares.sum() for shares in profile.values())), 6)
        1.0
    """
    usage, where = component_usage(circuit), quarters(circuit.universe)
    kinds = np.array([component.kind for component in circuit.universe.components])
    return {str(kind): usage[kinds == kind] @ where[kinds == kind] for kind in np.unique(kinds)}


def quarters(universe: Universe) -> Float[np.ndarray, "node quarter"]:
    """Return the part of each component that lies in each quarter of the depth; rows sum to 1.

    Examples:
        >>> quarters(graph)[graph.node_index["m3"]]
        array([0., 0., 0., 1.])
    """
    layers = [component.layer for component in universe.components]
    n_layers = 1 + max((layer for layer in layers if layer is not None), default=0)
    edges = np.linspace(0, 1, QUARTERS + 1)
    first = np.array([0 if layer is None else layer / n_layers for layer in layers])[:, None]
    last = np.array([1 if layer is None else (layer + 1) / n_layers for layer in layers])[:, None]
    inside = np.minimum(last, edges[1:]) - np.maximum(first, edges[:-1])
    return np.maximum(inside, 0) / (last - first)


def profile_overlap(a: Circuit, b: Circuit) -> float:
    """Return the common part of two profiles, Σ min: 1 if they are equal, 0 without a common kind at the same depth.

    The circuits may be over universes of different sizes. Two empty circuits have the overlap 1.

    Examples:
        >>> profile_overlap(circuit, circuit)
        1.0
    """
    if not a.n_edges and not b.n_edges:
        return 1.0
    first, second = depth_profile(a), depth_profile(b)
    shared = first.keys() & second.keys()
    return round(float(sum(np.minimum(first[kind], second[kind]).sum() for kind in shared)), 12)


def expected_profile_overlap(a: Circuit, b: Circuit) -> float:
    """Return the mean overlap of the profiles of random connected circuits of two sizes; NaN if a circuit is empty.

    Examples:
        >>> 0 < expected_profile_overlap(circuit, circuit) < 1
        True
    """
    if not a.n_edges or not b.n_edges:
        return float("nan")
    return float(np.mean([profile_overlap(_random(a, 2 * i), _random(b, 2 * i + 1)) for i in range(DRAWS)]))


def _random(like: Circuit, seed: int) -> Circuit:
    return random_circuit(like.universe, like.n_edges, seed=seed)


def profile_matrix(
    universe: Universe, members: Bool[np.ndarray, "circuit edge"]
) -> Float[np.ndarray, "circuit circuit"]:
    """Return the overlap of the profiles of all pairs of circuits.

    Examples:
        >>> profile_matrix(graph, np.stack([circuit.members, scores.top(9).members])).shape
        (2, 2)
    """
    shares = np.stack([np.concatenate([*depth_profile(Circuit(universe, row)).values()]) for row in members])
    overlap = np.stack([np.minimum(row, shares).sum(axis=1) for row in shares]).round(12)
    empty = members.sum(axis=1) == 0
    return np.where(np.logical_and.outer(empty, empty), 1.0, overlap)
