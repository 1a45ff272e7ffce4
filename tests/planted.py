# pyright: reportAttributeAccessIssue=false
"""Vision transformers whose circuit is known, since it was planted."""

from __future__ import annotations

import torch
from circuitstore.models import ViT, load_model
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from .conftest import prepared

PLANTED = {"input->a0.h1<v>", "a0.h1->m1", "m1->logits"}
"""The edges of `planted_model` that do something."""


def planted_model(seed: int) -> ViT:
    """Subspaces A, B, C, N of 4 dimensions each; a0.h1 reads A and writes B, m1 reads B and writes C, logits read C."""
    module = VisionTransformer(
        img_size=8, patch_size=4, embed_dim=16, depth=3, num_heads=4, num_classes=3, class_token=False,
        global_pool="avg", pos_embed="none", norm_layer=nn.Identity,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    module.double()
    a, b, c, noise = (slice(4 * i, 4 * i + 4) for i in range(4))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        embed = module.patch_embed.proj.weight
        for part in (a, noise):
            embed[part] = torch.randn(embed[part].shape, generator=generator, dtype=torch.float64)
        for layer, block in enumerate(module.blocks):
            for head in range(4):
                planted = (layer, head) == (0, 1)
                rows = [slice(16 * port + 4 * head, 16 * port + 4 * head + 4) for port in range(3)]
                for port in rows[2:] if planted else rows:
                    block.attn.qkv.weight[port, a if planted else noise] = torch.randn(
                        4, 4, generator=generator
                    ).double()
                columns = slice(4 * head, 4 * head + 4)
                block.attn.proj.weight[b if planted else noise, columns] = torch.randn(
                    4, 4, generator=generator
                ).double()
            reads, writes = (b, c) if layer == 1 else (noise, noise)
            block.mlp.fc1.weight[:, reads] = torch.randn(64, 4, generator=generator).double()
            block.mlp.fc1.bias.copy_(torch.randn(64, generator=generator))
            block.mlp.fc2.weight[writes] = torch.randn(4, 64, generator=generator).double()
        module.head.weight[:, c] = torch.randn(3, 4, generator=generator).double()
    return load_model(prepared(module), dtype="float64")


class Patches(nn.Module):
    """One token per image, its three channels, into the first dimensions of the stream."""

    num_patches, grid_size, img_size = 1, (1, 1), (1, 1)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 1, bias=False)
        nn.init.zeros_(self.proj.weight)
        self.proj.weight.data[0, 0] = 1

    def forward(self, images):
        return self.proj(images).flatten(2).transpose(1, 2)


def gate_model(gate: str):
    """x → three heads that copy it to a, b, n → an MLP that computes a gate g → logits = g + 0·n, no norms.

    Stream: x, a, b, n, g and an unused sixth. Attention over one token is the identity.
    """
    module = VisionTransformer(
        img_size=16, embed_dim=6, depth=1, num_heads=3, num_classes=2, class_token=False, global_pool="avg",
        pos_embed="none", norm_layer=nn.Identity, act_layer=nn.ReLU, mlp_ratio=1 / 3,
    )  # fmt: skip
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    module.patch_embed = Patches(6)
    block = module.blocks[0]
    for head, place in enumerate((1, 2, 3)):
        block.attn.qkv.weight.data[12 + 2 * head, 0] = 1
        block.attn.proj.weight.data[place, 2 * head] = 1
    inner, bias, outer, constant = {
        "AND": (1.0, -1.0, 1.0, 0.0),
        "OR": (-1.0, 1.0, -1.0, 1.0),
        "ADD": (1.0, 0.0, 1.0, 0.0),
    }[gate]
    block.mlp.fc1.weight.data[0, 1:3] = inner
    block.mlp.fc1.bias.data[0] = bias
    block.mlp.fc2.weight.data[4, 0] = outer
    block.mlp.fc2.bias.data[4] = constant
    module.head.weight.data[0, 4] = 1
    return load_model(prepared(module), dtype="float64")
