"""What the page of images shows: example images of a class under its conditions, and maps of them."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ..circuits import IMAGE, NATURAL, Example, ExampleImages, Readout, ReadoutRecord
from ..circuits.examples import Pixels
from ..circuits.image_maps import added_axes, maps_of
from ..errors import InputError, StoreDamaged, check_known, unknown
from ..query.names import Models
from ..query.readouts import newest_readouts
from ..store import Store

SUBJECT = ["model_id", "dataset", "class", "image_group"]
"""What the images of one page have in common."""

QUESTION = ["readout", "corruption", "metric", "dtype", "seed"]
"""What distinguishes the read-outs of a class under a condition."""

VIEWS = ("clean", "attacked", "difference")


@dataclass(frozen=True, eq=False)
class Subjects:
    """The classes that the store has example images of, and one that is shown.

    Attributes:
        rows: a row for each model, class and group of images, by class index; the columns of `SUBJECT`, and `model`.
        shown: the position of the row that is shown.
        sets: the newest example images of this class for each condition, natural first; columns of `Store.examples`.
    """

    rows: pd.DataFrame
    shown: int
    sets: pd.DataFrame

    @property
    def first(self) -> pd.Series:
        """The row that is shown."""
        return self.rows.iloc[self.shown]


def find_subjects(store: Store, run: str | None, wanted: Mapping[str, str]) -> Subjects | None:
    """Return the first class that matches; None if the store has no example images.

    Args:
        store: the store.
        run: only images of this run; None for the whole store.
        wanted: values of `SUBJECT`, and `model`, the label of a model.

    Raises:
        InputError: there is no such run, or no class with these values.
    """
    listed = store.examples(run)
    if listed.empty:
        return None
    models = Models(zip(listed["model"], listed["model_id"], strict=True))
    listed = listed.assign(model=listed["model_id"].map(models.label))
    rows = listed.sort_values(["model", "dataset", "class_index", "class", "image_group"])
    rows = rows.loc[:, ["model", *SUBJECT]].drop_duplicates(ignore_index=True)
    left = rows
    for name, value in wanted.items():
        texts = [str(text) for text in left[name]]
        if value not in texts:
            raise unknown(name, value, set(texts), where="classes with example images")
        left = left.loc[np.array(texts, dtype=object) == value]
    first = left.iloc[0]
    same = (listed[SUBJECT] == first[SUBJECT]).all(axis=1)
    sets = (
        listed.loc[same]
        .assign(other=lambda f: f["attack"] != NATURAL)
        .sort_values(["other", "condition", "created_ms"])
    )
    newest = sets.drop_duplicates("condition", keep="last").drop(columns="other")
    return Subjects(rows, int(left.index[0]), newest.reset_index(drop=True))


def read_sets(store: Store, subjects: Subjects) -> Iterator[ExampleImages]:
    """Yield the example images of the class under each condition; damaged files are left out, `verify` reports them."""
    for id in subjects.sets["id"]:
        with suppress(StoreDamaged):
            yield store.example_images(str(id))


def set_facts(images: ExampleImages, short: str) -> dict[str, Any]:
    """Return what is known about the example images of a condition, as JSON values."""
    return {
        "id": images.id,
        "condition": images.condition.text,
        "short": short,
        "checks": dict(images.checks),
        "examples": [_example_facts(example) for example in images.examples],
    }


def _example_facts(example: Example) -> dict[str, Any]:
    attacked, amplified = example.attacked, example.amplified
    return {
        "hash": example.hash,
        "file": example.file,
        "predicted": example.clean.predicted,
        "probability": example.clean.probability,
        "attacked_as": None if attacked is None else attacked.predicted,
        "attacked_probability": None if attacked is None else attacked.probability,
        "linf": example.linf,
        "l2": example.l2,
        "amplified": None if amplified is None else amplified[1],
    }


def picture(images: ExampleImages, hash: str, view: str) -> bytes:
    """Return a view of an image as PNG, without loss; the difference is amplified to full contrast, on grey.

    Args:
        images: the example images.
        hash: content hash of the image.
        view: one of `VIEWS`.

    Raises:
        InputError: no such image or view, or the image is not attacked.
    """
    check_known("view", view, VIEWS)
    by_hash = {example.hash: example for example in images.examples}
    check_known("image", hash, by_hash)
    example = by_hash[hash]
    if view == "clean":
        return _png(example.clean.pixels)
    if example.attacked is None or example.amplified is None:
        raise InputError(f"image {hash[:12]} is not attacked under {images.condition.text}; its only view is clean")
    return _png(example.attacked.pixels if view == "attacked" else example.amplified[0])


def _png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def find_maps(store: Store, run: str | None, subjects: Subjects) -> Iterator[dict[str, Any]]:
    """Yield the questions whose read-outs are maps on the images of the class, with a read-out for each condition.

    Yields:
        `title`, the kind with its parameters and what distinguishes it from other questions of this kind, and `ids`,
        the newest read-out by condition.
    """
    listed = newest_readouts(store, run)
    of_class = listed.loc[(listed[SUBJECT] == subjects.first[SUBJECT]).all(axis=1)]
    for _, rows in of_class.groupby(QUESTION, sort=False):
        ids = dict(zip(rows["condition"], rows["id"], strict=True))
        if any(_is_map(store, id) for id in list(ids.values())[:1]):
            of_kind = of_class.loc[of_class["readout"] == rows["readout"].iloc[0]]
            varying = [str(rows[name].iloc[0]) for name in QUESTION[1:] if of_kind[name].nunique() > 1]
            yield {"title": ", ".join([str(rows["readout"].iloc[0]), *varying]), "ids": ids}


def _is_map(store: Store, id: str) -> bool:
    """Return whether a read-out is a map; one that cannot be read is none."""
    with suppress(StoreDamaged):
        record = store.readout(id)
        return maps_of(record, record.mean) is not None
    return False


def map_arrays(record: ReadoutRecord, hashes: Collection[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the maps of a read-out as arrays, and what they are about as JSON values.

    Args:
        record: the read-out.
        hashes: content hashes of the images whose own maps are returned, if they are stored.

    Returns:
        `mean [..., row, column]` and, if there are any, `images [image, ..., row, column]`, in half precision, divided
        by their largest magnitude; facts: `scale` and `images_scale`, these magnitudes; `axes` (name and labels of the
        other axes), `added` (those whose parts add up), `hashes` of `images`, `unit`, `count` (images of the mean).

    Raises:
        InputError: the read-out is no map.
    """
    mean = maps_of(record, record.mean)
    if mean is None:
        raise InputError(
            f"read-out {record.id[:12]}: expected a map over an image, got axes {', '.join(record.mean.names)}"
        )
    arrays, scale = _scaled("mean", mean)
    axes = [{"name": axis.name, "labels": list(axis.labels)} for axis in mean.axes[:-2]]
    facts = {"scale": scale, "axes": axes, "added": added_axes(mean), "unit": mean.unit, "count": len(record.images)}
    facts |= {"readout": mean.use.text, "condition": record.item.condition.text, "hashes": [], "images_scale": 1.0}
    known = (
        [] if record.per_image is None else [h for h in map(str, record.per_image.axis(IMAGE).labels) if h in hashes]
    )
    if record.per_image is not None and known:
        each = maps_of(record, record.per_image.select(**{IMAGE: known}))
        assert each is not None
        own, facts["images_scale"] = _scaled("images", each)
        arrays, facts["hashes"] = arrays | own, known
    return arrays, facts


def _scaled(name: str, maps: Readout) -> tuple[dict[str, np.ndarray], float]:
    largest = float(np.abs(maps.values).max(initial=0.0)) or 1.0
    return {name: (maps.values / largest).astype(np.float16)}, largest
