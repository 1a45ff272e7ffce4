"""The named query about edges that are specific to classes; the graph has no hypergeometric distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..circuits import enrichment
from ..results import Table
from .headers import columns_of

if TYPE_CHECKING:
    from ..store import Store


def enriched_edges(store: Store, values: Mapping[str, Any]) -> Table:
    """Edges that the circuits of a class have more often than those of the other classes of a study.

    Parameters:
      condition: string = "natural"; what was done to the images
      model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
      level: number = 0.05; largest p-value; with one circuit per class take 1
    Columns:
      class: name of the class
      edge: name of the edge
      circuits: number of circuits of the class that have it
      of: number of circuits of the class
      others: number of circuits of other classes that have it
      log_ratio: log2 of the share in the class / the share in other classes, half a circuit added to each count
      p: hypergeometric p-value, uncorrected
      q: p-value corrected for all edges and classes (Benjamini-Hochberg)
    """
    from scipy import stats

    rows = store.circuits(columns=["id", "class", "class_index", "discovery_id"], id=values["circuits"])
    names = rows.sort_values("class_index")["class"].unique()
    if len(names) < 2:
        return Table(pd.DataFrame(columns=columns_of(enriched_edges)), ("there is only one class",))
    members = store.members(list(rows["id"]))
    universe = store.archive.circuit(rows["id"].iloc[0])[0].circuit.universe
    frames = []
    for name in names:
        own = (rows["class"] == name).to_numpy()
        ratio, p = enrichment(members, own)
        inside, outside = members[own].sum(axis=0), members[~own].sum(axis=0)
        columns = {"edge": universe.edge_names, "circuits": inside, "of": own.sum(), "others": outside}
        frames.append(pd.DataFrame({"class": name, **columns, "log_ratio": ratio, "p": p}))
    table = pd.concat(frames, ignore_index=True)
    table["q"] = stats.false_discovery_control(table["p"])
    kept = table.loc[(table["p"] <= values["level"]) & (table["log_ratio"] > 0) & (table["circuits"] > 0)]
    order = np.lexsort([kept["edge"], -kept["log_ratio"], kept["p"]])
    return Table(kept.iloc[order].reset_index(drop=True))
