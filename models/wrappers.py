"""Modules around a timm model: what only runs it is taken off; every other one is refused with what to give instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from timm.utils.model_ema import ModelEmaV2, ModelEmaV3
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from ..errors import NotRepresentable
from .representable import check_family, is_of_family

_RUNS_IT = (nn.DataParallel, DistributedDataParallel, AveragedModel, ModelEmaV2, ModelEmaV3)


def timm_model_in(module: nn.Module) -> nn.Module:
    """The timm model in what only runs it, see `unwrapped`.

    Raises:
        NotRepresentable: any other module that is not of a family that is taken; says what to do.
    """
    module = unwrapped(module)
    if not is_of_family(module):
        _explain(module)
        check_family(module)
    return module


def unwrapped(module: nn.Module) -> nn.Module:
    """What is in DataParallel, DistributedDataParallel, torch.compile or an average of weights."""
    inner: Any = module
    while inner is not None:
        module = inner
        inner = module.module if isinstance(module, _RUNS_IT) else getattr(module, "_orig_mod", None)  # torch.compile's
    return module


def _explain(module: nn.Module) -> None:
    """Say how a module of a known library is loaded.

    Raises:
        NotRepresentable: a module whose way in is known.
    """
    name, library = type(module).__name__, type(module).__module__.partition(".")[0]
    if library == "open_clip":
        raise NotRepresentable(
            f"{name} is open_clip's: give the whole model, its class names and its tokenizer to "
            "cs.load_clip(model, classes, tokenizer=open_clip.get_tokenizer(name))"
        )
    held = next(_held(module), None)
    if held is not None:
        raise NotRepresentable(_put_the_head_on(module, *held))
    if library in ("torchvision", "transformers"):
        raise NotRepresentable(
            f"{name} is {library}'s, whose models are not taken yet; timm has the same architectures, such as "
            'cs.load_model("timm:vit_base_patch16_224", pretrained=True)'
        )


def _held(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((path, part) for path, part in module.named_modules() if path and is_of_family(part))


def _put_the_head_on(module: nn.Module, path: str, part: nn.Module) -> str:
    own = path.partition(".")[0]
    others = [name for name, child in module.named_children() if name != own and list(child.parameters())]
    lines = [f"model.{path}.head = model.{others[-1]}"] if others else []
    lines.append(f"cs.load_model(model.{path})")
    after = ", if your forward is the head after what the timm model pools" if others else ""
    return (
        f"{type(module).__name__} is no timm model; it holds a timm {type(part).__name__} at .{path}: "
        f"{'put your head on it' if others else 'load that'}{after}:\n  " + "\n  ".join(lines)
    )
