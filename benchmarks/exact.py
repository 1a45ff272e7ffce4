"""What exact patching costs an edge beside a plain forward, and sequential patching beside the loop that it replaces.

`exact`: time of patching one edge ÷ one plain forward of the same images. Edges are drawn evenly from the flat order,
so their mean stands for all; per round other ones.
`sequential`: time of trying one removal ÷ one patched run of the whole model with the same edges closed, which is what
a loop pays that removes one edge at a time. Edges are drawn evenly from the order of decision; of those decided before,
a given share was kept, drawn at random. Settling a receiver is shared out among its edges.
`whole`: both from start to end on the demo model, with the share of decisions that agree.
Times are CPU times (CUDA: event times), taken in turn on one thread.

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


def drawn(count: int, graph: ComputationGraph, dice: np.random.Generator) -> np.ndarray:
    """Edges at even distances in the flat order, from a random one on."""
    return ((np.arange(count) + dice.random()) * graph.n_edges / count).astype(int)


def exact(model: ViT, form: str, clean: torch.Tensor, corrupted: torch.Tensor, asked: argparse.Namespace) -> np.ndarray:
    """Mean time an edge ÷ forward, per round."""
    graph, dice, ratios = model.graph(form), np.random.default_rng(0), []
    ends = capture(model, clean), capture(model, corrupted)
    differences, runs = sender_differences(model, form, *ends), ReceiverRuns(model, graph, ends[0])

    def patch(edge: int) -> None:
        runs.logits(int(graph.edge_receiver[edge]), -differences[:, int(graph.edge_sender[edge])][None])

    patch(0)
    for _ in range(asked.rounds):
        plain = seconds(lambda: model.logits(clean), model.device)
        times = [seconds(lambda e=edge: patch(int(e)), model.device) for edge in drawn(asked.edges, graph, dice)]
        plain = (plain + seconds(lambda: model.logits(clean), model.device)) / 2
        ratios.append(np.mean(times) / plain)
    return np.array(ratios)


def sequential(
    model: ViT, clean: torch.Tensor, corrupted: torch.Tensor, keep: float, asked: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray]:
    """Per round: time of trying a removal ÷ patched run, and patched run ÷ plain forward."""
    graph, dice = model.graph("attention"), np.random.default_rng(0)
    ends = capture(model, clean), capture(model, corrupted)
    runs, loop = SequentialRuns(model, graph, *ends), PatchedRuns(model, ends[0].stream, ends[1])
    members = np.ones(graph.n_edges, bool)
    chosen = graph.edge_receiver[drawn(asked.edges, graph, dice)]
    times = []
    for receiver in reversed(range(graph.n_receivers)):
        upstream = int(graph.n_upstream[receiver])
        closed = np.flatnonzero(dice.random(upstream) >= keep)
        settling = seconds(lambda: _settle(runs, receiver, closed), model.device) / upstream  # noqa: B023
        members[graph.offsets[receiver] + closed] = False
        for _ in range(int((chosen == receiver).sum())):
            times.append(
                [_compared(model, runs, loop, clean, receiver, members, settling) for _ in range(asked.rounds)]
            )
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
    """Seconds of trying a removal at a receiver, of a patched run, of a plain forward."""
    trying = settling
    if runs.matters(receiver):
        trying += seconds(lambda: runs.without(receiver, [0], [False]), model.device)
    return (
        trying,
        seconds(lambda: loop.logits(runs.graph, members), model.device),
        seconds(lambda: model.logits(clean), model.device),
    )


def whole(rounds: int) -> tuple[np.ndarray, list[str]]:
    """Sequential patching of the demo model ÷ the loop, per round; and what they decide otherwise, in that order.

    Of each such edge ||Δ| − τ|, Δ as it was when sequential patching decided it. After the first, runs differ.
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


def told(name: str, ratios: np.ndarray, wanted: str) -> None:
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    print(f"{name}: median {middle:.3f}, quartiles {low:.3f} to {high:.3f} (wanted {wanted})", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_small_patch16_224")
    parser.add_argument("--batch", type=int, default=4, help="images at a time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--edges", type=int, default=8, help="edges a round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument(
        "--keep", type=float, nargs="*", default=[0.1, 0.5, 1.0], help="shares of decided edges that stayed"
    )
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    torch.set_num_threads(1)
    model = load_model(asked.model, device=asked.device, seed=0)
    images = torch.randn(2 * asked.batch, 3, *model.image_size, generator=torch.Generator().manual_seed(0))
    clean, corrupted = images.to(model.device).split(asked.batch)
    print(f"{model}, {asked.batch} images, {asked.rounds} rounds of {asked.edges} edges")
    for form in ("attention", "split"):
        told(f"exact, {form}: an edge ÷ plain forward", exact(model, form, clean, corrupted, asked), "≤ 0.4")
    for keep in asked.keep:
        trying, patched = sequential(model, clean, corrupted, keep, asked)
        told(f"sequential, {keep:.0%} kept: a trial ÷ one of the loop", trying, "≤ 0.45")
        print(f"  one of the loop: {np.median(patched):.2f} plain forwards")
    ratios, flips = whole(asked.rounds)
    told("sequential, the demo model from start to end ÷ the loop", ratios, "≤ 0.45")
    print(f"  decided otherwise in float32, with ||Δ| − τ|: {', '.join(flips) or 'none'}")


if __name__ == "__main__":
    main()
