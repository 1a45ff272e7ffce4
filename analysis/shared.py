"""What the circuits of several classes share, which edges only few of them have, and which components they use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..circuits import Circuit, component_usage, consensus, enrichment, mean_ranks

SHARES = (1.0, 0.75, 0.5)
"""Shares of the circuits that have the edges of a consensus circuit."""

RARE = 0.1
"""An edge is specific to a circuit if at most this share of all circuits has it, or no other."""


def core_sizes(circuits: Sequence[Circuit]) -> pd.DataFrame:
    """Return the sizes of consensus circuits.

    Returns:
        Columns `share`; `circuits` (the least number that have each edge); `edges`; `by_chance` (the expected number
        for uniform random circuits of these sizes, before pruning).
    """
    sizes = np.array([c.n_edges for c in circuits]) / circuits[0].universe.n_edges
    needed = [int(np.ceil(share * len(circuits) - 1e-9)) for share in SHARES]
    return pd.DataFrame(
        {
            "share": SHARES,
            "circuits": needed,
            "edges": [consensus(circuits, share).n_edges for share in SHARES],
            "by_chance": [circuits[0].universe.n_edges * _at_least(n, sizes) for n in needed],
        }
    )


def _at_least(n: int, probabilities: Float[np.ndarray, "circuit"]) -> float:
    """Return the probability that at least n of independent events occur."""
    counts = np.ones(1)
    for p in probabilities:
        counts = np.convolve(counts, [1 - p, p])
    return float(counts[n:].sum())


def core_edges(circuits: Sequence[Circuit], share: float = SHARES[-1]) -> pd.DataFrame:
    """Return the edges of the consensus circuit: columns `edge, circuits` (that have it), `mean_rank` (1 = first)."""
    core = consensus(circuits, share)
    counts, ranks = np.sum([c.members for c in circuits], axis=0), mean_ranks(circuits)
    names = core.universe.edge_names
    return pd.DataFrame([{"edge": names[i], "circuits": int(counts[i]), "mean_rank": ranks[i]} for i in core.order])


def specific_edges(names: Sequence[str], circuits: Sequence[Circuit]) -> pd.DataFrame:
    """Return the edges of each circuit that few other circuits have.

    Args:
        names: the class of each circuit.
        circuits: at least two circuits of different classes.

    Returns:
        Columns `class, edge, others` (the number of other circuits that have it), `log_ratio` and `p` (see
        `circuits.enrichment`); the rarest edges first.
    """
    members = np.stack([c.members for c in circuits])
    rare = members.sum(axis=0) <= max(1, RARE * len(circuits))
    frames = []
    for i, name in enumerate(names):
        ratio, p = enrichment(members, np.arange(len(names)) == i)
        own = circuits[i].order[rare[circuits[i].order]]
        edges, others = [circuits[i].universe.edge_names[e] for e in own], members[:, own].sum(axis=0) - 1
        columns = {"edge": edges, "others": others, "log_ratio": ratio[own], "p": p[own]}
        frames.append(pd.DataFrame({"class": [name] * len(own), **columns}))
    return pd.concat(frames).sort_values("others", kind="stable", ignore_index=True)


def usage_by_kind(circuits: Sequence[Circuit]) -> pd.DataFrame:
    """Return the mean use of components: columns `kind, layer, share` (of the ends of a circuit's edges), `even`.

    `even` is the share if the circuit had every edge of its universe.
    """
    universe = circuits[0].universe
    whole = Circuit(universe, np.ones(universe.n_edges, bool))
    parts = universe.components
    frame = pd.DataFrame(
        {
            "kind": [part.kind for part in parts],
            "layer": pd.array([part.layer for part in parts], "Int64"),
            "share": np.mean([component_usage(c) for c in circuits], axis=0),
            "even": component_usage(whole),
        }
    )
    return pd.DataFrame(frame.groupby(["kind", "layer"], dropna=False, sort=False, as_index=False).sum())
