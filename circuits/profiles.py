"""Usage profiles: which kinds of components, in which layers, a circuit uses, and how two circuits differ in that."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from ..errors import NotComparable
from ..results import Table
from .circuit import Circuit
from .universe import Universe

ROLES = ("sender", "receiver", "node")
"""What is counted at a component: edges that it sends, edges that it receives, the component itself."""


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
    nodes = np.arange(len(universe.components))
    own = np.isin(universe.node_names, circuit.nodes)
    ends = {"sender": (edges.sender, circuit.members), "receiver": (edges.receiver, circuit.members)}
    counted = {**ends, "node": (nodes, own)}
    parts = [_by_kind_and_layer(universe, *counted[role]).assign(role=role) for role in ROLES]
    columns = ["role", "kind", "layer", "kept", "possible", "share"]
    return Table(pd.concat(parts, ignore_index=True)[columns])


def _by_kind_and_layer(
    universe: Universe, at: Int[np.ndarray, "element"], kept: Bool[np.ndarray, "element"]
) -> pd.DataFrame:
    """Count elements, and kept elements, by kind and layer of the component at which each is."""
    size = len(universe.components)
    layer = pd.array([c.layer for c in universe.components], dtype="Int64")
    frame = pd.DataFrame({"kind": [c.kind for c in universe.components], "layer": layer})
    frame = frame.assign(kept=np.bincount(at[kept], minlength=size), possible=np.bincount(at, minlength=size))
    sums = frame.groupby(["kind", "layer"], sort=False, dropna=False, as_index=False).sum()
    return sums.loc[sums["possible"] > 0].assign(share=sums["kept"] / max(1, kept.sum()))


def usage_distance(a: Circuit, b: Circuit) -> Table:
    """Compare the usage profiles of two circuits, also of models with other numbers of layers or heads.

    The distance is half the sum of the differences of shares (total variation): 0 for the same profile, 1 if nothing is
    in common. If the numbers of layers differ, the depth is divided into as many parts as the shallower model has
    layers, and each layer of the deeper model counts for the parts that it overlaps.

    Returns:
        A row per role. Columns: `role`, and `distance`, missing if a circuit is empty. The fact `compared` says by what
        the circuits are compared.

    Raises:
        NotComparable: the universes have different kinds of components.

    Examples:
        >>> usage_distance(circuit, circuit).to_pandas()
               role  distance
        0    sender       0.0
        1  receiver       0.0
        2      node       0.0
    """
    layers = [_n_layers(c.universe) for c in (a, b)]
    kinds = [sorted({component.kind for component in c.universe.components}) for c in (a, b)]
    if kinds[0] != kinds[1]:
        raise NotComparable(
            f"the universes have different kinds of components, {', '.join(kinds[0])} against {', '.join(kinds[1])}; "
            "compare circuits of one form"
        )
    x, y = (_shares(c, min(layers)) for c in (a, b))
    differences = x.sub(y, fill_value=0.0).abs().sum(axis=1).groupby("role").sum() / 2
    distance = differences.reindex(ROLES).to_numpy() if a.n_edges and b.n_edges else np.full(len(ROLES), np.nan)
    by = "layer" if layers[0] == layers[1] else f"depth in {min(layers)} parts (of {layers[0]} and {layers[1]} layers)"
    return Table(pd.DataFrame({"role": ROLES, "distance": distance}), facts={"compared": f"kind of component and {by}"})


def _n_layers(universe: Universe) -> int:
    return 1 + max((c.layer for c in universe.components if c.layer is not None), default=0)


def _shares(circuit: Circuit, parts: int) -> pd.DataFrame:
    """Return the shares of a profile by role and kind (rows) and part of the depth (columns)."""
    profile, layers = usage_profile(circuit).to_pandas(), _n_layers(circuit.universe)
    overlaps = np.array([_overlaps(None if pd.isna(at) else int(at), layers, parts) for at in profile["layer"]])
    shares = pd.DataFrame(overlaps * profile["share"].to_numpy()[:, None])
    return shares.groupby([profile["role"], profile["kind"]]).sum()


def _overlaps(layer: int | None, layers: int, parts: int) -> Float[np.ndarray, "part"]:
    """Return the shares of a layer that are in each part of the depth; a kind without layers has one part only."""
    if layer is None:
        return np.eye(parts)[0]
    start, end = np.arange(parts) / parts, np.arange(1, parts + 1) / parts
    inside = np.minimum(end, (layer + 1) / layers) - np.maximum(start, layer / layers)
    return np.clip(inside, 0, None) * layers
