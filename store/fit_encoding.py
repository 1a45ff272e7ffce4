"""Conversion of fits to Arrow tables and back: one column of bytes, the arrays one after the other."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pyarrow as pa

from ..circuits import Fit, FitUse, ModelInfo, little_endian
from .encoding import Header, check_identity, column, to_table


def fit_to_table(fit: Fit, created_ms: int) -> pa.Table:
    """Return the table of a fit."""
    little = {name: values.dtype.newbyteorder("<").str for name, values in fit.arrays.items()}
    header: Header = {
        "kind": "fit",
        "id": fit.id,
        "sha256": fit.sha256,
        "created_ms": created_ms,
        "thing": fit.thing,
        "use": fit.use.to_dict(),
        "model": asdict(fit.model),
        "dataset": fit.dataset,
        "images": list(fit.images),
        "arrays": [[name, little[name], list(values.shape)] for name, values in fit.arrays.items()],
        "facts": dict(fit.facts),
        "provenance": dict(fit.provenance),
    }
    content = b"".join(little_endian(values) for values in fit.arrays.values())
    return to_table(header, {"bytes": np.frombuffer(content, np.uint8)})


def fit_from_table(header: Header, table: pa.Table) -> Fit:
    """Inverse of `fit_to_table`.

    Raises:
        StoreDamaged: the arrays, or the whole, do not match their checksum.
    """
    content = column(header, table, "bytes").tobytes()
    arrays, start = {}, 0
    for name, kind, shape in header["arrays"]:
        count = math.prod(shape)
        arrays[name] = np.frombuffer(content, kind, count, start).reshape(shape)
        start += arrays[name].nbytes
    fit = Fit(
        header["thing"],
        FitUse.from_dict(header["use"]),
        ModelInfo(**header["model"]),
        header["dataset"],
        tuple(header["images"]),
        arrays,
        header["facts"],
        header["provenance"],
    )
    check_identity(header, fit)
    return fit
