"""Named queries that test edges on their scores per image, which the graph does not contain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..circuits import CircuitRecord, Discovery
from ..circuits import changed_edges as test_changes
from ..results import Table

if TYPE_CHECKING:
    from ..store import Store


def changed_edges(store: Store, values: Mapping[str, Any]) -> Table:
    """Edges whose score changed from one circuit's images, condition or model to another's, tested image by image.

    Parameters:
      a: circuit; first circuit, by its id or the beginning of it
      b: circuit; second circuit, likewise
      control: circuit = ""; a third circuit, whose change from the first one is a control (a benign twin, a fine-tune)
      level: number = 0.05; false discovery rate; 1 returns all edges
      correction: string = "bh"; bh (Benjamini-Hochberg) or by (Benjamini-Yekutieli)
    Columns:
      edge: name of the edge
      before: mean score in the first circuit's discovery, over the images of the test
      after: the same for the second circuit
      difference: after − before
      standardised: difference / standard deviation over images
      low: lower end of its 95 % bootstrap interval
      high: upper end
      p: two-sided p-value: of a permutation test, or that of Student's t if that is larger and the images are the same
      q: p-value corrected for the number of edges
      in_a: whether the edge is in the first circuit
      in_b: whether it is in the second circuit
      beyond_control: whether the difference is larger than the control's 99 % quantile; missing without a control
    """
    (a, before), (b, after) = (_read(store, values[name]) for name in ("a", "b"))
    changes = test_changes(before, after, correction=values["correction"])
    frame = changes.to_pandas().assign(in_a=a.circuit.members, in_b=b.circuit.members, beyond_control=None)
    facts = {"design": changes.design, "images": min(changes.images), "changed": int(changes.changed().sum())}
    if values["control"]:
        facts["control_quantile"] = test_changes(before, _read(store, values["control"])[1]).limit
        frame["beyond_control"] = np.abs(changes.difference) > facts["control_quantile"]
    frame = frame.loc[changes.changed(values["level"])].sort_values(["q", "p", "edge"], kind="stable")
    return Table(frame.reset_index(drop=True), changes.notes, facts)


def _read(store: Store, circuit_id: str) -> tuple[CircuitRecord, Discovery]:
    record, _ = store.archive.circuit(circuit_id)
    return record, store.archive.discovery(record.discovery_id)[0]
