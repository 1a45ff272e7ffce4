"""Loading a model: by timm name, with its own or a local checkpoint; a module that exists; the demo's digits model."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load
from timm.data.config import resolve_model_data_config
from timm.models import eva, vision_transformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..errors import CircuitStoreError, InputError, unknown
from .ambient import plain_torch
from .assembly import UNSTATED, LoadOptions, SourceModule, check_seed, copied, loaded, random_weights
from .grid import Size, check_memory, check_patches, checked_size, resampled, trained_size
from .preprocess import TIMMS, Preprocess, built_for
from .representable import check_as_written, check_family
from .vit import ViT
from .weights import Weights, checked_file, read_weights
from .wrappers import timm_model_in


@plain_torch()
def load_model(
    source: str | nn.Module,
    *,
    name: str | None = None,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    crop: float | None = None,
    crop_mode: str | None = None,
    interpolation: str | None = None,
    device: str | torch.device = "cpu",
    dtype: str = "float32",
    labels: Sequence[str] | None = None,
    seed: int | None = None,
) -> ViT:
    """Load a vision transformer, freeze it, and prove that its senders and receivers account for it.

    What has to be assumed is a `CircuitStoreWarning`, and is kept in `notices`: preprocessing that the weights do not
    come with, an image size that was read from position embeddings, random weights.

    Args:
        source: `"digits"` (the demo model), a timm name with or without `timm:` before it, or a module,
            which is copied and left as it is.
        name: what people call the model; by default timm's name, and the checkpoint's after a slash.
        pretrained: let timm fetch the published weights (needs the network unless they are cached).
        checkpoint: local weights for a timm name: safetensors, or a torch file as training scripts save it.
        image_size: pixels (or height and width) for a timm name; by default those of the checkpoint's position
            embeddings, or the model's own. Position embeddings of another size are resampled.
        mean, std, crop, crop_mode, interpolation: how images are prepared, see `Preprocess`; by default as timm's
            configuration says.
        device: `cpu`, `cuda`, `cuda:1` …, or `auto`: CUDA where there is one.
        dtype: `float32`, `float64` or `bfloat16`; differences are always taken in at least float32.
        labels: name of each class.
        seed: of random weights, where neither `pretrained` nor `checkpoint` is given; 0 by default, with a warning.

    Raises:
        NotRepresentable: the model's parts do not add up as the graph says; names the part.
        InputError: a source, name, dtype, device, size or preprocessing that is not known or does not fit; weights
            that do not fit, hold NaN or infinity, or overflow.
        CircuitStoreError: published weights could not be fetched.
    """
    stated = {"mean": mean, "std": std, "crop": crop, "crop_mode": crop_mode, "interpolation": interpolation}
    options, size = LoadOptions.checked(name, device, dtype, labels, **stated), checked_size(image_size)
    if isinstance(source, str) and source != "digits":
        return loaded(
            _by_name(source.removeprefix("timm:"), pretrained, checkpoint, size, seed, options.device), options
        )
    if not isinstance(source, str | nn.Module):
        raise InputError(f"source: expected 'digits', a timm name or an nn.Module, got {type(source).__name__}")
    if checkpoint is not None:
        raise InputError("checkpoint: only a timm name takes one; load the weights into the module first")
    if size is not None:
        raise InputError("image_size: only a timm name takes one; a module has its own")
    return loaded(_from_module(source) if isinstance(source, nn.Module) else _digits(), options)


def _by_name(
    name: str, pretrained: bool, checkpoint: object, size: Size | None, seed: int | None, device: torch.device
) -> SourceModule:
    if pretrained and checkpoint is not None:
        raise InputError("pretrained and checkpoint exclude each other: say which weights are meant")
    _check_name(name)
    skeleton = _skeleton(name)
    if size is not None:
        check_patches(name, skeleton, size)
    check_memory(name, skeleton, size or built_for(skeleton), device)
    if checkpoint is not None:
        return _from_checkpoint(name, skeleton, checked_file(checkpoint), size, device)
    return _from_timm(name, pretrained, size, seed)


def _from_module(source: nn.Module) -> SourceModule:
    module: Any = timm_model_in(source)
    check_as_written(module)
    config = getattr(module, "pretrained_cfg", None) or {}
    return SourceModule(
        copied(module),
        config.get("architecture") or type(module).__name__,
        _preprocess(module),
        "the module as given",
        unstated=tuple(field for field in UNSTATED if TIMMS[field] not in config),
        assumed="timm's default",
    )


def _preprocess(module: nn.Module) -> Preprocess:
    """What the data config of a timm model says; timm's defaults where it says nothing."""
    return Preprocess.of_timm(resolve_model_data_config(module), built_for(module))


def _digits() -> SourceModule:
    """The demo model from the package's data: a timm VisionTransformer described by a TOML table beside its weights."""
    folder = resources.files("circuitstore") / "demo"
    weights, table = folder / "digits_model.safetensors", folder / "digits_model.toml"
    if not (weights.is_file() and table.is_file()):
        raise CircuitStoreError("digits: the demo model is not part of this installation; reinstall circuitstore")
    facts = tomllib.loads(table.read_text(encoding="utf-8"))
    module = VisionTransformer(**facts["architecture"])
    _fill(module, load(weights.read_bytes()), "digits")
    prepared = facts["preprocess"]
    preprocess = Preprocess(tuple(prepared.pop("size")), **prepared)
    return SourceModule(module, "digits", preprocess, "shipped with circuitstore", labels=facts["labels"])


