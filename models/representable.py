"""Check that a model is exactly the sum of its senders, and raise an error that names the obstacle if it is not.

Senders must add their outputs to the residual stream and receivers must read the sum. That holds for pre-norm blocks
whose heads add up.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.attention import Attention
from timm.layers.diff_attention import DiffAttention
from timm.layers.norm import RmsNorm, RmsNormFp32
from timm.models.eva import Eva, EvaBlockPostNorm
from timm.models.vision_transformer import (
    Block,
    DiffParallelScalingBlock,
    ParallelScalingBlock,
    ParallelThingsBlock,
    ResPostBlock,
    VisionTransformer,
)
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import InputError, NotRepresentable

RMS_NORMS = (nn.RMSNorm, RmsNorm, RmsNormFp32)
NORMS = (nn.LayerNorm, *RMS_NORMS, nn.Identity)

_POST_NORM = "post-norm: the block's output is normalised after the heads are summed, so heads do not add up"
_BLOCKS = {
    ResPostBlock: _POST_NORM,
    EvaBlockPostNorm: _POST_NORM,
    ParallelScalingBlock: "parallel blocks: attention and MLP read the same stream, so there are no edges between them",
    DiffParallelScalingBlock: "parallel blocks with differential attention",
    ParallelThingsBlock: "parallel blocks: several attentions and MLPs read the same stream",
}
_OTHERS = {
    "VisionTransformerRelPos": "relative position biases are not represented yet",
    "Swin": "windowed attention with patch merging between stages: there is no single residual stream",
    "MaxxVit": "convolution stages between the blocks",
    "CaiT": "class-attention layers read the class token separately from the patches",
    "Beit": "relative position biases are not represented yet",
    "NaFlexVit": "variable-size inputs with masks are not represented yet",
    "ResNet": "a convolutional network has no attention heads",
    "ConvNeXt": "a convolutional network has no attention heads",
}


def check_representable(module: Any) -> None:
    """Check that a model is exactly the sum of its senders, as its receivers read them.

    Raises:
        NotRepresentable: it is not; the message names the part and the reason.
        InputError: the model has no classifier, or one that does not fit.
    """
    check_family(module)
    _check_head(module)
    if module.in_chans != 3:
        raise NotRepresentable(
            f"{type(module).__name__} reads {module.in_chans} channels; expected 3, since images are RGB"
        )
    if module.global_pool not in ("token", "avg", "avgmax", "max", "map", "prr"):
        raise NotRepresentable(
            f"global_pool={module.global_pool!r} gives logits per token; "
            "create the model with global_pool='token' or 'avg'"
        )
    for index, block in enumerate(module.blocks):
        _check_block(block, f"blocks.{index}")
    heads = {block.attn.num_heads for block in module.blocks}
    if len(heads) != 1:
        raise NotRepresentable(f"blocks have different numbers of heads ({sorted(heads)}); expected the same in all")


def is_of_family(module: nn.Module) -> bool:
    """Return whether a module is timm's VisionTransformer or Eva, or a subclass with the same forward pass."""
    return any(
        isinstance(module, family)
        and all(getattr(type(module), f, None) is getattr(family, f) for f in ("forward", "forward_features"))
        for family in (VisionTransformer, Eva)
    )


def check_family(module: nn.Module) -> None:
    """Check that a module's family is supported.

    Raises:
        NotRepresentable: neither timm's VisionTransformer nor Eva, nor a subclass with the same forward pass.
    """
    if is_of_family(module):
        return
    name = type(module).__name__
    reason = next((why for known, why in _OTHERS.items() if name.lower().startswith(known.lower())), None)
    detail = f" ({reason})" if reason else ""
    raise NotRepresentable(
        f"{name} cannot be represented as senders and receivers{detail}; expected timm's VisionTransformer or Eva"
    )


