"""Conversion of read-outs to Arrow tables and back: a row per number, a column for the mean and for each image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from ..circuits import IMAGE, Axis, Metric, Readout, ReadoutRecord, WorkItem, readout_use
from .encoding import Header, check_identity, column, to_table


def readout_to_table(record: ReadoutRecord, created_ms: int) -> pa.Table:
    """Return the table of a read-out."""
    mean, per_image = record.mean, record.per_image
    header: Header = {
        "kind": "readout",
        "id": record.id,
        "sha256": record.sha256,
        "created_ms": created_ms,
        "item": record.item.to_dict(),
        "images": list(record.images),
        "axes": [[axis.name, list(axis.labels)] for axis in mean.axes],
        "unit": mean.unit,
        "metric": None if mean.metric is None else mean.metric.to_dict(),
        "facts": dict(mean.facts),
        "per_image": per_image is not None,
        "provenance": dict(record.provenance),
    }
    columns = {"mean": mean.values.ravel()}
    if mean.std is not None:
        columns["std"] = mean.std.ravel()
    if per_image is not None:
        columns |= {f"image_{i}": np.ascontiguousarray(values).ravel() for i, values in enumerate(per_image.values)}
    return to_table(header, columns)


def readout_from_table(header: Header, table: pa.Table) -> ReadoutRecord:
    """Inverse of `readout_to_table`.

    Raises:
        StoreDamaged: an array, or the whole, does not match its checksum.
    """
    item, images = WorkItem.from_dict(header["item"]), tuple(header["images"])
    axes = tuple(Axis(name, tuple(labels)) for name, labels in header["axes"])
    metric = None if header["metric"] is None else Metric.from_dict(header["metric"])

    def numbers(name: str) -> np.ndarray:
        return column(header, table, name).reshape([len(axis) for axis in axes])

    def readout(first: tuple[Axis, ...], values: np.ndarray, std: np.ndarray | None = None) -> Readout:
        return Readout(readout_use(item), (*first, *axes), values, header["unit"], std, metric, header["facts"])

    mean = readout((), numbers("mean"), numbers("std") if "std" in header["columns"] else None)
    per_image: Any = None
    if header["per_image"]:
        values = np.stack([numbers(f"image_{i}") for i in range(len(images))])
        per_image = readout((Axis(IMAGE, images),), values)
    record = ReadoutRecord(item, images, mean, per_image, header["provenance"])
    check_identity(header, record)
    return record