def _from_timm(name: str, pretrained: bool, size: Size | None, seed: int | None) -> SourceModule:
    module: Any = _create(name, pretrained, check_seed(seed), {} if size is None else {"img_size": size})
    if pretrained:
        return SourceModule(module, name, _preprocess(module), f"published ({_tagged(module)})")
    notices = random_weights(name, seed)
    return SourceModule(module, name, _preprocess(module), f"random, seed {seed or 0}", random=True, notices=notices)


def _tagged(module: Any) -> str:
    config = module.pretrained_cfg
    return ".".join(filter(None, (config.get("architecture"), config.get("tag"))))


def _check_name(name: str) -> None:
    """Refuse a name that timm does not have.

    Raises:
        InputError: not the name of a timm model, or a tag that it does not have.
    """
    if "/" in name or name.startswith("hf-hub:"):
        raise InputError(
            f"{name}: models of the Hugging Face hub are not taken yet; expected one of timm's own names, such as "
            "vit_base_patch16_224, and pretrained=True for its published weights"
        )
    architecture, dot, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise unknown("model", name, _offered())
    known = [n for n in timm.list_models(f"{architecture}*", include_tags=True) if n.startswith(f"{architecture}.")]
    if dot and name not in known:
        raise unknown("tag", tag, [n.partition(".")[2] for n in known], where=architecture)


def _offered() -> list[str]:
    """Names for messages: timm's entry points that make a VisionTransformer or an Eva, and the demo's model."""
    modules = ("deit", "eva")
    plain = timm.list_models("*vit*", module="vision_transformer")
    return [*plain, *(name for module in modules for name in timm.list_models(module=module)), "digits"]


def _skeleton(name: str, **arguments: Any) -> Any:
    """The architecture without its tensors' values.

    Raises:
        NotRepresentable: not of a family that is taken.
    """
    with torch.device("meta"):
        module = _create(name, False, 0, arguments)
    check_family(module)
    return module


def _create(name: str, pretrained: bool, seed: int, arguments: dict[str, Any]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return timm.create_model(name, pretrained=pretrained, **arguments)
        except Exception as error:
            if not pretrained:
                raise InputError(f"{name}: timm could not make it ({type(error).__name__}: {error})") from error
            raise CircuitStoreError(
                f"{name}: timm could not fetch the published weights ({type(error).__name__}: {error}); "
                "download them where there is a network and give the file as checkpoint="
            ) from error


def _from_checkpoint(name: str, plain: Any, path: Path, asked: Size | None, device: torch.device) -> SourceModule:
    """A timm model with the weights of a file, at the image size of these unless another one is asked for.

    Args:
        plain: the architecture without values.
    """
    weights = read_weights(path, plain.state_dict().keys())
    own, where = built_for(plain), path.name
    trained = trained_size(where, plain, own, weights.tensors, asked, weights.prepared.get("size"))
    check_memory(name, plain, trained.size, device)
    arguments = _classes(weights.tensors) | ({} if trained.size == own else {"img_size": trained.size})
    tensors = _named_as_timm(weights, _skeleton(name, **arguments))
    module: Any = _create(name, False, 0, arguments)
    _fill(module, tensors, str(path))
    notices = (*weights.notices, *trained.notices)
    if asked not in (None, trained.size):
        module.set_input_size(img_size=asked)
        notices = (*notices, *resampled(where, module, trained.size, asked))
    stated = {field: weights.prepared[TIMMS[field]] for field in UNSTATED if TIMMS[field] in weights.prepared}
    return SourceModule(
        module,
        f"{name}/{path.stem}",
        _preprocess(module).stated(**stated),
        where,
        unstated=tuple(field for field in UNSTATED if field not in stated),
        assumed=f"timm's configuration of {name}",
        notices=notices,
    )


def _classes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    head = tensors.get("head.weight")
    return {} if head is None or head.ndim != 2 else {"num_classes": len(head)}


def _named_as_timm(weights: Weights, module: Any) -> dict[str, Tensor]:
    """The tensors by timm's names, from these or from a published layout that timm knows."""
    names = module.state_dict().keys()
    if weights.tensors.keys() == names:
        return weights.tensors
    convert: Any = eva.checkpoint_filter_fn
    options = {}
    if isinstance(module, VisionTransformer):
        convert, options = vision_transformer.checkpoint_filter_fn, {"adapt_layer_scale": True}
    for tensors in (weights.tensors, weights.table):
        try:
            found = convert(dict(tensors), module, **options)
        except Exception:  # whatever its steps run into with another layout
            continue
        patches = found.get("patch_embed.proj.weight")
        as_saved = patches is not None and any(t.numel() == patches.numel() for t in tensors.values())
        if found.keys() == names and as_saved:  # patches of another size would have been resampled
            return found
    return weights.tensors


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
    if any(tensor.dtype == torch.float64 for tensor in tensors.values()):
        module.double()
    module.load_state_dict(tensors)
