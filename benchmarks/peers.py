# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
"""Time to compute all edge scores, compared with other public packages on one model with the same weights.

A package must be installed to be measured; `benchmarks/peers.md` has versions and figures. The model is a timm ViT with
ViT-S's width and random weights. The packages for language models get its weights in a `HookedTransformer` whose
vocabulary is the streams of the images, so that both sides score the same edges of the same function. A measurement is
CPU time on one thread in float32; the package and `score_edges` run in turn, round by round.

    python benchmarks/peers.py --peer eap-ig --depth 6 --batch 1 --rounds 5
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import timm
import torch
from circuitstore import Execution, ImagePairs, load_model, score_edges
from circuitstore.errors import CircuitStoreWarning
from circuitstore.models import ViT
from torch import Tensor

Scores = dict[str, float]
"""Mean over the images of each edge's score, by the edge's name in the split form."""
Peer = Callable[[], Scores]


class TorchOnCpu:
    """`torch`, for a module that requests its tensors on CUDA."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def zeros(self, *size: Any, device: str, **options: Any) -> Tensor:
        return torch.zeros(*size, **options)


def block_weights(module: Any) -> dict[str, Tensor]:
    """Return the weights of the blocks and the final norm by the names that TransformerLens and ViT-Prisma share."""
    found = {"ln_final.w": module.norm.weight, "ln_final.b": module.norm.bias}
    for layer, block in enumerate(module.blocks):
        heads, at = block.attn.num_heads, f"blocks.{layer}"
        for port, weight, bias in zip("QKV", block.attn.qkv.weight.chunk(3), block.attn.qkv.bias.chunk(3), strict=True):
            found[f"{at}.attn.W_{port}"] = weight.unflatten(0, (heads, -1)).transpose(1, 2)
            found[f"{at}.attn.b_{port}"] = bias.unflatten(0, (heads, -1))
        found[f"{at}.attn.W_O"] = block.attn.proj.weight.T.unflatten(0, (heads, -1))
        found[f"{at}.attn.b_O"] = block.attn.proj.bias
        for theirs, norm in (("ln1", block.norm1), ("ln2", block.norm2)):
            found |= {f"{at}.{theirs}.w": norm.weight, f"{at}.{theirs}.b": norm.bias}
        for theirs, linear in (("in", block.mlp.fc1), ("out", block.mlp.fc2)):
            found |= {f"{at}.mlp.W_{theirs}": linear.weight.T, f"{at}.mlp.b_{theirs}": linear.bias}
    return found


