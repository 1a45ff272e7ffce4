"""Named queries about stored read-outs, which the graph does not contain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..circuits import Axis, ReadoutRecord
from ..errors import InputError
from ..results import Table
from .headers import Answer, columns_of
from .names import Models

if TYPE_CHECKING:
    from ..store import Store

_QUESTION = (
    "model_id", "dataset", "class", "class_index", "image_group", "condition", "readout", "corruption", "metric",
    "dtype", "seed",
)  # fmt: skip
_PLACE = ("model", "class", "image_group", "condition", "readout", "corruption", "metric")
"""Columns that say what a row is about."""

Rows = Callable[[ReadoutRecord], Iterator[dict[str, Any]]]
Shown = Mapping[tuple[str, ...], Rows]


def readouts(store: Store, values: Mapping[str, Any]) -> Table:
    """The read-outs that are stored, the newest for each class, condition and kind.

    Parameters: none
    Columns:
      id: id of the read-out
      model: name of the model
      class: name of the class
      image_group: group of the images; empty for images that are not divided into groups
      condition: what was done to the images
      readout: kind of read-out with its parameters
      corruption: what the images are contrasted with, for kinds that do so
      metric: the metric, for kinds that depend on one
      axes: what its numbers are counted by
      images: number of images behind the mean
    """
    rows = newest_readouts(store, values.get("run")).rename(columns={"n_images": "images"})
    return Table(rows.loc[:, columns_of(readouts)].reset_index(drop=True))


def lens_by_layer(store: Store, values: Mapping[str, Any]) -> Table:
    """Logits of the true class and of its strongest rival at each point of the residual stream (logit lens).

    Parameters:
      readout: readout = ""; its id, or the beginning of it; empty: the newest of each class and condition
    Columns:
      model: name of the model
      class: name of the class
      image_group: group of the images; empty for images that are not divided into groups
      condition: what was done to the images
      readout: kind of read-out with its parameters
      point: resid_pre.0 enters block 0; resid_mid.l comes after the attention of block l, resid_post.l after its MLP
      logit: mean logit of the true class over the images
      std: its standard deviation over the images; missing for one image
      rival: the other class with the largest mean logit
      rival_logit: that logit
      top: share of the images whose largest logit is that of the true class; missing if only means were kept
    """
    return _table(store, values, lens_by_layer, "logit-lens", {("point", "class"): lens_rows})


def lens_rows(record: ReadoutRecord) -> Iterator[dict[str, Any]]:
    """Yield a row per point of a read-out by point and class."""
    mean, true = record.mean, record.item.target_class.class_index
    points, classes = mean.axes
    others = mean.values.copy()
    others[:, true] = -np.inf
    rivals = others.argmax(axis=1)
    top = [None] * len(points)
    if record.per_image is not None:
        top = (record.per_image.values.argmax(axis=2) == true).mean(axis=0).tolist()
    for i, point in enumerate(points.labels):
        yield {
            "point": point,
            "logit": float(mean.values[i, true]),
            "std": None if mean.std is None else float(mean.std[i, true]),
            "rival": str(classes.labels[rivals[i]]),
            "rival_logit": float(mean.values[i, rivals[i]]),
            "top": top[i],
        }


def direct_by_head(store: Store, values: Mapping[str, Any]) -> Table:
    """What each head and MLP adds to the logit of the true class directly (direct logit attribution).

    Parameters:
      readout: readout = ""; its id, or the beginning of it; empty: the newest of each class and condition
    Columns:
      model: name of the model
      class: name of the class
      image_group: group of the images; empty for images that are not divided into groups
      condition: what was done to the images
      readout: kind of read-out with its parameters
      component: name of the head or other component
      logit: mean over the images of what it adds to the logit of the true class
      std: its standard deviation over the images; missing for one image
      rest: mean over the other classes of what it adds to their logits
    """
    shown = dict.fromkeys([("component", "class"), ("layer", "head", "class")], direct_rows)
    return _table(store, values, direct_by_head, "logit-attribution", shown)


def direct_rows(record: ReadoutRecord) -> Iterator[dict[str, Any]]:
    """Yield a row per component, or per head of each layer, of a read-out by them and class; largest first."""
    mean, true = record.mean, record.item.target_class.class_index
    parts = [axis for axis in mean.axes if axis.name != "class"]
    names = ["".join(pair) for pair in product(*(_named(axis) for axis in parts))]
    logits = mean.values.reshape(len(names), -1).astype(np.float64)
    rest = (logits.sum(axis=1) - logits[:, true]) / max(1, logits.shape[1] - 1)
    std = None if mean.std is None else mean.std.reshape(logits.shape)[:, true]
    for i in np.argsort(-logits[:, true], kind="stable"):
        yield {
            "component": names[i],
            "logit": float(logits[i, true]),
            "std": None if std is None else float(std[i]),
            "rest": float(rest[i]),
        }


def _named(axis: Axis) -> list[str]:
    """Return the labels of an axis as the parts of names of components: `a3` and `.h1`."""
    prefix = {"layer": "a", "head": ".h"}.get(axis.name, "")
    return [f"{prefix}{label}" for label in axis.labels]


def patching_map(store: Store, values: Mapping[str, Any]) -> Table:
    """Effects of patching the residual stream, point by point and token by token.

    Parameters:
      readout: readout = ""; its id, or the beginning of it; empty: the newest of each class and condition
    Columns:
      model: name of the model
      class: name of the class
      image_group: group of the images; empty for images that are not divided into groups
      condition: what was done to the images
      readout: kind of read-out with its parameters
      corruption: what the images are contrasted with
      metric: the metric
      point: point of the residual stream
      token: index of the token; missing if all tokens were patched together
      effect: mean change of the metric over the images
      std: its standard deviation over the images; missing for one image
    """
    shown = dict.fromkeys([("point",), ("point", "token")], _patching_rows)
    return _table(store, values, patching_map, "stream-patching", shown)


def _patching_rows(record: ReadoutRecord) -> Iterator[dict[str, Any]]:
    for row in record.to_pandas().to_dict("records"):
        yield {"point": row["point"], "token": row.get("token"), "effect": row["value"], "std": row.get("std")}


def circuit_footprint(store: Store, values: Mapping[str, Any]) -> Table:
    """Where circuits, and their strongest edges, carry the metric, token by token.

    Parameters:
      readout: readout = ""; its id, or the beginning of it; empty: the newest of each class, condition and circuit
    Columns:
      model: name of the model
      class: name of the class
      image_group: group of the images; empty for images that are not divided into groups
      condition: what was done to the images
      readout: kind of read-out with its parameters, of which circuit names the recipe and the extraction
      corruption: what the images are contrasted with
      metric: the metric
      circuit: id of the circuit
      edges: out of input, into a layer, into logits (sums over the circuit's edges), or the name of one of its edges
      token: index of the token: prefix tokens, then the patches row by row
      part: mean over the images of the part of the score at the token
      std: its standard deviation over the images; missing for one image
    """
    shown = dict.fromkeys([("edges", "token"), ("edges", "source_token")], _footprint_rows)
    return _table(store, values, circuit_footprint, "circuit-footprint", shown)


def _footprint_rows(record: ReadoutRecord) -> Iterator[dict[str, Any]]:
    circuit, token = record.provenance.get("circuit"), record.mean.names[1]
    for row in record.to_pandas().to_dict("records"):
        named = {"circuit": circuit, "edges": row["edges"], "token": row[token]}
        yield {**named, "part": row["value"], "std": row.get("std")}


def path_effects(store: Store, values: Mapping[str, Any]) -> Table:
    """What removal and enhancement of neuron paths do to the probability of the true class, beside random neurons.

    Parameters:
      readout: readout = ""; its id, or the beginning of it; empty: the newest of each class, condition and search
    Columns:
      model: name of the model
      class: name of the class
      image_group: group of the images; empty for images that are not divided into groups
      condition: what was done to the images
      readout: kind of read-out with its parameters, of which circuit names the search
      circuit: id of the path
      neurons: those of the path, or random ones, as many of each layer
      change: removed (their values are 0) or enhanced (doubled)
      effect: mean over the images of the change of the probability; negative: it falls
      low: lower end of its 95 % interval (Student's t); missing for one image
      high: upper end of the interval
      images: number of images
    """
    return _table(store, values, path_effects, "path-effects", {("neurons", "change"): effect_rows})


def effect_rows(record: ReadoutRecord) -> Iterator[dict[str, Any]]:
    """Yield a row per change of a path's neurons and of random ones."""
    from scipy import stats

    n = len(record.images)
    width = float(stats.t.ppf(0.975, n - 1)) / np.sqrt(n) if n > 1 else np.nan
    for row in record.to_pandas().to_dict("records"):
        half = width * row.get("std", np.nan)
        named = {"circuit": record.provenance.get("circuit"), "neurons": row["neurons"], "change": row["change"]}
        yield {**named, "effect": row["value"], "low": row["value"] - half, "high": row["value"] + half, "images": n}


def _table(store: Store, values: Mapping[str, Any], query: Answer, kind: str, shown: Shown) -> Table:
    """Return the rows of all read-outs of a kind, or of the one that is named.

    Args:
        store: the store to read.
        values: the parameters.
        query: the function of the query.
        kind: the kind of read-out.
        shown: returns the rows of one record without the columns `_PLACE`, by the names of its axes.
    """
    listed = newest_readouts(store, values.get("run"), values["readout"], kind)
    found, notes = [], []
    if listed.empty:
        notes.append(f"there is no read-out of the kind {kind}; [[readout]] in a spec indexes it")
    for row in listed.to_dict("records"):
        record = store.readout(row["id"])
        rows_of = shown.get(record.mean.names)
        if rows_of is None:
            expected = " or ".join(f"({', '.join(names)})" for names in shown)
            what = f"{row['readout']} of {row['class']!r}, {row['condition']}"
            notes.append(f"{what} is left out: its axes are ({', '.join(record.mean.names)}), expected {expected}")
        else:
            found += [{**{name: row[name] for name in _PLACE}, **numbers} for numbers in rows_of(record)]
    return Table(pd.DataFrame(found, columns=columns_of(query)), tuple(notes))


def newest_readouts(store: Store, run: str | None, id: str = "", kind: str | None = None) -> pd.DataFrame:
    """Return the catalog's rows of the newest read-out for each question, or of the one with the given id.

    Raises:
        InputError: that one is of another kind.
    """
    rows = store.readouts(run, **({"id": id} if id else {}))
    if id and kind is not None and rows["kind"].iloc[0] != kind:
        raise InputError(f"readout {id[:12]}: expected a read-out of the kind {kind}, got {rows['readout'].iloc[0]}")
    if kind is not None:
        rows = rows.loc[rows["kind"] == kind]
    models = Models(zip(rows["model"], rows["model_id"], strict=True))
    latest = rows.sort_values(["created_ms", "id"]).drop_duplicates(list(_QUESTION), keep="last").sort_index()
    return latest.assign(model=[models.label(id) for id in latest["model_id"]])
