# pyright: reportMissingImports=false
"""NeuronPath's own code beside ours: the same images and weights, one thread, each side in its own process.

Needs a clone of the authors' repository (`foundation-model-research/NeuronPath`) and the packages `ml_collections` and
`jsonlines`; `benchmarks/peers.md` has versions and figures. Their `path/joint_attr.py` runs unchanged on a timm ViT
with random weights and on noise as PNG files, all of the class 0, in batches of one image.

    python benchmarks/neuron_peers.py path/to/NeuronPath --model vit_small_patch16_224 --images 1
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from circuitstore import Execution, load_model, neuron_paths
from circuitstore.evaluation import PathSearch
from circuitstore.models import ViT
from PIL import Image

Found = tuple[list[list[int]], list[float], float]
"""The path of each image, its JAS, and CPU seconds per image."""
SEARCHES = {"ours, a run per step (`nodes=None`)": PathSearch(nodes=None), "ours, 8 nodes (default)": PathSearch()}
THEIRS = "NeuronPath"


def weights(module: Any) -> dict[str, np.ndarray]:
    """Return a timm ViT's weights by the names of the checkpoints that the authors' code loads."""
    found = {
        "cls": module.cls_token,
        "Transformer/posembed_input/pos_embedding": module.pos_embed,
        "embedding/kernel": module.patch_embed.proj.weight.permute(2, 3, 1, 0),
        "embedding/bias": module.patch_embed.proj.bias,
        **norm("Transformer/encoder_norm", module.norm),
        **linear("head", module.head.weight, module.head.bias),
    }
    for layer, block in enumerate(module.blocks):
        at = f"Transformer/encoderblock_{layer}"
        attention = f"{at}/MultiHeadDotProductAttention_1"
        for port, weight, bias in zip(
            ("query", "key", "value"), block.attn.qkv.weight.chunk(3), block.attn.qkv.bias.chunk(3), strict=True
        ):
            found |= linear(f"{attention}/{port}", weight, bias)
        found |= linear(f"{attention}/out", block.attn.proj.weight, block.attn.proj.bias)
        for number, dense in enumerate((block.mlp.fc1, block.mlp.fc2)):
            found |= linear(f"{at}/MlpBlock_3/Dense_{number}", dense.weight, dense.bias)
        found |= norm(f"{at}/LayerNorm_0", block.norm1) | norm(f"{at}/LayerNorm_2", block.norm2)
    return {name: value.detach().contiguous().numpy() for name, value in found.items()}


def linear(name: str, weight: torch.Tensor, bias: torch.Tensor) -> dict[str, torch.Tensor]:
    return {f"{name}/kernel": weight.T, f"{name}/bias": bias}


def norm(name: str, module: Any) -> dict[str, torch.Tensor]:
    return {f"{name}/scale": module.weight, f"{name}/bias": module.bias}


def theirs(model: ViT, folder: Path, clone: Path) -> Found:
    """Run the authors' `main` on the images of a folder; the time is that of its searches, without loading."""
    sys.path.insert(0, str(clone))
    from path import joint_attr

    np.savez(folder / "weights.npz", allow_pickle=False, **weights(model.module))
    config: Any = joint_attr.CONFIGS["ViT-B_16"]
    module: Any = model.module
    config.hidden_size, config.patches.size = module.embed_dim, module.patch_embed.patch_size
    config.transformer.num_heads = module.blocks[0].attn.num_heads
    config.transformer.mlp_dim = module.blocks[0].mlp.fc1.out_features
    config.transformer.num_layers = model.n_layers
    ticks: list[float] = []

    def tick() -> float:
        ticks.append(time.process_time())
        return ticks[-1]

    joint_attr.time = SimpleNamespace(perf_counter=tick)
    options = {"batch_size": 1, "pretrain_weight": folder / "weights.npz", "dataset_path": folder / "images"}
    options |= {"output_dir": folder / "out", "img_size": model.image_size[0]}
    sys.argv = ["joint_attr.py", "--no_cuda", *(str(x) for key, value in options.items() for x in (f"--{key}", value))]
    joint_attr.main()
    lines = (folder / "out/imgnet_test-0.rlt.jsonl").read_text().splitlines()  # one per batch
    rows, seconds = [row for line in lines for row in json.loads(line)], np.diff(ticks)[::2].mean()
    return [row["ja"][0] for row in rows], [float(np.squeeze(row["ja_score"][0])) for row in rows], float(seconds)


def ours(model: ViT, folder: Path, search: PathSearch) -> Found:
    """Search on the same images, normalised with the authors' constants."""
    files = sorted((folder / "images").rglob("*.png"))
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(file))) for file in files]).permute(0, 3, 1, 2) / 255
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    images = (pixels - mean) / std
    before = time.process_time()
    found = neuron_paths(model, images, [0] * len(images), search, execution=Execution(batch_size=1))
    seconds = (time.process_time() - before) / len(images)
    return found.paths[:, :, 0].tolist(), found.jas.tolist(), seconds


def side(args: argparse.Namespace) -> None:
    """Print one side's figures as JSON."""
    model = load_model(f"timm:{args.model}", seed=0)
    if args.side == THEIRS:
        paths, scores, seconds = theirs(model, args.folder, args.clone)
    else:
        paths, scores, seconds = ours(model, args.folder, SEARCHES[args.side])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"paths": paths, "scores": scores, "seconds": seconds, "peak": peak}))


def compare(args: argparse.Namespace) -> None:
    """Run every side on the same images, and print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder, generator = Path(name), np.random.default_rng(0)
        (folder / "images/class").mkdir(parents=True)
        size = load_model(f"timm:{args.model}", seed=0).image_size
        for number in range(args.images):
            noise = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f"images/class/{number:03}.png")
        command = [sys.executable, __file__, str(args.clone), "--model", args.model, "--folder", name, "--side"]
        found = {}
        for key in (THEIRS, *SEARCHES):
            run = subprocess.run([*command, key], stdout=subprocess.PIPE, check=True, text=True)
            found[key] = json.loads(run.stdout.splitlines()[-1])
    peer = found[THEIRS]
    print("| search | CPU s per image | times faster | peak GiB | neurons equal | JAS, first image | differs by |")
    print("|---|---|---|---|---|---|---|")
    for key, row in found.items():
        same = np.array(row["paths"]) == np.array(peer["paths"])
        differs = np.abs(np.array(row["scores"]) / np.array(peer["scores"]) - 1).max()
        figures = f"{row['seconds']:.1f} | {peer['seconds'] / row['seconds']:.1f} | {row['peak']:.2f}"
        print(f"| {key} | {figures} | {same.sum()} of {same.size} | {row['scores'][0]:.7g} | {differs:.0e} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path, help="the authors' repository")
    parser.add_argument("--model", default="vit_small_patch16_224", help="a timm ViT, with random weights")
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--side", choices=(THEIRS, *SEARCHES), help="only this side, as JSON")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    (side if args.side else compare)(args)


if __name__ == "__main__":
    main()
