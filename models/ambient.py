"""Torch's default settings while this package computes, whatever the calling program has set.

Inference mode, autocast, a default device or dtype and reduced precision of matrix products would change scores, or
the weights of a new model, without being part of any identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from ..errors import InputError


@contextmanager
def plain_torch() -> Iterator[None]:
    """Run the `with` block with torch's defaults: no inference mode, no autocast, CPU and float32, full precision.

    Gradients are recorded only if it enables them. The previous settings are restored at the end.

    Raises:
        InputError: a precision of matrix products that cannot be overridden.

    Examples:
        >>> torch.set_default_dtype(torch.float64)
        >>> with plain_torch():
        ...     inside = torch.get_default_dtype()
        >>> inside, torch.get_default_dtype()
        (torch.float32, torch.float64)
        >>> torch.set_default_dtype(torch.float32)
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if (dtype := torch.get_default_dtype()) != torch.float32:
            stack.callback(torch.set_default_dtype, dtype)
            torch.set_default_dtype(torch.float32)
        if (precision := _matmul_precision()) != "highest":
            stack.callback(torch.set_float32_matmul_precision, precision)
            torch.set_float32_matmul_precision("highest")
        yield


def _matmul_precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError as error:  # set for some backends only: torch's getter raises an error
        raise InputError(
            "torch.backends (fp32_precision) sets reduced float32 precision for products, but scores need float32; "
            'set it to "ieee", or use torch.set_float32_matmul_precision, which circuitstore overrides'
        ) from error
