"""What the program around ours has set in torch is put aside while ours computes.

Inference mode, autocast, a default device or dtype and a reduced precision of matrix products would change scores, or
the weights of a model that is made, without being part of any identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from ..errors import InputError


@contextmanager
def plain_torch() -> Iterator[None]:
    """Run the block as in a fresh program: no inference mode, no autocast, CPU and float32 by default, full precision.

    Gradients are recorded where the block itself asks for them. Everything is as it was afterwards.

    Raises:
        InputError: a precision of matrix products that cannot be put aside.
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
    except RuntimeError as error:  # set for some backends only, which torch's own getter refuses to sum up
        raise InputError(
            "float32 products of reduced precision are set by torch.backends (fp32_precision); scores are float32, "
            'so set it to "ieee", or use torch.set_float32_matmul_precision, which is put aside while we compute'
        ) from error
