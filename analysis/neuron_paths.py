"""The neuron paths of classes that a report shows, from stored values, without a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..circuits import NATURAL, Neurons, asks_for_paths
from ..evaluation import NeuronSimilarity, class_neurons, neuron_similarity
from ..query import Study
from ..query.readouts import effect_rows, newest_readouts
from ..store import Store


@dataclass(frozen=True, eq=False)
class PathOverview:
    """The neuron paths of classes under several conditions, found by one search.

    Attributes:
        title: the search with its parameters.
        table: columns `class, condition, images`; `path` (each neuron with the share of the images whose path it is
            on); `share` (their mean); `in_natural` (the number of neurons that the natural path of the class also has);
            `removed` (the change of the label's probability without these neurons) and `random_removed` (without random
            ones), if read-outs of the paths are stored.
        similarities: the names of the classes and their similarity, by short name of each condition with several.
    """

    title: str
    table: pd.DataFrame
    similarities: Mapping[str, tuple[tuple[str, ...], NeuronSimilarity]]


def has_paths(study: Study) -> bool:
    """Return whether the circuits of a study are neuron paths, which have neither scores nor faithfulness of edges."""
    return bool(study.entries) and asks_for_paths(study.entries[0].item)


def read_neuron_paths(store: Store, studies: Sequence[Study]) -> tuple[PathOverview, ...]:
    """Return the neuron paths of studies that have them."""
    removed = _removals(store) if studies else {}
    return tuple(
        PathOverview(
            study.common["method"],
            pd.DataFrame(list(_rows(study, removed))),
            {study.short(c): _similarity(store, study, c) for c in study.conditions if len(study.rows(c)) > 1},
        )
        for study in studies
    )


def _removals(store: Store) -> dict[str, dict[str, float]]:
    """Return the changes of the label's probability without the neurons of each path, by its id.

    Of several read-outs of a path, that at the class token counts.
    """
    found: dict[str, dict[str, float]] = {}
    listed = newest_readouts(store, None, kind="path-effects").to_dict("records")
    for row in sorted(listed, key=lambda row: "tokens=class" not in row["readout"]):
        record = store.readout(row["id"])
        of = {r["neurons"]: r["effect"] for r in effect_rows(record) if r["change"] == "removed"}
        found.setdefault(record.provenance["circuit"], {"removed": of["path"], "random_removed": of["random"]})
    return found


def _rows(study: Study, removed: Mapping[str, Mapping[str, float]]) -> Iterator[dict[str, object]]:
    """Yield a row per class and condition."""
    circuits, shares = study.circuits, study.scores
    assert shares is not None
    natural = {circuits["class"].iloc[row]: study.members[row] for row in study.rows(NATURAL)}
    for row, (name, condition) in enumerate(zip(circuits["class"], circuits["condition"], strict=True)):
        on_path = np.flatnonzero(study.members[row])
        names = [study.universe.edge_names[i].partition("->")[0] for i in on_path]
        known = condition != NATURAL and name in natural
        yield {
            "class": name,
            "condition": study.short(condition),
            "images": circuits["n_images"].iloc[row],
            "path": ", ".join(f"{n} ({s:.2f})" for n, s in zip(names, shares[row][on_path], strict=True)),
            "share": float(shares[row][on_path].mean()),
            "in_natural": float(natural[name][on_path].sum()) if known else np.nan,
            **removed.get(circuits["id"].iloc[row], {}),
        }


def _similarity(store: Store, study: Study, condition: str) -> tuple[tuple[str, ...], NeuronSimilarity]:
    """Return the classes under a condition, and the similarity of their images' paths."""
    rows = study.rows(condition).tolist()
    assert isinstance(study.universe, Neurons)
    found = [store.archive.discovery(study.entries[row].discovery_id, per_image=False)[0] for row in rows]
    paths = [np.array(discovery.trace["paths"]) for discovery in found]
    labels = np.repeat(np.arange(len(paths)), [len(of_class) for of_class in paths])
    neurons = class_neurons(np.concatenate(paths), labels, study.universe.width)
    return tuple(study.circuits["class"].iloc[rows]), neuron_similarity(neurons)
