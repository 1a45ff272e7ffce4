"""A model's logits for one fixed image, which give the number of classes and are part of its identity.

Settings and tensors do not describe what a user's own code computes, such as a custom head; the logits do.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InputError, NotRepresentable

_GOLDEN = 0.6180339887498949
_SUMS = 8


@torch.no_grad()
def fixed_logits(module: Any, size: tuple[int, int]) -> Float[Tensor, "class"]:
    """Return the logits of `fixed_image` in float64, or in float32 if a part needs it; move the module to the CPU.

    Raises:
        InputError: the model does not run, or does not return one number per class.
        NotRepresentable: the model draws random numbers.
    """
    module.cpu()
    try:
        logits = _answer(module.double(), size, torch.float64)
    except (RuntimeError, TypeError) as error:
        if "memory" in str(error):  # logits in float32 would give another identity
            raise InputError(
                f"the model's identity needs one run in float64, for which there is not enough memory: {error}"
            ) from error
        logits = _in_single(module.float(), size)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 1 or not logits.is_floating_point():
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"head: expected logits [image, class] for one image, got {got}")
    return logits[0]


def _in_single(module: Any, size: tuple[int, int]) -> Any:
    try:
        return _answer(module, size, torch.float32)
    except NotRepresentable:
        raise
    except Exception as error:  # any part of the model may raise anything
        height, width = size
        raise InputError(
            f"the model does not run on an image [3, {height}, {width}] ({type(error).__name__}: {error}); "
            "does its head fit?"
        ) from error


def _answer(module: Any, size: tuple[int, int], dtype: torch.dtype) -> Any:
    """Return the module's output; the caller's random generator stays unchanged."""
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        logits = module(fixed_image(size).to(dtype))
        if not torch.equal(before, torch.get_rng_state()):
            raise NotRepresentable(
                "the model draws random numbers in evaluation mode (such as dropout that is always on), so its logits "
                "for an image vary"
            )
    return logits


def fixed_image(size: tuple[int, int]) -> Float[Tensor, "1 3 height width"]:
    """Return numbers from -1 to 1 that are the same on every machine: fractional parts of golden ratio multiples.

    Random generators may change between versions of a library.
    """
    return _spread(3 * size[0] * size[1]).view(1, 3, *size)


def summary(logits: Float[Tensor, "class"]) -> list[int]:
    """Return the norm of the logits and a few weighted sums, rounded: equal on all machines, different between models.

    float64 results differ by about 1e-14 between machines, so a rounded number differs by chance once in 1e9 models.
    Logits in float32 are rounded more coarsely.
    """
    step = 1e-3 if logits.dtype == torch.float64 else 0.1
    length = logits.double().norm().clamp_min(1e-300)
    sums = logits.double() / length @ _spread(len(logits) * _SUMS).view(len(logits), _SUMS)
    return [round(value / step) for value in (float(length.log()), *sums.tolist())]


def _spread(count: int) -> Float[Tensor, "number"]:
    return 2 * torch.frac(torch.arange(1, count + 1, dtype=torch.float64) * _GOLDEN) - 1
