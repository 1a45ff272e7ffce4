"""Neuron paths: how good a search is, what it costs, and what the Gauss rule of the steps changes.

`optimum`: on small random models, where all paths are scored: how often the path of a search is the best one, its rank
among all paths, and its share of the best score above the median.
`cost`: CPU time and peak memory of one image on one thread. Each row runs in its own process.
`nodes`: on the demo model, the share of neurons and the score that equal those of one run per step.

    python benchmarks/neuron_paths.py optimum --models 100
    python benchmarks/neuron_paths.py cost --model vit_small_patch16_224
    python benchmarks/neuron_paths.py nodes
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from circuitstore import Execution, image_pairs, load_model, neuron_paths, score_paths
from circuitstore.evaluation import Activation, InfluencePattern, Integral, PathSearch, PerLayer, RandomNeurons
from circuitstore.evaluation.neurons import NeuronPaths
from circuitstore.evaluation.neurons.candidates import Together
from circuitstore.evaluation.neurons.explained import Explained
from circuitstore.evaluation.neurons.scores import scored
from circuitstore.evaluation.neurons.search import all_paths, greedy
from circuitstore.models import ViT, neuron_run, plain_torch
from timm.models.vision_transformer import VisionTransformer

FIVE = Execution(batch_size=5)
SEARCHES = {
    "greedy, together (as coded)": PathSearch(),
    "greedy, alone (by definition)": PathSearch(candidates="alone"),
    **{f"beam of {beam}, together": PathSearch(beam=beam) for beam in (2, 4, 6)},
    **{f"beam of {beam}, alone": PathSearch(candidates="alone", beam=beam) for beam in (2, 4, 6)},
    "each layer by itself": PerLayer(),
    "activation": Activation(),
    "influence pattern": InfluencePattern(),
    "random": RandomNeurons(),
}


def small_model(seed: int) -> ViT:
    """Return a random model of 3 layers of 6 neurons; norms are random too, so that nothing is accidentally 0 or 1."""
    module = VisionTransformer(
        img_size=8, patch_size=4, embed_dim=16, depth=3, num_heads=4, num_classes=5, mlp_ratio=6.01 / 16
    ).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(1 + noise if "norm" in name and name.endswith("weight") else noise)
    return load_model(module, dtype="float64")


def optimum(args: argparse.Namespace) -> None:
    """Print how near to the best path each search comes, for either score."""
    every = all_paths(6, 3).numpy()
    places: dict[tuple[str, str], list[tuple[int, float]]] = {}
    useless: dict[str, list[float]] = {"jas": [], "ig": []}
    for seed in range(args.models):
        model = small_model(seed)
        image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        label = model.logits(image).argmax(dim=1)
        all_scores = score_paths(model, image.expand(len(every), -1, -1, -1), label.repeat(len(every)), every)
        for score, values in (("jas", all_scores.jas), ("ig", all_scores.ig)):
            useless[score].append((all_scores.parts[values.argmax()] <= 0).mean())
            for name, search in SEARCHES.items():
                path = neuron_paths(model, image, label, replace(search, score=score)).paths[0]
                value = values[(every == path).all(axis=(1, 2))][0]
                middle = np.median(values)
                share = (value - middle) / (values.max() - middle)
                places.setdefault((name, score), []).append((int((values > value).sum()), share))
    print("| search | score | optimal in | rank: median (90 %) | share of the best above the median: median (10 %) |")
    print("|---|---|---|---|---|")
    for (name, score), found in sorted(places.items(), key=lambda item: item[0][1], reverse=True):
        rank, share = np.array(found).T
        print(
            f"| {name} | {score} | {np.mean(rank == 0):.2f} | {np.median(rank):.0f} ({np.percentile(rank, 90):.0f}) | "
            f"{np.median(share):.2f} ({np.percentile(share, 10):.2f}) |"
        )
    for score, shares in useless.items():
        models = np.mean(np.array(shares) > 0)
        print(
            f"the best path by {score} has a neuron whose own part is at most 0 in {models:.0%} of the models "
            f"({np.mean(shares):.0%} of all neurons)"
        )


def authors_way(model: ViT, images: torch.Tensor, labels: torch.Tensor) -> tuple[list[int], float]:
    """Search for the path of one image as the authors' code does; return it with its JAS.

    For each layer it runs the model once for the clean values and once on a batch of all steps, and goes backward once
    for each layer that the path has reached.
    """
    path: list[int] = []
    steps = torch.arange(20, dtype=images.dtype)[:, None, None] / 20
    for layer in range(model.n_layers + 1):
        explained = Explained.of(model, images, labels, "class").at(torch.zeros(20, dtype=torch.long))
        reached = min(layer + 1, model.n_layers)

        def change(at: int, values: torch.Tensor, layer: int = layer, clean: list = explained.clean) -> torch.Tensor:
            if at >= reached:  # noqa: B023
                return values
            new = steps * clean[at] if at == layer else clean[at].index_copy(
                2, torch.tensor([path[at]]), steps * clean[at][:, :, path[at]][:, :, None]
            )  # fmt: skip
            return new.requires_grad_()

        with torch.enable_grad():
            run = neuron_run(model, explained.stream, "class", change)
            total = explained.probability(run.logits).sum()
        slopes = [torch.autograd.grad(total, n, retain_graph=True)[0].mean(0)[0] for n in run.neurons[:reached]]
        value = sum(float(explained.clean[at][0, 0, b]) for at, b in enumerate(path))
        slope = sum(float(slopes[at][b]) for at, b in enumerate(path))
        if layer == model.n_layers:
            return path, value * slope
        path.append(int(((slopes[layer] + slope) * (explained.clean[layer][0, 0] + value)).argmax()))
    raise AssertionError


def whole_runs(model: ViT, images: torch.Tensor, labels: torch.Tensor) -> tuple[list[int], float]:
    """Search with one backward per step through whole runs."""
    explained, integral = Explained.of(model, images, labels, "class"), Integral(nodes=None)
    path = greedy(Together(explained, integral, "jas", 5), explained, 1)
    return path[0, :, 0].tolist(), float(scored(explained, path, integral, 5).jas[0])


def bare(model: ViT, images: torch.Tensor, labels: torch.Tensor) -> tuple[list[int], float]:
    """Run 20 forwards and backwards, five at a time."""
    stream = model.embed(images).repeat(5, 1, 1)
    for _ in range(4):
        leaf = stream.clone().requires_grad_()
        with torch.enable_grad():
            torch.autograd.grad(model.readout(model.through_blocks(leaf))[:, labels[0]].sum(), leaf)
    return [], 0.0


def _first(found: NeuronPaths) -> tuple[list[int], float]:
    return found.paths[0, :, 0].tolist(), float(found.jas[0])


Row = Callable[[ViT, torch.Tensor, torch.Tensor], tuple[list[int], float]]
ROWS: dict[str, Row] = {
    "20 forwards and backwards of the whole model": bare,
    "the authors' way": authors_way,
    "whole runs, one backward per step": whole_runs,
    "kept run, a run per step (`nodes=None`)": lambda *given: _first(
        neuron_paths(*given, PathSearch(nodes=None), execution=FIVE)
    ),
    "kept run, 8 nodes (default)": lambda *given: _first(neuron_paths(*given, execution=FIVE)),
    "kept run, 5 steps, midpoint": lambda *given: _first(
        neuron_paths(*given, PathSearch(steps=5, rule="midpoint"), execution=FIVE)
    ),
}


def cost_row(args: argparse.Namespace) -> None:
    """Print one row's figures as JSON."""
    model = load_model(args.model, seed=0)
    images = torch.randn(args.images, 3, *model.image_size, generator=torch.Generator().manual_seed(0))
    labels, paths = model.logits(images).argmax(dim=1), []
    before = time.process_time()
    with plain_torch():
        for at in range(args.images):
            paths.append(ROWS[args.row](model, images[at : at + 1], labels[at : at + 1]))
    seconds = (time.process_time() - before) / args.images
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "peak": peak, "paths": paths}))


