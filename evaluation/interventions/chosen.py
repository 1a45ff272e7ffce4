"""The edges and senders that an edit changes, as given by the user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int

from ...circuits import Circuit, CircuitRecord, ComputationGraph, digest
from ...circuits.kinds import is_number
from ...errors import InputError, unknown, warn

EdgeChoice = Circuit | CircuitRecord | Iterable[str]
"""A circuit, a stored circuit, or names of edges."""


def chosen_edges(graph: ComputationGraph, model: str, edges: EdgeChoice) -> Int[np.ndarray, "edge"]:
    """Return the flat indices of edges, sorted.

    Args:
        graph: the graph that the edges must belong to.
        model: fingerprint of the model that a stored circuit must be of.
        edges: a circuit, a stored circuit, or names of edges.

    Raises:
        InputError: no edges, an unknown edge, or a circuit of another form or model.
    """
    if isinstance(edges, CircuitRecord):
        if edges.item.model.id != model:
            raise InputError(
                f"edges: the circuit {edges.id[:12]} is of the model {edges.item.model.name} "
                f"({edges.item.model.id[:12]}), expected one of the model {model[:12]}"
            )
        edges = edges.circuit
    if isinstance(edges, Circuit):
        if edges.universe != graph:
            raise InputError(f"edges: expected a circuit over {_named(graph)}, got one over {_named(edges.universe)}")
        found = np.flatnonzero(edges.members)
    else:
        if isinstance(edges, str):
            raise InputError(f"edges: expected a list of names, got the text {edges!r}")
        found = np.unique(np.array([graph.index_of(name) for name in edges], int))
    if not len(found):
        raise InputError("edges: expected at least one edge, got none")
    return found


def _named(universe: object) -> str:
    if isinstance(universe, ComputationGraph):
        return f"the {universe.form} form of {universe.n_layers} layers of {universe.n_heads} heads"
    return str(universe)


def chosen_senders(graph: ComputationGraph, senders: Sequence[str] | None) -> tuple[int, ...]:
    """Return the indices of senders in order; None means all.

    Raises:
        InputError: no senders, or an unknown one.
    """
    if senders is None:
        return tuple(range(graph.n_senders))
    if isinstance(senders, str):
        raise InputError(f"senders: expected a list of names, got the text {senders!r}")
    for name in senders:
        if name not in graph.senders:
            raise unknown(f"sender of the {graph.form} form", name, graph.senders)
    if not senders:
        raise InputError("senders: expected at least one, got none")
    return tuple(sorted({graph.senders.index(name) for name in senders}))


def checked_strength(strength: object) -> float:
    """Return a strength.

    Raises:
        InputError: it is not a finite number of at least 0.
    """
    if not is_number(strength) or not strength >= 0:
        raise InputError(f"strength: expected a number of at least 0, such as 1 or 2, got {strength!r}")
    return float(strength)


def hash_of(names: Iterable[str]) -> str:
    """Return the hash of names, in any order."""
    return digest(sorted(names))


def warn_if_other_images(directions: Sequence[str], found_on: Sequence[str]) -> None:
    """Warn if directions were fitted on other images than those that the edges were found on, given both hashes."""
    others = set(directions) - set(found_on)
    if found_on and others:
        warn(
            f"directions: {len(others)} of the {len(set(directions))} images that they were fitted on are not among "
            f"the {len(set(found_on))} images that the edges were found on; fit both on the same discovery images"
        )