def load_exactly(peer: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    """Load the weights; only buffers (masks, …) may be missing."""
    missing, unexpected = peer.load_state_dict({k: v.detach().clone() for k, v in weights.items()}, strict=False)
    missing = set(missing) & {name for name, _ in peer.named_parameters()}
    if missing or unexpected:
        raise SystemExit(f"the weights do not fit: missing {sorted(missing)}, unexpected {unexpected}")


def language_model(model: ViT, streams: Tensor) -> Any:
    """Build the ViT in TransformerLens: token id i is row i of the streams `[image, token, width]`."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    block, (images, tokens, width) = model.module.blocks[0], streams.shape
    peer = HookedTransformer(
        HookedTransformerConfig(
            n_layers=len(model.module.blocks), d_model=width, n_ctx=tokens, d_head=width // block.attn.num_heads,
            n_heads=block.attn.num_heads, d_mlp=block.mlp.fc1.out_features, d_vocab=images * tokens,
            d_vocab_out=model.n_classes, act_fn="gelu", normalization_type="LN", eps=block.norm1.eps,
            attention_dir="bidirectional", use_attn_result=True, use_split_qkv_input=True, use_hook_mlp_in=True,
        )
    )  # fmt: skip
    head = {"unembed.W_U": model.module.head.weight.T, "unembed.b_U": model.module.head.bias}
    places = {"embed.W_E": streams.flatten(0, 1), "pos_embed.W_pos": torch.zeros(tokens, width)}
    load_exactly(peer, block_weights(model.module) | head | places)
    return peer


def ids(clean: Tensor) -> tuple[Tensor, Tensor]:
    """Return the token ids of the clean and of the corrupted streams in `language_model`."""
    batch, tokens, _ = clean.shape
    return torch.arange(2 * batch * tokens).view(2, batch, tokens).unbind()


def eap_scores(peer: Any, clean: Tensor, corrupted: Tensor, task: SimpleNamespace, input_hook: str) -> Peer:
    """Prepare Hanna et al.'s `attribute` on a hooked model with tensor inputs; the metric is the class logit."""
    from eap import attribute as eap
    from eap.graph import Graph

    eap.torch = TorchOnCpu()
    eap.tokenize_plus = lambda model, inputs: (inputs, None, None, task.tokens)
    c = peer.cfg
    sizes = {"n_layers": c.n_layers, "n_heads": c.n_heads, "parallel_attn_mlp": False, "d_model": c.d_model}

    def loss(logits: Tensor, clean_logits: Tensor, lengths: None, labels: Tensor) -> Tensor:
        logits = logits[:, 0] if logits.ndim == 3 else logits
        return -logits.gather(1, labels[:, None]).sum()

    def run() -> Scores:
        graph = Graph.from_model(sizes)
        graph.nodes["input"].out_hook = input_hook
        data = [(clean, corrupted, task.labels)]
        eap.attribute(peer, graph, data, loss, method="EAP-IG-inputs", ig_steps=task.steps, quiet=True)
        peer.zero_grad()
        return {name: float(graph.scores[edge.matrix_index]) for name, edge in graph.edges.items()}

    return run


def eap_ig(model: ViT, task: SimpleNamespace) -> Peer:
    clean, corrupted = model.embed(task.clean), model.embed(task.corrupted)
    peer = language_model(model, torch.cat([clean, corrupted]))
    return eap_scores(peer.requires_grad_(task.trainable), *ids(clean), task, "hook_embed")


def vit_prisma(model: ViT, task: SimpleNamespace) -> Peer:
    """Prepare the same `attribute` on ViT-Prisma's hooked ViT, which has hooks but no edge attribution."""
    from vit_prisma.configs.HookedViTConfig import HookedViTConfig
    from vit_prisma.models.base_vit import HookedViT

    module, block = model.module, model.module.blocks[0]
    peer = HookedViT(
        HookedViTConfig(
            n_layers=len(module.blocks), d_model=module.embed_dim, d_head=block.attn.head_dim,
            n_heads=block.attn.num_heads, d_mlp=block.mlp.fc1.out_features, eps=block.norm1.eps,
            patch_size=module.patch_embed.patch_size[0], image_size=model.image_size[0], n_classes=model.n_classes,
            return_type="class_logits", use_attn_result=True, use_split_qkv_input=True, use_hook_mlp_in=True,
        )
    )  # fmt: skip
    load_exactly(
        peer,
        block_weights(module)
        | {"head.W_H": module.head.weight.T, "head.b_H": module.head.bias, "cls_token": module.cls_token}
        | {"embed.proj.weight": module.patch_embed.proj.weight, "embed.proj.bias": module.patch_embed.proj.bias}
        | {"pos_embed.W_pos": module.pos_embed[0]},
    )
    peer.requires_grad_(task.trainable)
    peer.cfg.use_normalization_before_and_after = False  # read by `attribute`, missing in ViT-Prisma
    plain = peer.forward
    peer.forward = lambda images, attention_mask=None: plain(images)
    remove = peer.remove_all_hook_fns  # for both directions, it keeps the backward hooks
    peer.remove_all_hook_fns = lambda direction, *rest: [remove(each, *rest) for each in ("fwd", "bwd")]
    return eap_scores(peer, task.clean, task.corrupted, task, "blocks.0.hook_resid_pre")


def auto_circuit(model: ViT, task: SimpleNamespace) -> Peer:
    """Prepare AutoCircuit's gradient in the gates of all edges, at open gates (`eap`) or averaged (`gate-ig`)."""
    from auto_circuit.data import PromptDataLoader, PromptDataset
    from auto_circuit.prune_algos.mask_gradient import mask_gradient_prune_scores
    from auto_circuit.utils.graph_utils import patchable_model

    clean, corrupted = model.embed(task.clean), model.embed(task.corrupted)
    inner = language_model(model, torch.cat([clean, corrupted])).requires_grad_(task.trainable)
    peer = patchable_model(inner, factorized=True, separate_qkv=True)
    peer.out_slice = (slice(None), 0)  # the class token's logits
    pairs = PromptDataset(*ids(clean), list(task.labels[:, None]), list(task.labels[:, None]))
    data = PromptDataLoader(pairs, seq_len=task.tokens, diverge_idx=0, batch_size=len(task.labels))
    at = {"mask_val": 0.0} if task.method == "eap" else {"integrated_grad_samples": task.steps - 1}
    steps = 1 if task.method == "eap" else task.steps

    def run() -> Scores:
        peer.zero_grad()
        found = mask_gradient_prune_scores(peer, data, None, "logit", "avg_val", **at)
        return {ours(edge): float(edge.prune_score(found)) / steps for edge in peer.edges}

    return run


def ours(edge: Any) -> str:
    """Return our name of an edge in AutoCircuit, such as `A0.1->A2.0.Q`."""

    def node(name: str) -> str:
        if name.startswith("A"):
            layer, head, *port = name[1:].split(".")
            return f"a{layer}.h{head}" + (f"<{port[0].lower()}>" if port else "")
        return {"Resid Start": "input", "Resid End": "logits"}.get(name, name.replace("MLP ", "m"))

    return f"{node(edge.src.name)}->{node(edge.dest.name)}"


PEERS = {
    "eap-ig": (eap_ig, ("eap-ig",)),
    "vit-prisma": (vit_prisma, ("eap-ig",)),
    "auto-circuit": (auto_circuit, ("eap", "gate-ig")),
}
"""How to prepare each package, and its methods."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; for a method that the package lacks, exit with a hint which package has it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=PEERS, required=True)
    parser.add_argument("--method", choices=("eap", "eap-ig", "gate-ig"), help="by default the first of the package")
    parser.add_argument("--depth", type=int, default=6, help="layers")
    parser.add_argument("--batch", type=int, default=1, help="image pairs per batch")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trainable", action="store_true", help="do not freeze the parameters of the package's model")
    parser.add_argument("--only", choices=("peer", "ours"), help="run one side once and print its peak memory")
    args = parser.parse_args(given)
    has = PEERS[args.peer][1]
    args.method = args.method or has[0]
    if args.method not in has:
        others = " or ".join(f"--peer {peer}" for peer, (_, methods) in PEERS.items() if args.method in methods)
        parser.error(f"{args.peer} computes {' or '.join(has)}, not {args.method}; use {others} for {args.method}")
    return args


def agreement(peer: Scores, own: Scores) -> str:
    """Return the largest difference ÷ the largest score; both sides must have the same edges."""
    if peer.keys() != own.keys():
        raise SystemExit(f"edges differ: {sorted(peer.keys() ^ own.keys())[:5]} …")
    a, b = (np.array([side[name] for name in own]) for side in (peer, own))
    return (
        f"{np.abs(a - b).max() / np.abs(b).max():.1e} of the largest score, correlation {np.corrcoef(a, b)[0, 1]:.7f}"
    )


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CircuitStoreWarning)
    torch.manual_seed(0)
    module = timm.create_model("vit_small_patch16_224", depth=args.depth, num_classes=10)
    model = load_model(module, dtype="float32")
    clean, corrupted = torch.randn(2, args.batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(args.batch)
    pairs, execution = ImagePairs.of(model, clean, corrupted, labels), Execution(batch_size=args.batch)
    task = SimpleNamespace(**vars(args), clean=clean, corrupted=corrupted, labels=labels, tokens=197)
    steps = {} if args.method == "eap" else {"steps": args.steps, "rule": "left"}

    def scored(**options: Any) -> np.ndarray:
        return score_edges(model, pairs, args.method, execution=execution, **options).mean

    def named(scores: np.ndarray) -> Scores:
        return dict(zip(model.graph("split").edge_names, scores.tolist(), strict=True))

    def own() -> Scores:
        return named(scored(**steps))

    def same_points() -> Scores:
        """Average over AutoCircuit's points, which include both ends: the left rule with one step less, and clean."""
        if args.method != "gate-ig":
            return own()
        fewer = args.steps - 1
        inner, clean_end = scored(steps=fewer, rule="left"), scored(steps=1, rule="right")
        return named((fewer * inner + clean_end) / args.steps)

    if args.only != "ours":
        peer = PEERS[args.peer][0](model, task)
    if args.only:
        (own if args.only == "ours" else peer)()
        print(f"{args.only}: peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
        return
    print(f"{args.peer}: scores differ by {agreement(peer(), same_points())}", flush=True)
    times = np.zeros((args.rounds, 2))
    for i in range(args.rounds):
        times[i] = seconds(peer) / args.batch, seconds(own) / args.batch
        print(f"round {i + 1}: {times[i, 0]:.3f} s and {times[i, 1]:.3f} s of CPU time per image", flush=True)
    low, middle, high = np.percentile(times[:, 0] / times[:, 1], [25, 50, 75])
    print(f"CPU seconds per image, {model.graph('split').n_edges} edges: {np.median(times, axis=0).round(3)}")
    print(f"peer / ours: median {middle:.2f}, quartiles {low:.2f} to {high:.2f}, {args.rounds} rounds")


def seconds(action: Peer) -> float:
    before = time.process_time()
    action()
    return time.process_time() - before


if __name__ == "__main__":
    main()
