"""Which map over patches to trust on the demo model, and what each costs.

    python benchmarks/readouts.py [--per-class 3] [--steps 32]

Natural images contrast the true class with the mean of the others; attacked images, on which a written word turned the
prediction, contrast the word's class with the true one. Each map is evaluated by deletion and insertion of patches
(black, probability of the class that the metric raises); attacked images also by the word's box: the share of the map's
positive values inside, and whether its largest value is inside. The cost of a map is CPU time per image on attacked
images, and its forward and backward passes.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import circuitstore as cs
import numpy as np
import torch
from circuitstore.circuits import Readout
from circuitstore.errors import CircuitStoreWarning
from circuitstore.evaluation import READOUTS, ImagePairs, MapEvaluation
from circuitstore.images import open_source
from circuitstore.models import ViT


@dataclass(frozen=True)
class Images:
    """Images with the metric that maps attribute, and the area of the word.

    Attributes:
        pairs: the images, contrasted with other images.
        metric: key of the metric.
        box: pixels of the word's box; None without a word.
    """

    pairs: ImagePairs
    metric: str
    box: torch.Tensor | None = None


Make = Callable[[ViT, Images], Readout]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=3)
    parser.add_argument("--steps", type=int, default=32)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CircuitStoreWarning)  # about residuals
    model = cs.load_model("digits")
    natural, attacked = read_images(model, args.per_class)
    assert attacked.box is not None
    area = attacked.box.double().mean()
    print(f"{len(natural.pairs)} natural images, {len(attacked.pairs)} attacked; area of the box {area:.3f}")
    print("| map | natural del ↓ | ins ↑ | attacked del ↓ | ins ↑ | in the box | pointing | CPU ms | passes |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, make in maps().items():
        start = time.process_time()
        found = make(model, attacked)
        cost = 1000 * (time.process_time() - start) / len(attacked.pairs)
        results = [None, evaluated(model, attacked, found, args.steps)]
        if "twin" not in name:
            results[0] = evaluated(model, natural, make(model, natural), args.steps)
        print(f"| {name} | {row(*results)} | {cost:.1f} | {passes(model, found)} |", flush=True)


def read_images(model: ViT, per_class: int) -> tuple[Images, Images]:
    """Return natural images that the model recognizes, and attacked ones that it reads as the word's class."""
    source, natural, attacked = open_source("digits", model), [], []
    for cls in source.classes:
        found = cs.image_pairs(
            source, model, cls.name, 8 * per_class, condition="typographic", corruption="unattacked-twin"
        )
        right = model.logits(found.corrupted).argmax(dim=1) == found.labels
        turned = right & (model.logits(found.clean).argmax(dim=1) == found.targets)
        natural.append(chosen(cs.image_pairs(source, model, cls.name, 8 * per_class), right, per_class))
        attacked.append(chosen(found, turned, per_class))
    pairs = joined(attacked)
    return Images(joined(natural), "logit-over-mean"), Images(pairs, "logit-diff", word_boxes(pairs))


def chosen(pairs: ImagePairs, wanted: torch.Tensor, count: int) -> ImagePairs:
    """Return the first pairs that are wanted."""
    rows = torch.nonzero(wanted).flatten()[:count]
    return replace(
        pairs,
        clean=pairs.clean[rows],
        corruption=pairs.corrupted[rows],
        labels=pairs.labels[rows],
        targets=None if pairs.targets is None else pairs.targets[rows],
        hashes=tuple(pairs.hashes[row] for row in rows),
    )


