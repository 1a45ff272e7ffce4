"""Arrays as an answer to the browser: the format safetensors, which `static/safetensors.js` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import save

ARRAYS = "application/vnd.safetensors"
"""The media type of such an answer."""


def packed(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> bytes:
    """Return arrays, and facts in the metadata, as a file in the format safetensors.

    Examples:
        >>> from safetensors.numpy import load
        >>> load(packed({"values": np.float16([0.5, 1])}, {"by": "class"}))["values"]
        array([0.5, 1. ], dtype=float16)
    """
    whole = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    return save(whole, metadata={"facts": json.dumps(facts, allow_nan=False)})
