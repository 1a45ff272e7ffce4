"""What neuron paths of the demo model do, compared with baselines, and what is left if only a few neurons are kept.

    python benchmarks/neuron_effects.py [--images 30] [--masks 20] [--keep 1 5 10 20] [--threads 1]

Images are held-out digits, the same number of each class, whatever the model says of them. Paths are found and changed
at the class token. Masks for pruning are the neurons on most paths of other images of the class. Conductance is that of
the label's probability from an image of the next class. The output:

- effects: scores of the paths; removal and enhancement, in percent with 95 % intervals; the difference of the logit;
- differences from NeuronPath's removal, paired image by image;
- removal and enhancement class by class;
- stability by layer, and similarity of classes, with that of halves of the images;
- pruning to K neurons per layer: mean probability of an image's class under the mask of this class, accuracy, balanced
  accuracy and leak, as means over classes; `random`, `none` and `all` are controls.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from circuitstore.evaluation import (
    Activation,
    ImagePairs,
    InfluencePattern,
    NeuronEffects,
    NeuronPaths,
    PathSearch,
    PerLayer,
    RandomNeurons,
    class_neurons,
    edit_neurons,
    neuron_conductance,
    neuron_paths,
    neuron_similarity,
    path_stability,
    prune_by_class,
    score_paths,
)
from circuitstore.evaluation.neurons import Search
from circuitstore.images import ImageSource, Predictions, open_source
from circuitstore.models import ViT, load_model
from torch import Tensor

Find = Callable[[ViT, Tensor, np.ndarray], NeuronPaths]


def by_search(search: Search) -> Find:
    return lambda model, images, labels: neuron_paths(model, images, labels, search)


def by_conductance(k: int = 1) -> Find:
    def find(model: ViT, images: Tensor, labels: np.ndarray) -> NeuronPaths:
        shift = int((labels == labels[0]).sum())  # images are sorted by class, with as many of each
        pairs = ImagePairs.of(model, images, images.roll(shift, dims=0), labels)
        scores = neuron_conductance(model, pairs, metric="probability", tokens="class")
        return score_paths(model, images, labels, scores.paths(k))

    return find


SEARCHES: dict[str, Find] = {
    "NeuronPath (JAS)": by_search(PathSearch()),
    "the same by IG": by_search(PathSearch(score="ig")),
    "each layer by itself": by_search(PerLayer()),
    "conductance": by_conductance(),
    "activation": by_search(Activation()),
    "influence pattern": by_search(InfluencePattern()),
    "random": by_search(RandomNeurons()),
}
KEPT: dict[str, Callable[[int], Find]] = {
    "JAS": lambda k: by_search(PathSearch(k=k)),
    "IG": lambda k: by_search(PathSearch(score="ig", k=k)),
    "conductance": by_conductance,
    "activation": lambda k: by_search(Activation(k=k)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=30, help="images of each class that are changed")
    parser.add_argument("--masks", type=int, default=20, help="other images of each class, for its mask")
    parser.add_argument("--keep", nargs="+", type=int, default=[1, 5, 10, 20], help="neurons kept in each layer")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load_model("digits")
    source = open_source("digits", model)
    images, labels = held_out(model, source, slice(args.images))
    found = {name: find(model, images, labels) for name, find in SEARCHES.items()}
    removed, doubled = (
        {name: edit_neurons(model, images, labels, paths.paths, factor=factor) for name, paths in found.items()}
        for factor in (0, 2)
    )
    show("Effects", [effects_row(name, found[name], removed[name], doubled[name]) for name in found])
    show("Removal, paired differences", list(paired(removed)))
    show("By class", list(by_class(removed, doubled)))
    show("Stability and similarity", [{"paths": name} | shared(paths) for name, paths in found.items()])
    masks = held_out(model, source, slice(args.images, args.images + args.masks))
    show("Pruning", list(pruned(model, (images, labels), masks, args.keep)))


def held_out(model: ViT, source: ImageSource, some: slice) -> tuple[Tensor, np.ndarray]:
    """Return images of each class, normalised, with their labels."""
    predictions, views, labels = Predictions(source, model), [], []
    for cls in source.classes:
        refs = source.candidates(cls)[some]
        views.append(predictions.views(cls, refs))
        labels += [cls.class_index] * len(refs)
    return model.preprocess.normalise(np.concatenate(views)), np.array(labels)


def effects_row(name: str, found: NeuronPaths, removed: NeuronEffects, doubled: NeuronEffects) -> dict[str, str]:
    measure, twice = measures(removed), measures(doubled)
    return {
        "path by": name,
        "JAS": f"{found.jas.mean():.3f}",
        "F(1) − F(0)": f"{found.ig.mean():.4f}",
        "removal": percent(measure.loc["probability"]),
        "pooled": percent(measure.loc["pooled"], interval=False),
        "median": percent(measure.loc["median"], interval=False),
        "accuracy": percent(measure.loc["accuracy"], interval=False),
        "logit": f"{measure.loc['logit', 'value']:.3f}",
        "× 2": percent(twice.loc["probability"]),
    }


def measures(effects: NeuronEffects) -> pd.DataFrame:
    return effects.summary().to_pandas().set_index("measure")


def percent(row: pd.Series, *, interval: bool = True) -> str:
    """Return a share in percent, with its interval."""
    value, low, high = (f"{100 * row[name]:+.1f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]" if interval else value


def paired(removed: dict[str, NeuronEffects]) -> Iterator[dict[str, str]]:
    first, *others = removed
    for name in others:
        table = removed[first].difference(removed[name])
        row = table.to_pandas().set_index("measure").loc["probability"]
        yield {first + " −": name, "points": percent(row), "lower on": f"{table.facts['lower']:.0%} of images"}


def by_class(removed: dict[str, NeuronEffects], doubled: dict[str, NeuronEffects]) -> Iterator[dict[str, str]]:
    tables = {
        f"{name} × {factor}": effects[name].by_class().to_pandas().query("measure == 'probability'").set_index("class")
        for factor, effects in ((0, removed), (2, doubled))
        for name in effects
    }
    for cls in next(iter(tables.values())).index:
        yield {"class": str(cls)} | {name: percent(table.loc[cls], interval=False) for name, table in tables.items()}


def shared(found: NeuronPaths) -> dict[str, str]:
    """Return how far images of a class agree, by layer, and how alike classes are."""
    classes = class_neurons(found.paths, found.labels, found.n_neurons)
    stability = path_stability(classes).to_pandas().groupby("layer").mean()
    similar = neuron_similarity(classes)
    other = ~np.eye(len(similar.classes), dtype=bool)
    names = ("modal_share", "agreement", "agreement_any")
    columns = {name: " ".join(f"{value:.2f}" for value in stability[name]) for name in names}
    return columns | {
        "similarity": f"{similar.matrix[other].mean():.3f}",
        "halves, two classes": f"{similar.halves[other].mean():.3f}",
        "halves, one class": f"{similar.floor.mean():.3f}",
    }


def pruned(
    model: ViT, test: tuple[Tensor, np.ndarray], masks: tuple[Tensor, np.ndarray], keep: list[int]
) -> Iterator[dict[str, str]]:
    for k in keep:
        for name, find in KEPT.items():
            found = find(k)(model, *masks)
            classes = class_neurons(found.paths, found.labels, found.n_neurons)
            kept = dict(zip(classes.classes.tolist(), classes.top(k), strict=True))
            row = {"K": str(k), "mask by": name}
            for tokens in ("class", "all"):
                frame = prune_by_class(model, *test, kept, tokens=tokens).to_pandas()
                controls = ("class", "random", "none", "all") if name == next(iter(KEPT)) else ("class",)
                for control in controls:
                    means = frame[frame["kept"] == control].mean(numeric_only=True)
                    yield row | {"kept": control, "tokens": tokens} | figures(means)


def figures(means: pd.Series) -> dict[str, str]:
    return {name: f"{means[name]:.3f}" for name in ("probability", "accuracy", "balanced_accuracy", "leak")}


def show(title: str, rows: list[dict[str, str]]) -> None:
    """Print rows as a Markdown table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    print(f"## {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n", flush=True)


if __name__ == "__main__":
    main()