def joined(parts: list[ImagePairs]) -> ImagePairs:
    targets = [part.targets for part in parts if part.targets is not None]
    return ImagePairs(
        torch.cat([part.clean for part in parts]),
        torch.cat([part.corrupted for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat(targets) if targets else None,
        tuple(name for part in parts for name in part.hashes),
    )


def word_boxes(pairs: ImagePairs) -> torch.Tensor:
    """Return the smallest rectangle around the pixels that differ between each image and its twin."""
    differs = (pairs.clean != pairs.corrupted).any(dim=1)
    rows, columns = differs.any(dim=2), differs.any(dim=1)
    return spans(rows)[:, :, None] & spans(columns)[:, None]


def spans(marked: torch.Tensor) -> torch.Tensor:
    """Return everything between the first and the last mark of each row."""
    after, before = marked.cumsum(dim=1) > 0, marked.flip(1).cumsum(dim=1).flip(1) > 0
    return after & before


def maps() -> Mapping[str, Make]:
    """Return the maps by name."""
    attributed = {
        "random": ("random-map", {}),
        "magnitude of the gradient": ("saliency", {}),
        "gradient × (x − black)": ("input-x-gradient", {}),
        "gradient × (x − grey)": ("input-x-gradient", {"baseline": "grey"}),
        "SmoothGrad, 15 × (x − black)": ("smoothgrad", {}),
        "integrated gradients, black, 50": ("integrated-gradients", {}),
        "integrated gradients, black, 20": ("integrated-gradients", {"steps": 20}),
        "integrated gradients, grey, 20": ("integrated-gradients", {"steps": 20, "baseline": "grey"}),
        "integrated gradients, blur, 20": ("integrated-gradients", {"steps": 20, "baseline": "blur"}),
        "occlusion, 1 patch": ("occlusion", {}),
        "occlusion, 2 × 2 patches": ("occlusion", {"window": 2}),
        "RISE, 300 masks": ("rise", {}),
        "integrated gradients, twin, 20": ("integrated-gradients", {"steps": 20, "baseline": "corrupted"}),
        "token patching with the twin": ("occlusion", {"baseline": "corrupted"}),
    }
    found: dict[str, Make] = {name: attribution(method, params) for name, (method, params) in attributed.items()}
    last = {"layer": -1}
    found |= {
        "raw attention, last layer": lambda m, x: on_grid(m, cs.attention_patterns(m, x.pairs.clean), **last),
        "rollout, mean": rollout(),
        "rollout, max": rollout(heads="max"),
        "rollout, min": rollout(heads="min"),
        "rollout, max, discard .9": rollout(heads="max", discard=0.9),
        "attention flow": lambda m, x: on_grid(m, cs.attention_flow(m, x.pairs.clean)),
        "relevance": lambda m, x: on_grid(m, cs.attention_relevance(m, x.pairs, metric=x.metric)),
        "attention × gradient": lambda m, x: on_grid(m, cs.attention_times_gradient(m, x.pairs, metric=x.metric)),
        "direct logits by source token": direct_logits,
        "footprint of the edges out of input, twin": footprint_of_input,
    }
    return found


def attribution(method: str, params: Mapping) -> Make:
    return lambda model, images: cs.patch_attribution(model, images.pairs, method, metric=images.metric, **params)


def rollout(**options) -> Make:
    return lambda model, images: on_grid(model, cs.attention_rollout(model, images.pairs.clean, **options))


def direct_logits(model: ViT, images: Images) -> Readout:
    """Return what each source token adds through the heads to the contrast of classes."""
    found = cs.logit_attribution(model, images.pairs.clean, by="source-token")
    values = found.values.sum(axis=(1, 2))  # image token class
    rows, labels = np.arange(len(values)), images.pairs.labels.numpy()
    own = values[rows, :, labels]
    if images.metric == "logit-diff":
        contrast = values[rows, :, images.pairs.targets.numpy()] - own
    else:
        contrast = own - (values.sum(axis=2) - own) / (values.shape[2] - 1)
    axes = (found.axis("image"), found.axis("token"))
    return cs.on_patches(model, replace(found, axes=axes, values=contrast))


def footprint_of_input(model: ViT, images: Images) -> Readout:
    edges = [name for name in model.graph("block").edge_names if name.startswith("input->")]
    found = cs.footprint(model, images.pairs, edges, form="block", metric=images.metric)
    return on_grid(model, found)


def on_grid(model: ViT, found: Readout, *, layer: int | None = None) -> Readout:
    """Return a read-out of tokens as a map: the mean over heads, the sum over everything else but images."""
    values, names = found.values, list(found.names)
    if layer is not None:
        values = values.take(layer, axis=names.index("layer"))
        names.remove("layer")
    summed = tuple(place for place, name in enumerate(names) if name not in ("image", "token"))
    axes = (found.axis("image"), found.axis("token"))
    return cs.on_patches(model, replace(found, axes=axes, values=values.sum(axis=summed), std=None))


def evaluated(model: ViT, images: Images, found: Readout, steps: int) -> MapEvaluation:
    return cs.evaluate_map(model, images.pairs, found, region=images.box, steps=steps, metric=images.metric)


def row(natural: MapEvaluation | None, attacked: MapEvaluation) -> str:
    first = ["", ""] if natural is None else [natural.deletion, natural.insertion]
    cells = [*first, attacked.deletion, attacked.insertion, attacked.share_inside, attacked.pointing]
    return " | ".join("" if isinstance(cell, str) else f"{np.nanmean(cell):.3f}" for cell in cells)


def passes(model: ViT, found: Readout) -> str:
    forwards, backwards = READOUTS[found.use.kind].passes(model, **dict(found.use.params))
    return f"{forwards:g} + {backwards:g}"


if __name__ == "__main__":
    main()
