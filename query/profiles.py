"""The named query about the components that a circuit uses, compared with those of the whole universe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import circuits
from ..results import Table

if TYPE_CHECKING:
    from ..store import Store


def usage_profile(store: Store, values: Mapping[str, Any]) -> Table:
    """The edges of a circuit by kind and layer of their senders and receivers, and its nodes.

    Parameters:
      circuit: circuit; its id, or the beginning of it
    Columns:
      role: sender and receiver: edges are counted; node: nodes are
      kind: input, head, mlp …
      layer: counted from 0; missing for kinds without layers
      kept: number in the circuit
      possible: number in the whole graph
      share: kept as a share of all rows of the role
    """
    return circuits.usage_profile(store.archive.circuit(values["circuit"])[0].circuit)
