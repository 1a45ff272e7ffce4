"""Formats: how circuits are written to files of other tools, and read from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ..circuits import CircuitRecord, ComputationGraph, Kind, Note
from ..errors import InputError

Files = Mapping[str, bytes]
"""Content by path within a folder; a single file has the path `""`."""


@dataclass(frozen=True, eq=False)
class FileCircuit:
    """What a file says about the edges of a graph, before anything is pruned.

    Attributes:
        graph: the graph that edge positions refer to.
        scores: the score of every edge, with the sign of the file; None if the file has none.
        members: True for the edges of the circuit; None if the file only scores edges.
        order: flat indices of the members, first extracted first; empty if unknown.
        ours: circuitstore wrote the file, so that positive scores raise the metric.
        about: what circuitstore wrote about the circuit (JSON values).
        notes: what was left out or assumed while reading.
    """

    graph: ComputationGraph
    scores: Float[np.ndarray, "edge"] | None = None
    members: Bool[np.ndarray, "edge"] | None = None
    order: Int[np.ndarray, "member"] = field(default_factory=lambda: np.empty(0, int))
    ours: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FormatKind(Kind):
    """A format of files.

    Attributes:
        write: returns the files for some circuits; None if the format is only read.
        write_noted: the same, with the notes that the files have room for; None if they have no room for notes.
        read: returns what the content of a file says about edges of the graph of a model, in any form; raises
            InputError with the place in the file. None if the format is only written.
        suffix: suffix of its files; empty if it is a folder.
    """

    write: Callable[[Sequence[CircuitRecord]], Files] | None = None
    write_noted: Callable[[Sequence[CircuitRecord], Sequence[Note]], Files] | None = None
    read: Callable[[bytes, ComputationGraph], FileCircuit] | None = None
    suffix: str = ""

    @property
    def text(self) -> str:
        """What can be done with it: `read`, `write` or `read and write`."""
        return " and ".join(name for name in ("read", "write") if getattr(self, name) is not None)


def one_each(suffix: str, content: Callable[[CircuitRecord], bytes]) -> Callable[[Sequence[CircuitRecord]], Files]:
    """Return a writer of one file for one circuit, and of a folder with a file for each of several circuits.

    Examples:
        >>> write = one_each(".txt", lambda record: record.item.text.encode())
        >>> record = store.circuit(store.circuits()["id"].iloc[0])
        >>> list(write([record]))
        ['']
    """

    def write(records: Sequence[CircuitRecord]) -> Files:
        if len(records) == 1:
            return {"": content(records[0])}
        return {f"{record.id[:12]}{suffix}": content(record) for record in records}

    return write


def scores_or_none(values: Float[np.ndarray, "edge"], graph: ComputationGraph) -> Float[np.ndarray, "edge"] | None:
    """Return scores, or None if all of them are 0, as in files of circuits without scores.

    Raises:
        InputError: a score is not finite, or does not fit in 32 bits; the message names the edge.

    Examples:
        >>> scores_or_none(np.zeros(graph.n_edges), graph) is None
        True
    """
    bad = np.flatnonzero(~(np.abs(values) <= np.finfo(np.float32).max))
    if len(bad):
        raise InputError(
            f"edge {graph.edge_names[bad[0]]}: expected a finite score that fits in 32 bits, got {values[bad[0]]}"
        )
    return values if values.any() else None
