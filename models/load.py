"""Loading a model: by timm name, with its own or a local checkpoint; a module that exists; the demo's digits model."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from timm.models import eva, vision_transformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..errors import CircuitStoreError, InputError, unknown
from .ambient import plain_torch
from .check import check_gates
from .families import as_vision_transformer
from .fingerprint import fingerprint
from .preprocess import Preprocess
from .representable import check_family, check_finite_weights, check_representable
from .vit import ViT

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


@plain_torch()
def load_model(
    source: str | nn.Module,
    *,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    device: str | torch.device = "cpu",
    dtype: str = "float32",
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> ViT:
    """Load a vision transformer, freeze it, and prove that its senders and receivers account for it.

    Args:
        source: `"digits"` (the demo model), a timm name with or without `timm:` before it, or a module,
            which is copied and left as it is.
        pretrained: let timm fetch the published weights (needs the network unless they are cached).
        checkpoint: local weights for a timm name: safetensors, or a torch file of tensors only.
        image_size: pixels (or height and width) for a timm name, where they are not the model's own; position
            embeddings are resampled.
        device: `cpu`, `cuda`, `cuda:1` …, or `auto`: CUDA where there is one.
        dtype: `float32`, `float64` or `bfloat16`; differences are always taken in at least float32.
        labels: name of each class.
        seed: of the random weights, where neither `pretrained` nor `checkpoint` is given.

    Raises:
        NotRepresentable: the model's parts do not add up as the graph says; names the part.
        InputError: unknown name, dtype or device; weights that do not fit, hold NaN or infinity, or overflow.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    place = _device(device)
    if isinstance(source, nn.Module) or source == "digits":
        if checkpoint is not None:
            raise InputError("checkpoint: only a timm name takes one; load the weights into the module first")
        if image_size is not None:
            raise InputError("image_size: only a timm name takes one; a module has its own")
    if isinstance(source, nn.Module):
        module, name, preprocess, known = _from_module(source)
    elif source == "digits":
        module, name, preprocess, known = _digits()
    else:
        module, name, preprocess, known = _from_timm(
            source.removeprefix("timm:"), pretrained, checkpoint, image_size, seed
        )
    check_finite_weights(module)
    module = as_vision_transformer(module, preprocess.size)
    if isinstance(module.head, nn.Linear):  # a head that was put on a model without one
        module.num_classes = module.head.out_features
    check_representable(module)
    module = module.eval().requires_grad_(False)
    module.set_grad_checkpointing(False)
    names = labels if labels is not None else known
    identity = fingerprint(module, preprocess)
    exact = torch.float64 if dtype == "float64" else torch.float32
    model = ViT(module.to(place, exact), name, identity, preprocess, None if names is None else tuple(names))
    check_gates(model)
    if DTYPES[dtype] == exact:
        return model
    return ViT(module.to(DTYPES[dtype]), name, identity, preprocess, model.labels)


Loaded = tuple[nn.Module, str, Preprocess, Sequence[str] | None]


def _device(device: str | torch.device) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"device: expected cpu, cuda, cuda:N or auto, got {device!r}") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device: {device!r} was asked for, but torch finds no CUDA device; use cpu or auto")
    return place


def _from_module(source: nn.Module) -> Loaded:
    check_family(source)
    module: Any = copy.deepcopy(source)
    name = (getattr(module, "pretrained_cfg", None) or {}).get("architecture") or type(module).__name__
    return module, name, Preprocess.of_timm(module), None


def _digits() -> Loaded:
    """The demo model from the package's data: a timm VisionTransformer described by a TOML table beside its weights."""
    folder = resources.files("circuitstore") / "demo"
    weights, table = folder / "digits_model.safetensors", folder / "digits_model.toml"
    if not (weights.is_file() and table.is_file()):
        raise CircuitStoreError("digits: the demo model is not part of this installation; reinstall circuitstore")
    facts = tomllib.loads(table.read_text(encoding="utf-8"))
    module = VisionTransformer(**facts["architecture"])
    _fill(module, load(weights.read_bytes()), "digits")
    return module, "digits", Preprocess.from_dict(facts["preprocess"]), facts["labels"]


