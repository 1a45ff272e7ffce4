"""Models that senders and receivers cannot represent raise an error with the part and the reason."""

import pytest
import timm
import torch
from circuitstore.errors import InputError, NotRepresentable
from circuitstore.models import load_model
from timm.layers import Attention, DiffAttention, LayerNorm2d, SimpleNorm
from timm.models.vision_transformer import ParallelScalingBlock, ParallelThingsBlock, ResPostBlock
from torch import nn


class GatedAttention(Attention):
    """Like timm's, but another class."""


INVALID = {
    "post-norm": {"block_fn": ResPostBlock},
    "ParallelScalingBlock": {"block_fn": ParallelScalingBlock},
    "ParallelThingsBlock": {"block_fn": ParallelThingsBlock},
    "scale_attn_norm": {"scale_attn_norm": True},
    "differential": {"attn_layer": DiffAttention},
    "GatedAttention": {"attn_layer": GatedAttention},
    "SimpleNorm": {"norm_layer": SimpleNorm},
    "reads 1 channels": {"in_chans": 1},
    "logits per token": {"global_pool": ""},
}


@pytest.mark.parametrize("message", INVALID)
def test_parts_that_do_not_add_up_raise(toy_module, message):
    with pytest.raises(NotRepresentable, match=message):
        load_model(toy_module(**INVALID[message]))


def test_a_gated_attention_raises(toy_module):
    module = toy_module()
    module.blocks[2].attn.gate = nn.Linear(16, 16)
    with pytest.raises(NotRepresentable, match=r"blocks\.2\.attn is gated"):
        load_model(module)


def test_a_projection_that_is_not_plain_linear_raises(toy_module):
    module = toy_module()
    module.blocks[0].attn.qkv = nn.Sequential(module.blocks[0].attn.qkv, nn.Identity())
    with pytest.raises(NotRepresentable, match=r"blocks\.0\.attn\.qkv is a Sequential"):
        load_model(module)


def test_blocks_with_different_head_counts_raise(toy_module):
    module = toy_module()
    module.blocks[1].attn = Attention(16, num_heads=2).double()
    with pytest.raises(NotRepresentable, match=r"\[2, 4\]"):
        load_model(module)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "resnet18", "cait_xxs24_224"])
def test_other_families_raise(name):
    kind = type(timm.create_model(name, num_classes=2)).__name__
    with pytest.raises(NotRepresentable, match=f"^{kind} cannot be represented .+ \\(.+\\)"):
        load_model(name)


def test_a_model_without_a_classifier_raises(toy_module):
    with pytest.raises(InputError, match=r"num_classes=0.*head="):
        load_model(toy_module(num_classes=0))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_raise(toy_module, value):
    module = toy_module()
    with torch.no_grad():
        module.blocks[1].mlp.fc1.weight[3, 3] = value
    with pytest.raises(InputError, match=r"blocks\.1\.mlp\.fc1\.weight"):
        load_model(module)


class Doubled(nn.LayerNorm):
    """A norm that does not compute what its base class does."""

    def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
        return 2 * super().forward(x)


def test_the_self_check_finds_what_no_rule_names(toy_module):
    module = toy_module()
    module.blocks[1].norm1 = Doubled(16).double()
    with pytest.raises(NotRepresentable, match=r"q, k, v of block 1"):
        load_model(module)

    module = toy_module()
    module.blocks[0].attn.proj_drop = nn.Tanh()
    with pytest.raises(NotRepresentable, match="all edges open"):
        load_model(module)


def test_a_single_layer_raises():
    with pytest.raises(NotRepresentable, match="LayerNorm2d"):
        load_model(LayerNorm2d(4))
