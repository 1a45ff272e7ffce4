"""Named queries about the responses of the model and its circuits on each image, which the graph does not contain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..circuits import NATURAL, ROLES
from ..results import Table
from .headers import columns_of

if TYPE_CHECKING:
    from ..store import Store

_COLUMNS = [f"response_{role}" for role in ROLES]


def images_of_circuit(store: Store, values: Mapping[str, Any]) -> Table:
    """Responses of the model, of the model with every edge corrupted, and of one circuit on each report image.

    Parameters:
      circuit: circuit; its id, or the beginning of it
    Columns:
      image: SHA-256 of the image's content
      file: name of its file, if it is known
      true: index of the true class
      predicted_full: index of the model's top class
      predicted_circuit: index of the circuit's top class
      hit_full: whether the model's top class is the one that the metric raises
      hit_empty: the same with every edge corrupted
      hit_circuit: the same for the circuit
      metric_full: metric of the model
      metric_empty: metric with every edge corrupted
      metric_circuit: metric of the circuit
      attacked_as: name of the model's top class on the attacked image, found when it was attacked; empty if natural
      linf: largest change of a pixel by the attack, pixels in [0, 1]; empty if natural
      l2: Euclidean norm of that change
    """
    id = values["circuit"]
    row = store.circuits(columns=_COLUMNS, id=id).iloc[0]
    if row.isna().any():
        return Table(pd.DataFrame(columns=columns_of(images_of_circuit)), (_missing_note([id]),))
    full, empty, circuit = (store.archive.response(str(row[column]))[0] for column in _COLUMNS)
    images = store.images(id).frame.drop_duplicates("hash").set_index("hash").reindex(list(full.images))
    columns: dict[str, Any] = {
        "image": list(full.images),
        "file": _texts(images["file"]),
        "true": full.true.astype(np.int64),
        "predicted_full": full.predicted.astype(np.int64),
        "predicted_circuit": circuit.predicted.astype(np.int64),
    }
    for name in ("hit", "metric"):
        columns |= {f"{name}_{role}": getattr(r, name) for role, r in zip(ROLES, (full, empty, circuit), strict=True)}
    columns["attacked_as"] = _texts(images["attacked_as"])
    columns |= {name: images[name].astype(float).to_numpy() for name in ("linf", "l2")}
    return Table(pd.DataFrame(columns))


def _texts(column: Iterable[object]) -> list[str | None]:
    """Return the texts of a column; a missing one is None."""
    return [value if isinstance(value, str) else None for value in column]


def images_over_conditions(store: Store, values: Mapping[str, Any]) -> Table:
    """Effect of a condition on the responses of the model and of each class's circuit, compared image by image.

    Parameters:
      condition: string = only, not natural; the other condition
      model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
      image_group: string = ""; group of the images; empty for images that are not divided into groups
    Columns:
      class: name of the class
      images: report images that both conditions have
      accuracy_natural: share of hits of the model on the natural images
      accuracy_attacked: the same on the attacked images
      circuit_natural: share of hits of the natural condition's circuit on the natural images
      circuit_attacked: share of hits of the other condition's circuit on its images
      lost: images that the circuit hits only when they are natural
      gained: images that it hits only when they are attacked
      p: p-value of "lost and gained are equally likely", exact McNemar test, two-sided; one test per class, uncorrected
      change: mean over images of the circuit's metric, attacked − natural
      change_se: its standard error; missing for one image
    """
    rows = store.circuits(columns=["id", "class", "class_index", "condition", "seed", *_COLUMNS], id=values["circuits"])
    stored = rows.dropna(subset=_COLUMNS)
    dtypes = store.responses(id=list(stored["response_circuit"]))[["id", "dtype"]]
    stored = stored.merge(dtypes.set_index("id"), left_on="response_circuit", right_index=True)
    notes = [_missing_note(set(rows["id"]) - set(stored["id"]))] if len(stored) < len(rows) else []
    found = []
    for _, pair in stored.groupby(["class_index", "seed", "dtype"], sort=True):
        is_natural = pair["condition"] == NATURAL
        natural, attacked = pair[is_natural], pair[~is_natural]
        if len(natural) and len(attacked):
            found.append(_paired(store, natural.iloc[-1], attacked.iloc[-1]))
    if any(row["images"] == 0 for row in found):
        notes.append("classes whose conditions share no report image are left out")
    kept = [row for row in found if row["images"]]
    return Table(pd.DataFrame(kept, columns=columns_of(images_over_conditions)), tuple(notes))


def _paired(store: Store, natural: pd.Series, attacked: pd.Series) -> dict[str, Any]:
    """Return the figures of one class, over the images that both conditions have."""
    from scipy import stats

    columns = ("response_full", "response_circuit")
    pair = [
        [store.archive.response(str(row[column]))[0].to_pandas().set_index("image") for column in columns]
        for row in (natural, attacked)
    ]
    shared = pair[0][1].index.intersection(pair[1][1].index)
    (model, circuit), (model_attacked, circuit_attacked) = [[frame.loc[shared] for frame in both] for both in pair]
    lost = int((circuit["hit"] & ~circuit_attacked["hit"]).sum())
    gained = int((~circuit["hit"] & circuit_attacked["hit"]).sum())
    change = circuit_attacked["metric"] - circuit["metric"]
    return {
        "class": natural["class"],
        "images": len(shared),
        "accuracy_natural": model["hit"].mean(),
        "accuracy_attacked": model_attacked["hit"].mean(),
        "circuit_natural": circuit["hit"].mean(),
        "circuit_attacked": circuit_attacked["hit"].mean(),
        "lost": lost,
        "gained": gained,
        "p": float(stats.binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0,
        "change": change.mean(),
        "change_se": change.sem(),
    }


def _missing_note(ids: Any) -> str:
    """Return the note about circuits whose responses are not stored."""
    what = "1 circuit has" if len(ids) == 1 else f"{len(ids)} circuits have"
    return f"{what} no responses: no report images, or an evaluation that was imported or is from an earlier version"