def cost(args: argparse.Namespace) -> None:
    """Print CPU time, peak memory and agreement of every way to search."""
    given = ["--model", args.model, "--images", str(args.images)]
    rows = {}
    for name in ROWS:
        run = [sys.executable, __file__, "cost", *given, "--row", name]
        rows[name] = json.loads(subprocess.run(run, capture_output=True, check=True, text=True).stdout)
    theirs = rows["the authors' way"]
    print("| search | CPU s per image | times faster | peak GiB | neurons equal | JAS differs by |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        same, differs = "", ""
        if any(path for path, _ in row["paths"]):
            pairs = list(zip(row["paths"], theirs["paths"], strict=True))
            same = f"{np.mean([a == b for (p, _), (q, _) in pairs for a, b in zip(p, q, strict=True)]):.2f}"
            differs = f"{max(abs(a / b - 1) for (_, a), (_, b) in pairs):.1e}"
        faster = theirs["seconds"] / row["seconds"]
        print(f"| {name} | {row['seconds']:.1f} | {faster:.1f} | {row['peak']:.2f} | {same} | {differs} |")


def nodes(args: argparse.Namespace) -> None:
    """Print how the number of nodes changes neurons and scores on the demo model, in float64."""
    model = load_model("digits", dtype="float64")
    pairs = [image_pairs("digits", model, name, n=args.images) for name in model.labels or ()]
    images, labels = torch.cat([p.clean for p in pairs]), torch.cat([p.labels for p in pairs])
    print("| score | runs | neurons equal | score differs by: median | maximum |\n|---|---|---|---|---|")
    for score in ("jas", "ig"):
        every = neuron_paths(model, images, labels, PathSearch(score=score, nodes=None))
        others = {f"{n} nodes": PathSearch(score=score, nodes=n) for n in (4, 5, 6, 8)}
        others |= {"5 steps, midpoint": PathSearch(score=score, steps=5, rule="midpoint")}
        for name, search in others.items():
            found = neuron_paths(model, images, labels, search)
            same = found.paths == every.paths
            error = np.abs(found.scores / every.scores - 1)[same.all(axis=(1, 2))]
            print(f"| {score} | {name} | {same.mean():.3f} | {np.median(error):.0e} | {error.max():.0e} |")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("optimum", "cost", "nodes"))
    parser.add_argument("--models", type=int, default=100, help="random models of `optimum`")
    parser.add_argument("--model", default="vit_small_patch16_224", help="the model of `cost`, with random weights")
    parser.add_argument("--images", type=int, default=1, help="images of `cost`; images per class of `nodes`")
    parser.add_argument("--row", choices=ROWS, help="only this row of `cost`, as JSON")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    {"optimum": optimum, "cost": cost_row if args.row else cost, "nodes": nodes}[args.what](args)


if __name__ == "__main__":
    main()
