"""Time and memory of edited forward passes in multiples of a plain one, on ViT-S with random weights.

    python benchmarks/interventions.py [--model NAME] [--images 8] [--edges 100] [--repeats 5]

Each edit is timed in turn with the plain model, round by round, in CPU seconds; the figure is the median of the ratios.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import timm
import torch
from circuitstore.evaluation import ImagePairs, fit_directions, steer_edges, steer_senders
from circuitstore.evaluation.interventions import Edit
from circuitstore.models import ViT, load_model


def timed(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def ratio(model: ViT, images: torch.Tensor, edit: Edit, repeats: int) -> tuple[float, float]:
    """Return the median ratio to the plain model, and the median seconds of the edited model."""
    model.logits(images)
    plain, edited = [], []
    with torch.no_grad():
        for _ in range(repeats):
            plain.append(timed(lambda: model.logits(images)))
            with edit.applied(model):
                model.logits(images[:1])
                edited.append(timed(lambda: model.logits(images)))
    return float(np.median(np.array(edited) / np.array(plain))), float(np.median(edited))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_small_patch16_224")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--edges", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = load_model(timm.create_model(arguments.model))
    images = torch.randn(arguments.images, 3, *model.image_size)
    pairs = ImagePairs.of(model, images, images + 0.5 * torch.randn(images.shape), [0] * len(images))
    seconds = timed(lambda: fit_directions(model, pairs[:4]))
    directions = fit_directions(model, pairs[:4], quantile=0.5)
    graph, rng = directions.graph, np.random.default_rng(0)
    print(f"{arguments.model}, {len(images)} images, one thread; directions of 4 pairs in {seconds:.1f} s")
    edits: dict[str, Edit] = {
        f"{n} random edges": steer_edges(directions, [graph.edge_names[i] for i in rng.permutation(graph.n_edges)[:n]])
        for n in (arguments.edges // 4, arguments.edges)
    }
    edits["all senders"] = steer_senders(directions)
    edits["one tenth of the senders"] = steer_senders(directions, graph.senders[::10])
    for name, edit in edits.items():
        changes = edit.changes(model)
        size = sum(b.numel() * b.element_size() for b in changes.buffers()) / 2**20
        times, median = ratio(model, images, edit, arguments.repeats)
        print(f"{name}: {times:.2f} x a plain forward pass ({median:.2f} s), {size:.0f} MiB of tensors")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
