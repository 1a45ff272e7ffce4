"""Time to score all edges, relative to the plain passes that it needs.

A measurement is the CPU time (CUDA: event time) of `score_edges` ÷ that of the same number of plain forwards, and
backwards to the embedding, of the same frozen model: S+2 forwards (left and right rule: S+1) and S backwards. Both run
in turn, round by round, on one thread. The benchmark also reports the time to run one circuit, relative to a plain
forward, in the worst case: a random half of all edges. For another type than float32, it reports how far the ranking of
the edges agrees with float32's on the same images. The demo model gets threes and eights, any other model noise.

    python benchmarks/score_edges.py --model vit_small_patch16_224 --batch 8 --steps 5 --rule midpoint
    python benchmarks/score_edges.py --model digits --batch 48 --dtype bfloat16
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from circuitstore import Execution, ImagePairs, load_model, score_edges
from circuitstore.circuits import EdgeScores
from circuitstore.circuits.similarity import overlap_at, spearman
from circuitstore.discovery import METHODS, estimate_cost
from circuitstore.errors import CircuitStoreWarning
from circuitstore.images import open_source
from circuitstore.models import PatchedRuns, ViT, capture


def bare_passes(model: ViT, images: torch.Tensor, labels: torch.Tensor, forwards: int, backwards: int) -> None:
    """Run forwards without gradient, and forwards followed by a backward to the embedding."""
    for _ in range(forwards - backwards):
        model.logits(images)
    for _ in range(backwards):
        stream = model.embed(images).requires_grad_()
        logits = model.readout(model.through_blocks(stream))
        torch.autograd.grad(logits.gather(1, labels[:, None]).sum(), stream)


def seconds(action: Callable[[], object], device: torch.device) -> float:
    """Return the CPU time of this process, or the time between two CUDA events."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        action()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3
    before = time.process_time()
    action()
    return time.process_time() - before


def peak_gib(device: torch.device) -> float:
    """Return the peak resident memory of this process, or the peak allocation on the GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def circuit_ratio(model: ViT, pairs: ImagePairs, args: argparse.Namespace) -> float:
    """Return the median over rounds of a patched run's time ÷ a plain forward's."""
    graph = model.graph(args.form)
    runs = PatchedRuns(model, model.embed(pairs.clean), capture(model, pairs.corrupted))
    mask = np.random.default_rng(0).random(graph.n_edges) < 0.5
    runs.logits(graph, mask)
    ratios = [
        seconds(lambda: runs.logits(graph, mask), model.device)
        / seconds(lambda: model.logits(pairs.clean), model.device)
        for _ in range(args.rounds)
    ]
    return float(np.median(ratios))


def pictures(model: ViT, args: argparse.Namespace) -> ImagePairs:
    """Return the image pairs, on the model's device."""
    if args.model == "digits":
        source = open_source("digits", model)
        views = [[source.view(r) for r in source.candidates(source.classes[c])[: args.batch]] for c in (3, 8)]
        if min(map(len, views)) < args.batch:
            raise SystemExit(f"--batch: there are only {min(map(len, views))} such images")
        clean, corrupted = (model.preprocess.normalise(np.stack(v)).to(model.device) for v in views)
        return ImagePairs.of(model, clean, corrupted, torch.full((args.batch,), 3, device=model.device))
    images = torch.randn(2 * args.batch, 3, *model.image_size, generator=torch.Generator().manual_seed(0))
    clean, corrupted = images.to(model.device).split(args.batch)
    labels = torch.arange(args.batch, device=model.device) % model.n_classes
    return ImagePairs.of(model, clean, corrupted, labels)


def agreement(scores: EdgeScores, exact: EdgeScores) -> str:
    """Return Spearman's correlation of all mean scores, and the overlap of the 5 % with the largest magnitude."""
    n = round(0.05 * exact.graph.n_edges)
    return (
        f"Spearman {spearman(scores, exact):.4f}, overlap of the top 5 % ({n} edges) "
        f"{overlap_at(scores, exact, n, absolute=True):.3f}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_small_patch16_224")
    parser.add_argument("--batch", type=int, default=8, help="images per batch")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rule", default="midpoint", choices=("left", "right", "midpoint"))
    parser.add_argument("--form", default="split", choices=("split", "head", "attention", "block"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=10)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CircuitStoreWarning)
    model = load_model(args.model, device=args.device, dtype=args.dtype, seed=0)
    pairs = pictures(model, args)
    cost = estimate_cost(model.graph("split"), METHODS.resolve("eap-ig", {"steps": args.steps, "rule": args.rule}), 1)
    options = {"steps": args.steps, "rule": args.rule, "form": args.form}
    execution = Execution(batch_size=args.batch)

    def bare() -> None:
        bare_passes(model, pairs.clean, pairs.labels, cost.forwards, cost.backwards)

    def scored(model: ViT = model) -> EdgeScores:
        return score_edges(model, pairs, execution=execution, **options)

    bare()
    bare_peak = peak_gib(model.device)
    scored()
    times = np.array([[seconds(scored, model.device), seconds(bare, model.device)] for _ in range(args.rounds)])
    low, middle, high = np.percentile(times[:, 0] / times[:, 1], [25, 50, 75])
    per_image = np.median(times, axis=0) / args.batch
    print(f"{model}\n{options}, batches of {args.batch}")
    print(f"{model.graph(args.form).n_edges} edges, {args.rounds} rounds")
    print(f"seconds per image: all edge scores {per_image[0]:.2g}, bare passes {per_image[1]:.2g}")
    print(f"ratio: median {middle:.3f}, quartiles {low:.3f} to {high:.3f}")
    print(f"peak memory: {peak_gib(model.device):.2f} GiB (bare passes only: {bare_peak:.2f} GiB)")
    print(f"one circuit of half of the edges: {circuit_ratio(model, pairs, args):.2f} plain forwards")
    if args.dtype != "float32":
        exact = scored(load_model(args.model, device=args.device, seed=0))
        print(f"{args.dtype} against float32: {agreement(scored(), exact)}")


if __name__ == "__main__":
    main()
