"""Unwrap a model from the modules around it, or explain how to load it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from timm.utils.model_ema import ModelEmaV2, ModelEmaV3
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from ..errors import NotRepresentable
from .hf_model import CLASSES
from .huggingface import is_transformers
from .representable import check_family, is_of_family
from .torchvision_vit import is_torchvision

_RUNS_IT = (nn.DataParallel, DistributedDataParallel, AveragedModel, ModelEmaV2, ModelEmaV3)


def timm_model_in(module: nn.Module) -> nn.Module:
    """Return the timm model inside wrappers that only run it, see `unwrap`.

    Raises:
        NotRepresentable: the module's family is not supported; the message says what to do.
    """
    module = unwrap(module)
    if not is_of_family(module):
        _explain(module)
        check_family(module)
    return module


def unwrap(module: nn.Module) -> nn.Module:
    """Return the module inside DataParallel, DistributedDataParallel, torch.compile or an average of weights."""
    inner: Any = module
    while inner is not None:
        module = inner
        inner = module.module if isinstance(module, _RUNS_IT) else getattr(module, "_orig_mod", None)  # torch.compile's
    return module


def _explain(module: nn.Module) -> None:
    """Raise an error that says how to load a module of a known library, or a supported model inside a module.

    Raises:
        NotRepresentable: the module is of either sort.
    """
    name, library = type(module).__name__, type(module).__module__.partition(".")[0]
    if library == "open_clip":
        raise NotRepresentable(
            f"{name} is part of open_clip: pass the whole model, its class names and its tokenizer to "
            "cs.load_clip(model, classes, tokenizer=open_clip.get_tokenizer(name))"
        )
    if library == "transformers":
        raise NotRepresentable(f"transformers' {name} is not supported; expected one of {', '.join(CLASSES)}")
    inner = next(_inner_models(module), None)
    if inner is not None:
        raise NotRepresentable(_attach_head_hint(module, *inner))


def _inner_models(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    known = (is_of_family, is_transformers, is_torchvision)
    return ((path, part) for path, part in module.named_modules() if path and any(check(part) for check in known))


def _attach_head_hint(module: nn.Module, path: str, part: nn.Module) -> str:
    own, library = path.partition(".")[0], type(part).__module__.partition(".")[0]
    others = [name for name, child in module.named_children() if name != own and list(child.parameters())]
    head = f", head=model.{others[-1]}" if others else ""
    condition = ", if your forward applies the head to what it pools" if others else ""
    return (
        f"{type(module).__name__} is not a model of timm, transformers or torchvision, but holds a {library} "
        f"{type(part).__name__} at .{path}: load that{condition}:\n  cs.load_model(model.{path}{head})"
    )
