"""Time of exact patching per edge, relative to a plain forward, and of sequential patching, relative to a plain loop.

`exact`: time to patch one edge ÷ one plain forward of the same images. Edges are drawn evenly from the flat order, so
that their mean represents all edges; every round draws others.
`sequential`: time to try one removal ÷ one patched run of the whole model with the same edges closed, which is the cost
of a loop that removes one edge at a time. Edges are drawn evenly from the order of decision; of the edges decided
before, a given share is kept at random. The time to settle a receiver is divided among its edges.
`whole`: both from start to end on the demo model, with the decisions that differ.
Times are CPU times (CUDA: event times), measured in turn on one thread.

    python benchmarks/exact.py --model vit_small_patch16_224 --batch 4
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from circuitstore import METHODS, Execution, ImagePairs, discover, load_model
from circuitstore.circuits import ComputationGraph
from circuitstore.models import PatchedRuns, ReceiverRuns, SequentialRuns, ViT, capture, sender_differences
from score_edges import seconds


def drawn(count: int, graph: ComputationGraph, rng: np.random.Generator) -> np.ndarray:
    """Return evenly spaced edges in the flat order, with a random offset."""
    return ((np.arange(count) + rng.random()) * graph.n_edges / count).astype(int)


def exact(model: ViT, form: str, clean: torch.Tensor, corrupted: torch.Tensor, args: argparse.Namespace) -> np.ndarray:
    """Return the mean time per edge ÷ the time of a forward, for every round."""
    graph, rng, ratios = model.graph(form), np.random.default_rng(0), []
    ends = capture(model, clean), capture(model, corrupted)
    differences, runs = sender_differences(model, form, *ends), ReceiverRuns(model, graph, ends[0])

    def patch(edge: int) -> None:
        runs.logits(int(graph.edge_receiver[edge]), -differences[:, int(graph.edge_sender[edge])][None])

    patch(0)
    for _ in range(args.rounds):
        plain = seconds(lambda: model.logits(clean), model.device)
        times = [seconds(lambda e=edge: patch(int(e)), model.device) for edge in drawn(args.edges, graph, rng)]
        plain = (plain + seconds(lambda: model.logits(clean), model.device)) / 2
        ratios.append(np.mean(times) / plain)
    return np.array(ratios)


def sequential(
    model: ViT, clean: torch.Tensor, corrupted: torch.Tensor, keep: float, args: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray]:
    """Return for every round: time to try a removal ÷ patched run, and patched run ÷ plain forward."""
    graph, rng = model.graph("attention"), np.random.default_rng(0)
    ends = capture(model, clean), capture(model, corrupted)
    runs, loop = SequentialRuns(model, graph, *ends), PatchedRuns(model, ends[0].stream, ends[1])
    members = np.ones(graph.n_edges, bool)
    chosen = graph.edge_receiver[drawn(args.edges, graph, rng)]
    times = []
    for receiver in reversed(range(graph.n_receivers)):
        upstream = int(graph.n_upstream[receiver])
        closed = np.flatnonzero(rng.random(upstream) >= keep)
        settling = seconds(lambda: _settle(runs, receiver, closed), model.device) / upstream  # noqa: B023
        members[graph.offsets[receiver] + closed] = False
        for _ in range(int((chosen == receiver).sum())):
            times.append([_compared(model, runs, loop, clean, receiver, members, settling) for _ in range(args.rounds)])
    trying, patched, plain = np.array(times).sum(axis=0).T
    return trying / patched, patched / plain


def _settle(runs: SequentialRuns, receiver: int, closed: np.ndarray) -> None:
    for sender in closed:
        runs.close(receiver, int(sender))
    runs.settle(receiver)


def _compared(
    model: ViT,
    runs: SequentialRuns,
    loop: PatchedRuns,
    clean: torch.Tensor,
    receiver: int,
    members: np.ndarray,
    settling: float,
) -> tuple[float, float, float]:
    """Return the seconds for trying a removal at a receiver, for a patched run and for a plain forward."""
    trying = settling
    if runs.matters(receiver):
        trying += seconds(lambda: runs.without(receiver, [0], [False]), model.device)
    return (
        trying,
        seconds(lambda: loop.logits(runs.graph, members), model.device),
        seconds(lambda: model.logits(clean), model.device),
    )


def whole(rounds: int) -> tuple[np.ndarray, list[str]]:
    """Return the time of sequential patching of the demo model ÷ the loop for every round, and differing decisions.

    For each differing edge: ||Δ| − τ|, with Δ at the time of the decision. After the first one, the runs differ.
    """
    model = load_model("digits")
    clean, corrupted = torch.randn(2, 8, 3, *model.image_size, generator=torch.Generator().manual_seed(0))
    labels, graph = model.logits(clean).argmax(dim=1), model.graph("attention")
    gap = float((_true(model.logits(clean), labels) - _true(model.logits(corrupted), labels)).mean())
    tau = 0.01 * gap
    pairs, method = ImagePairs.of(model, clean, corrupted, labels), METHODS.resolve("vi-cd", {"threshold": tau})
    ends = capture(model, clean), capture(model, corrupted)
    answers: dict[str, Any] = {}

    def ours() -> None:
        answers["ours"] = discover(model, pairs, method, form="attention", execution=Execution(batch_size=64))

    def loop() -> None:
        runs = PatchedRuns(model, ends[0].stream, ends[1])
        answers["loop"] = _one_at_a_time(runs, graph, labels, tau)

    ratios = [seconds(ours, model.device) / seconds(loop, model.device) for _ in range(rounds)]
    found = answers["ours"]
    flips = [edge for edge in found.trace["order"] if found.members[edge] != answers["loop"][edge]]
    off = np.abs(np.abs(found.scores.mean) - tau)
    return np.array(ratios), [f"{graph.edge_names[edge]}: {off[edge]:.2g} (τ = {tau:.2g})" for edge in flips]


def _true(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return logits.gather(1, labels[:, None])[:, 0].double()


def _one_at_a_time(runs: PatchedRuns, graph: ComputationGraph, labels: torch.Tensor, threshold: float) -> np.ndarray:
    members = np.ones(graph.n_edges, bool)
    current = _true(runs.logits(graph, members), labels).mean()
    for receiver in reversed(range(graph.n_receivers)):
        for edge in reversed(range(*graph.offsets[receiver : receiver + 2])):
            members[edge] = False
            value = _true(runs.logits(graph, members), labels).mean()
            if abs(current - value) < threshold:
                current = value
            else:
                members[edge] = True
    return members


def report(name: str, ratios: np.ndarray, target: str) -> None:
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    print(f"{name}: median {middle:.3f}, quartiles {low:.3f} to {high:.3f} (target {target})", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_small_patch16_224")
    parser.add_argument("--batch", type=int, default=4, help="images per batch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--edges", type=int, default=8, help="edges per round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument(
        "--keep", type=float, nargs="*", default=[0.1, 0.5, 1.0], help="shares of decided edges that are kept"
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    model = load_model(args.model, device=args.device, seed=0)
    images = torch.randn(2 * args.batch, 3, *model.image_size, generator=torch.Generator().manual_seed(0))
    clean, corrupted = images.to(model.device).split(args.batch)
    print(f"{model}, {args.batch} images, {args.rounds} rounds of {args.edges} edges")
    for form in ("attention", "split"):
        report(f"exact, {form}: an edge ÷ plain forward", exact(model, form, clean, corrupted, args), "≤ 0.4")
    for keep in args.keep:
        trying, patched = sequential(model, clean, corrupted, keep, args)
        report(f"sequential, {keep:.0%} kept: a trial ÷ one of the loop", trying, "≤ 0.45")
        print(f"  one of the loop: {np.median(patched):.2f} plain forwards")
    ratios, flips = whole(args.rounds)
    report("sequential, the demo model from start to end ÷ the loop", ratios, "≤ 0.45")
    print(f"  different decisions in float32, with ||Δ| − τ|: {', '.join(flips) or 'none'}")


if __name__ == "__main__":
    main()
