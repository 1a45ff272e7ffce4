# pyright: reportAttributeAccessIssue=false
"""Vision transformers with planted, hence known circuits: chains, redundant branches, active distractors.

Three layers of four heads, four tokens, no norms, so that nothing leaks. The stream has 16 dimensions: signal (0), two
copies (1 and 2), answer (3), and noise. Clean images have the signal 1, corrupted ones 0, with different noise. Heads
a0.h0 and a0.h1 copy the signal, and m1 computes the answer, a gate of the copies, which is the logit of class 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from circuitstore.models import ViT, load_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

WIDTH, HEADS, LAYERS = 16, 4, 3
SIGNAL, COPIES, ANSWER, NOISE = 0, (1, 2), 3, slice(4, 16)
GATES = {
    "chain": ((1.0, 0.0), 0.0, 1.0, 0.0),
    "and": ((1.0, 1.0), -1.0, 1.0, 0.0),
    "or": ((-1.0, -1.0), 1.0, -1.0, 1.0),
}
"""Per gate: weights of the copies, bias, weight of the ReLU in the answer, constant; `or` is 1 − relu(1 − a − b)."""
STRENGTH = {"chain": (1.0, 1.0), "and": (1.0, 1.0), "or": (1.3, 1.3)}
"""Factor of the copies on the signal; above 1, each copy saturates `or`."""


@dataclass(frozen=True)
class Planted:
    """A model, its images, and the edges of its circuit in the `split` form."""

    name: str
    model: ViT
    edges: frozenset[str]

    def images(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return clean and corrupted images `[image, 3, 8, 8]`: channel 0 has the signal, the others noise."""
        generator = torch.Generator().manual_seed(seed)
        clean, corrupted = torch.randn(2, count, 3, 8, 8, generator=generator, dtype=torch.float64)
        clean[:, 0], corrupted[:, 0] = 1.0, 0.0
        return clean, corrupted


def plant(gate: str, *, distractors: bool, seed: int = 0) -> Planted:
    """Build a planted model.

    Args:
        gate: `chain`, `and`, or `or`, whose two branches are redundant.
        distractors: whether two heads of layer 1 write the same noise into the answer with opposite signs: each
            changes the metric, both together do not.
        seed: seed of the weights by which all other components read and write noise.
    """
    module = VisionTransformer(
        img_size=8, patch_size=4, embed_dim=WIDTH, depth=LAYERS, num_heads=HEADS, num_classes=2, class_token=False,
        global_pool="avg", pos_embed="none", norm_layer=nn.Identity, act_layer=nn.ReLU,
    ).double()  # fmt: skip
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.5

    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        embed = module.patch_embed.proj.weight
        embed[SIGNAL, 0] = 1 / 16
        embed[NOISE, 1:] = random(12, 2, 4, 4)
        for layer, block in enumerate(module.blocks):
            for head in range(HEADS):
                _noisy_head(block, head, random)
            block.mlp.fc1.weight[:, NOISE] = random(64, 12)
            block.mlp.fc2.weight[NOISE] = random(12, 64) * 0.3
            if layer == 0:
                _copy(block, 0, COPIES[0], STRENGTH[gate][0])
                if gate != "chain":
                    _copy(block, 1, COPIES[1], STRENGTH[gate][1])
            if layer == 1:
                _answer(block, *GATES[gate])
                if distractors:
                    _cancelling(block)
        module.head.weight[0, ANSWER] = 1
        module.head.bias[1] = 0.5  # between the two answers, so that accuracy separates them
    branches = ("a0.h0",) if gate == "chain" else ("a0.h0", "a0.h1")
    edges = {f"input->{head}<v>" for head in branches} | {f"{head}->m1" for head in branches} | {"m1->logits"}
    name = gate + (", distractors" if distractors else "")
    half = (0.5, 0.5, 0.5)
    model = load_model(module, dtype="float64", mean=half, std=half, crop=1.0, interpolation="bicubic")
    return Planted(name, model, frozenset(edges))


def _rows(head: int, port: int) -> slice:
    start = port * WIDTH + 4 * head
    return slice(start, start + 4)


def _noisy_head(block: nn.Module, head: int, random) -> None:
    for port in range(3):
        block.attn.qkv.weight[_rows(head, port), NOISE] = random(4, 12)
    block.attn.proj.weight[NOISE, 4 * head : 4 * head + 4] = random(12, 4)


def _silence(block: nn.Module, head: int) -> None:
    for port in range(3):
        block.attn.qkv.weight[_rows(head, port)] = 0
    block.attn.proj.weight[:, 4 * head : 4 * head + 4] = 0


def _copy(block: nn.Module, head: int, place: int, strength: float) -> None:
    """Let the head write the mean of the signal over tokens to a dimension."""
    _silence(block, head)
    block.attn.qkv.weight[_rows(head, 2).start, SIGNAL] = strength
    block.attn.proj.weight[place, 4 * head] = 1


def _answer(block: nn.Module, weights: tuple[float, float], bias: float, outer: float, constant: float) -> None:
    """Let the MLP compute only the gate."""
    for parameter in block.mlp.parameters():
        parameter.zero_()
    for place, weight in zip(COPIES, weights, strict=True):
        block.mlp.fc1.weight[0, place] = weight
    block.mlp.fc1.bias[0] = bias
    block.mlp.fc2.weight[ANSWER, 0] = outer
    block.mlp.fc2.bias[ANSWER] = constant


def _cancelling(block: nn.Module) -> None:
    """Let heads 2 and 3 read the same and write it into the answer with opposite signs."""
    for port in range(3):
        block.attn.qkv.weight[_rows(3, port)] = block.attn.qkv.weight[_rows(2, port)]
    for head, sign in ((2, 1.0), (3, -1.0)):
        block.attn.proj.weight[:, 4 * head : 4 * head + 4] = 0
        block.attn.proj.weight[ANSWER, 4 * head] = sign