def _check_head(module: Any) -> None:
    head, width = module.head, module.embed_dim
    if isinstance(head, nn.Identity):
        raise InputError(
            f"{type(module).__name__} has no classifier (num_classes=0), so it has no logits to explain; "
            "give it one: head=FILE, with trained weights or a linear probe that `circuitstore probe` trains on your "
            "images, or in Python also head=nn.Linear(…)"
        )
    if isinstance(head, nn.Linear) and module.attn_pool is None and head.in_features != width:
        raise InputError(
            f"head: expected a layer that reads the {width} values of the pooled stream, got one that reads "
            f"{head.in_features}; use nn.Linear({width}, {head.out_features})"
        )


def check_as_written(module: nn.Module) -> None:
    """Check that every module computes what its class defines, with dense tensors.

    Raises:
        NotRepresentable: a hook, a parametrisation, a method replaced on the module, or weights that are quantised or
            not dense. The message names it and says how to undo it.
        InputError: weights on the meta device.
    """
    for name, part in module.named_modules():
        where = name or type(module).__name__
        if hasattr(part, "parametrizations"):
            raise NotRepresentable(
                f"{where} has parametrised weights; fold them in first: "
                "torch.nn.utils.parametrize.remove_parametrizations(part, name)"
            )
        for kind in _HOOKS:
            for hook in getattr(part, kind).values():
                called = getattr(hook, "__qualname__", type(hook).__name__)
                raise NotRepresentable(
                    f"{where} has a hook ({called}), which may change what the model computes; remove it (the handle's "
                    "remove(); remove_weight_norm or prune.remove if it creates weights), or move its code into a layer"
                )
        for method in (n for n in vars(part) if callable(getattr(type(part), n, None))):
            raise NotRepresentable(
                f"{where}.{method} was replaced on the module itself, so its class does not define what it computes; "
                "move it into a class"
            )
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        _check_dense(name, tensor)


_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def _check_dense(name: str, tensor: Tensor) -> None:
    if is_lazy(tensor):
        raise NotRepresentable(f"weights: {name} has no shape yet; run the model once before loading it")
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided or tensor.is_quantized:
        kind = "quantised" if tensor.is_quantized else f"a {type(tensor).__name__} ({tensor.layout})"
        raise NotRepresentable(
            f"weights: {name} is {kind}; expected a plain dense tensor (merge adapters and undo quantisation first)"
        )
    if tensor.is_meta:
        raise InputError(f"weights: {name} is on the meta device and has no values; load the weights first")


def _check_block(block: Any, where: str) -> None:
    kind = type(block)
    if kind in _BLOCKS:
        raise NotRepresentable(f"{where} is a {kind.__name__}: {_BLOCKS[kind]}")
    if kind is not Block:
        raise NotRepresentable(f"{where} is a {kind.__name__}; expected timm's pre-norm Block")
    _check_attention(block.attn, f"{where}.attn")
    if not isinstance(block.norm1, NORMS):
        raise NotRepresentable(
            f"{where}.norm1 is a {type(block.norm1).__name__}; expected LayerNorm, RMSNorm or no norm, "
            "whose Jacobian has a closed form"
        )


def _check_attention(attn: Any, where: str) -> None:
    if isinstance(attn, DiffAttention):
        raise NotRepresentable(f"{where} is differential attention: a head is the normalised difference of two")
    if type(attn) is not Attention:
        raise NotRepresentable(f"{where} is a {type(attn).__name__}; expected timm's Attention")
    if not isinstance(attn.norm, nn.Identity):
        raise NotRepresentable(
            f"{where} normalises all heads together before the projection (scale_attn_norm), so heads do not add up"
        )
    if attn.gate is not None:
        raise NotRepresentable(f"{where} is gated: its gate reads the stream in addition to q, k and v")
    for name in ("qkv", "proj"):
        if type(getattr(attn, name)) is not nn.Linear:
            raise NotRepresentable(
                f"{where}.{name} is a {type(getattr(attn, name)).__name__}; expected a plain nn.Linear "
                "(merge adapters and undo quantisation first)"
            )


def check_finite_weights(module: nn.Module) -> None:
    """Check that weights are finite.

    Raises:
        InputError: a tensor holds NaN or infinity; the message names it.
    """
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(f"weights: {name} holds NaN or infinite values; is the checkpoint complete?")