def _from_timm(
    name: str, pretrained: bool, checkpoint: str | Path | None, size: int | tuple[int, int] | None, seed: int
) -> Loaded:
    if pretrained and checkpoint is not None:
        raise InputError("pretrained and checkpoint exclude each other: say which weights are meant")
    if not timm.is_model(name):
        raise unknown("model", name, _offered())
    tensors = None if checkpoint is None else _read_checkpoint(Path(checkpoint))
    arguments = ({} if tensors is None else _classes(tensors)) | ({} if size is None else {"img_size": size})
    module: Any = _create(name, pretrained, seed, arguments)
    check_family(module)
    if tensors is not None:
        _fill(module, _named_as_timm(tensors, module), str(checkpoint))
    return module, name, Preprocess.of_timm(module), None


def _named_as_timm(tensors: dict[str, Tensor], module: Any) -> dict[str, Tensor]:
    """Published layouts with timm's names; position embeddings are resampled to the model's image size."""
    if isinstance(module, VisionTransformer):
        return vision_transformer.checkpoint_filter_fn(tensors, module, adapt_layer_scale=True)
    return eva.checkpoint_filter_fn(tensors, module)


def _offered() -> list[str]:
    """Names for messages: timm's entry points that make a VisionTransformer or an Eva, and the demo's model."""
    modules = ("deit", "eva")
    plain = timm.list_models("*vit*", module="vision_transformer")
    return [*plain, *(name for module in modules for name in timm.list_models(module=module)), "digits"]


def _create(name: str, pretrained: bool, seed: int, arguments: dict[str, Any]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return timm.create_model(name, pretrained=pretrained, **arguments)
        except (TypeError, AssertionError) as error:
            if "img_size" not in arguments:
                raise
            raise InputError(f"{name}: timm does not make it for images of {arguments['img_size']} pixels") from error
        except Exception as error:
            if not pretrained:
                raise
            raise CircuitStoreError(
                f"{name}: timm could not fetch the published weights ({type(error).__name__}: {error}); "
                "download them where there is a network and give the file as checkpoint="
            ) from error


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors by name from safetensors or a torch file; a nested table of weights is unpacked."""
    if not path.is_file():
        raise InputError(f"checkpoint: no file at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, _unpickling_error()) as error:
        raise InputError(
            f"checkpoint: {path} is no readable file of tensors ({type(error).__name__}); expected .safetensors, or a "
            "torch file that holds tensors only (other pickled objects are not opened, since they can run code)"
        ) from error
    for key in ("state_dict_ema", "model_ema", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"checkpoint: {path} holds no table of tensors by name")
    return {name.removeprefix("module."): value for name, value in content.items()}


def _unpickling_error() -> type[Exception]:
    from pickle import UnpicklingError

    return UnpicklingError


def _classes(tensors: dict[str, Tensor]) -> dict[str, Any]:
    head = tensors.get("head.weight")
    return {} if head is None else {"num_classes": len(head)}


def _fill(module: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Put all tensors into the module; names and shapes must match exactly."""
    own = module.state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [
        f"{n} is {tuple(tensors[n].shape)}, expected {tuple(own[n].shape)}"
        for n in own.keys() & tensors.keys()
        if tensors[n].shape != own[n].shape
    ]
    if missing or extra or shapes:
        problems = [
            *(f"missing: {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}" for _ in missing[:1]),
            *(f"not in the model: {', '.join(extra[:5])}{' …' if len(extra) > 5 else ''}" for _ in extra[:1]),
            *shapes[:3],
        ]
        raise InputError(f"checkpoint: {where} does not fit the model: {'; '.join(problems)}")
    module.load_state_dict(tensors)
