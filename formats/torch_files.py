"""Torch files of tensors, numbers and texts: read without running code, and written.

torch is imported when a file is read or written, so that other formats do without it.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError, cut

MAX_RATIO = 100
"""Maximum size of a file's unpacked content, as a multiple of the file; torch does not compress."""


def load_table(data: bytes) -> Mapping[Any, Any]:
    """Return the table in a torch file, without running code.

    Raises:
        InputError: it is not a torch file, holds something else than a table, or needs code to load.

    Examples:
        >>> load_table(saved({"scores": [0.5]}))
        {'scores': [0.5]}
    """
    import torch

    _check_size(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats; the content is checked by the reader
            table = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch's loader can raise anything on damaged files
        names = re.findall(r"GLOBAL (\S+)", str(error))
        if names:
            raise InputError(
                f"needs code to load ({cut(names[0])}), which is never run; expected a torch file of tensors, numbers "
                "and texts: write one with torch.save of a plain table"
            ) from error
        raise InputError(
            f"not a readable torch file ({type(error).__name__}); expected what torch.save writes for a table of "
            "tensors, numbers and texts"
        ) from error
    if not isinstance(table, Mapping):
        raise InputError(f"expected a table (dict), got {type(table).__name__}")
    return table


def _check_size(data: bytes) -> None:
    """Raise an error for an archive that unpacks to much more than its size."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except Exception:  # not an archive, or a damaged one: torch's loader decides
        return
    if unpacked > MAX_RATIO * len(data):
        raise InputError(f"unpacks to {unpacked:,} bytes from {len(data):,}; torch writes files without compression")


def saved(table: Mapping[str, Any]) -> bytes:
    """Return a table as the bytes of a torch file.

    Examples:
        >>> saved({"scores": torch.zeros(2)})[:2]
        b'PK'
    """
    import torch

    content = io.BytesIO()
    torch.save(dict(table), content)
    return content.getvalue()


def dense(value: object, place: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return a tensor's values: booleans, or float64.

    Args:
        value: the tensor, or nested lists of numbers.
        place: where it is in the file, for messages.
        shape: the expected shape.

    Raises:
        InputError: it is no plain dense tensor of real numbers, has another shape, or the file has fewer values.

    Examples:
        >>> dense(torch.tensor([1, 2]), "scores", (2,))
        array([1., 2.])
    """
    import torch

    try:
        tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(f"{place}: expected a tensor of numbers, got {type(value).__name__}") from error
    plain = tensor.layout == torch.strided and not (tensor.is_meta or tensor.is_quantized or tensor.is_complex())
    if not plain or tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        raise InputError(f"{place}: expected a plain dense tensor of real numbers, got {tensor.dtype}, {tensor.layout}")
    if shape is not None and tuple(tensor.shape) != shape:
        raise InputError(f"{place}: expected shape {shape}, got {tuple(tensor.shape)}")
    return (tensor if tensor.dtype == torch.bool else tensor.detach().double()).numpy()
