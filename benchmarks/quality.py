"""Quality and cost of every method's circuits, on the demo model and on planted models.

Every method of the registry scores or selects edges on discovery images: with its default parameters; in the other
direction; with every gradient mode; and, if it has steps, with as many as a budget of passes allows. Baselines are
random connected circuits and edges ranked by the magnitude of their senders' outputs. Sizes are chosen only on
selection images, and everything else is measured on report images. Each row is written when it is complete, so the same
command continues an interrupted run; `quality_tables.py` prints the tables.

- `forwards`, `backwards`: passes per image pair, counted during the run (`passes.py`), including selection images.
- `work`: all matrix products per image pair, in units of one plain forward; only counted for the first subject.
- `cpr` (circuits grown greedily by signed score) and `cmd` (by magnitude) of MIB, on a geometric grid of sizes (ratio
  2); `log_cmd` is the same over the logarithm of the size, which gives small circuits the same weight as large ones.
- `p_noising`, `p_denoising`: of the k edges with the largest magnitude in exact noising or denoising of the same
  images, the share among the method's k largest. k is a tenth of all edges (planted models: the number of planted
  edges); edges with score 0 never count.
- `planted`: the share of planted edges among the k largest.
- `size80`: edges of the smallest greedy circuit by magnitude that keeps 80 % of the accuracy on selection images, and
  `kept80` what it keeps on report images.
- `own_edges`, `own`, `matched`: for methods that select edges, the size of their own circuit, its faithfulness, and
  that of the greedy circuit of the same size from EAP-IG's scores.

    python benchmarks/quality.py --form attention --classes zero two three five seven --seeds 3 --out attention.csv
"""

from __future__ import annotations

import argparse
import csv
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from circuitstore.circuits import EdgeScores, size_grid
from circuitstore.circuits.recipe import DIRECTIONS
from circuitstore.discovery import METHODS, discover, estimate_cost, smallest_with_retention
from circuitstore.discovery.method import MethodOutput
from circuitstore.errors import CircuitStoreWarning
from circuitstore.evaluation import (
    Execution,
    ImagePairs,
    evaluate,
    faithfulness_curve,
    magnitude_scores,
    random_curves,
)
from circuitstore.images import (
    CONDITIONS,
    CORRUPTIONS,
    Predictions,
    build_pairs,
    contrast_classes,
    deal_partners,
    open_source,
)
from circuitstore.images import select_images as select
from circuitstore.models import GRADIENTS, ViT, load_model
from passes import Cost, counted, forward_flops
from planted import plant
from tqdm import tqdm

SHARE = 0.1
RATIO = 2
DRAWS = 5
"""Number of random circuits of each size."""
FIELDS = (
    "form", "kind", "subject", "seed", "method", "variant", "row", "forwards", "backwards", "work", "cpr", "cmd",
    "log_cmd", "p_noising", "p_denoising", "planted", "size80", "kept80", "own_edges", "own", "matched",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A model with its three splits, and the planted edges of the form, if any."""

    kind: str
    name: str
    seed: int
    model: ViT
    splits: dict[str, ImagePairs]
    truth: frozenset[str] = frozenset()


def digits(names: list[str], seed: int, images: int) -> Iterator[Subject]:
    """Yield classes of the demo model; the seed draws the images and the class for contrast."""
    model = load_model("digits")
    source = open_source("digits", model)
    natural, corruption = CONDITIONS.resolve("natural", {}), CORRUPTIONS.resolve("other-class", {"partners": 1})
    for name in names:
        cls = source.class_named(name)
        (partner,) = contrast_classes(corruption, source, cls, seed=seed, count=4 * images)
        predictions = Predictions(source, model, seed)
        own, others = (select(predictions, c, per_class=4 * images) for c in (cls, partner))
        splits = {}
        for split in ("discovery", "selection", "report"):
            refs = getattr(own, split)[:images]
            partners = deal_partners([getattr(others, split)[:images]], len(refs))
            splits[split] = build_pairs(predictions, cls, refs, natural, corruption, partners=partners)
        yield Subject("digits", name, seed, model, splits)


def planted(form: str, seed: int) -> Iterator[Subject]:
    """Yield planted models: gates with and without distractors."""
    for gate, distractors in (("chain", False), ("chain", True), ("and", True), ("or", False), ("or", True)):
        made = plant(gate, distractors=distractors, seed=seed)
        fine = made.model.graph("split")
        coarse = fine.projection(form)
        names = made.model.graph(form).edge_names
        truth = frozenset(names[coarse[fine.index_of(edge)]] for edge in made.edges)
        splits = {
            split: ImagePairs.of(made.model, *made.images(16, 10 * seed + i), labels=[0] * 16)
            for i, split in enumerate(("discovery", "selection", "report"))
        }
        yield Subject("planted", made.name, seed, made.model, splits, truth)


@dataclass(frozen=True)
class Row:
    """A method of the registry or a baseline; `variant` says how it differs from its defaults."""

    method: str
    variant: str = "default"
    direction: str = "noising"
    params: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        return self.method if self.variant == "default" else f"{self.method} {self.variant}"


def rows_of(args: argparse.Namespace, model: ViT) -> Iterator[Row]:
    """Yield all variants of the methods that support the form, then the baselines."""

    def wanted(key: str) -> bool:
        return key in (args.methods or (key,)) and key not in args.without

    for key, method in METHODS.items():
        if args.form not in method.forms or not wanted(key):
            continue
        for direction in method.directions:
            yield Row(key, "default" if direction == "noising" else direction, direction)
        for mode in args.modes if "gradient" in method.params else ():
            with suppress(ValueError):  # the method does not support the mode
                method.params["gradient"].read(mode)
                yield Row(key, mode, params={"gradient": mode})
        if "steps" in method.params:
            steps = {affordable(model, args.form, key, budget) for budget in args.budgets}
            for count in sorted(steps - {0, method.params["steps"].default}):
                yield Row(key, f"{count} steps", params={"steps": count})
    yield from (Row(key) for key in ("magnitude", "random") if wanted(key))


def affordable(model: ViT, form: str, key: str, budget: float) -> int:
    """Return the maximum number of steps whose forwards and backwards together are within the budget."""
    steps = 0
    while True:
        cost = estimate_cost(model.graph(form), METHODS.resolve(key, {"steps": steps + 1}), 1)
        if cost.forwards + cost.backwards > budget:
            return steps
        steps += 1


def largest(scores: EdgeScores, k: int) -> set[int]:
    """Return the k edges with the largest magnitude, without those of score 0."""
    value = np.abs(scores.mean)
    order = np.argsort(-value, kind="stable")[:k]
    return set(order[value[order] > 1e-12 * value.max(initial=0)].tolist())


class Study:
    """The measurements of one subject, which run every method once."""

    def __init__(self, subject: Subject, form: str, batch: int, products: bool) -> None:
        self.subject, self.model, self.form, self.products = subject, subject.model, form, products
        self.execution = Execution(batch_size=batch)
        self.graph = self.model.graph(form)
        self.k = len(subject.truth) or round(SHARE * self.graph.n_edges)
        self.sizes = size_grid(self.graph.n_edges, RATIO)
        splits = subject.splits
        self.discovery, self.selection, self.report = splits["discovery"], splits["selection"], splits["report"]
        self.run = cache(self._run)

    def _run(self, row: Row) -> tuple[MethodOutput, Cost]:
        with counted(self.model, products=self.products) as cost:
            return self._discover(row), cost

    def _discover(self, row: Row) -> MethodOutput:
        options = {"form": self.form, "execution": self.execution}
        if row.method == "magnitude":
            return MethodOutput(self.graph, magnitude_scores(self.model, self.discovery, **options))
        return discover(
            self.model, self.discovery, METHODS.resolve(row.method, row.params), direction=row.direction,
            selection=self.selection, seed=self.subject.seed, **options,
        )  # fmt: skip

    def estimated_backwards(self, row: Row) -> float:
        """Return the estimated backwards per image pair."""
        if row.method not in METHODS:
            return 0
        return estimate_cost(self.graph, METHODS.resolve(row.method, row.params), 1).backwards

    def measured(self, row: Row) -> dict[str, object]:
        """Return the figures of a row."""
        found, cost = self.run(row)
        n = len(self.discovery)
        figures: dict[str, object] = {"forwards": cost.forwards / n, "backwards": cost.backwards / n}
        if cost.flops is not None:
            figures["work"] = cost.flops / n / forward_flops(self.model, self.discovery.clean)
        if found.scores is not None:
            figures |= self._ranking(found.scores) | self._curves(found.scores) | self._size(found.scores)
        if found.members is not None:
            own = found.circuit
            like = self.run(Row("eap-ig"))[0].scores
            matched = like.greedy(own.n_edges, absolute=True)
            own_faith, matched_faith = (evaluate(self.model, self.report, c).faithfulness for c in (own, matched))
            figures |= {"own_edges": own.n_edges, "own": own_faith, "matched": matched_faith}
        return figures

    def _ranking(self, scores: EdgeScores) -> dict[str, object]:
        mine, figures = largest(scores, self.k), {}
        for direction in DIRECTIONS:
            row = Row("exact", "default" if direction == "noising" else direction, direction)
            truth = largest(self.run(row)[0].scores, self.k)
            figures[f"p_{direction}"] = len(mine & truth) / len(truth)
        if self.subject.truth:
            figures["planted"] = len({self.graph.edge_names[edge] for edge in mine} & self.subject.truth) / self.k
        return figures

    def _curves(self, scores: EdgeScores) -> dict[str, object]:
        def curve(absolute: bool):
            options = {"sizes": self.sizes, "absolute": absolute, "execution": self.execution}
            return faithfulness_curve(self.model, self.report, scores, **options)

        by_size = curve(True)
        by_sign = curve(False) if scores.signed else by_size
        return {"cpr": by_sign.cpr, "cmd": by_size.cmd, "log_cmd": by_size.log_cmd}

    def _size(self, scores: EdgeScores) -> dict[str, object]:
        options = {"target": 0.8, "absolute": True, "execution": self.execution}
        circuit = smallest_with_retention(self.model, self.selection, scores, **options)
        return {"size80": circuit.n_edges, "kept80": evaluate(self.model, self.report, circuit).retention}

    def random(self) -> dict[str, object]:
        """Return the figures of random connected circuits: means over draws, and the chance level of precision."""
        options = {"form": self.form, "draws": DRAWS, "seed": self.subject.seed, "execution": self.execution}
        curves = random_curves(self.model, self.report, sizes=self.sizes, **options)
        chosen_on = random_curves(self.model, self.selection, **options).mean
        chance, log_cmd = self.k / self.graph.n_edges, np.mean([curve.log_cmd for curve in curves.curves])
        figures = {
            "forwards": 0,
            "backwards": 0,
            "cpr": curves.cpr.mean(),
            "cmd": curves.cmd.mean(),
            "log_cmd": log_cmd,
        }
        figures |= {"p_noising": chance, "p_denoising": chance, "size80": chosen_on.smallest(0.8)}
        return figures | ({"planted": chance} if self.subject.truth else {})


def subjects(args: argparse.Namespace) -> Iterator[Subject]:
    """Yield all subjects with the first seed before those with the second."""
    for seed in range(args.seeds):
        yield from digits(args.classes, seed, args.images)
        yield from planted(args.form, seed) if args.planted else ()


def new_rows(args: argparse.Namespace, done: set[tuple[str, ...]]) -> Iterator[dict[str, object]]:
    """Yield the rows that are not done; on the demo model, methods with many backwards run on few subjects."""
    rows = list(rows_of(args, load_model("digits")))
    groups = args.seeds * (len(args.classes) + 5 * args.planted)
    with tqdm(total=groups * len(rows), unit="row", dynamic_ncols=True) as bar:
        for number, subject in enumerate(subjects(args)):
            study = Study(subject, args.form, args.batch, products=number == 0)
            few = subject.kind == "digits" and number >= args.few
            for row in rows:
                bar.set_postfix_str(f"{subject.name}, seed {subject.seed}: {row.name}")
                who = {"form": args.form, "kind": subject.kind, "subject": subject.name, "seed": str(subject.seed)}
                if (*who.values(), row.name) not in done and not (few and study.estimated_backwards(row) > args.long):
                    figures = study.random() if row.method == "random" else study.measured(row)
                    yield who | {"method": row.method, "variant": row.variant, "row": row.name} | figures
                bar.update()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", default="attention")
    parser.add_argument(
        "--classes", nargs="*", default=["zero", "two", "three", "five", "seven"], help="classes of the demo"
    )
    parser.add_argument("--images", type=int, default=12, help="maximum number of images of a class in each split")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, for images and planted models")
    parser.add_argument("--planted", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--methods", nargs="*", help="keys of the registry, magnitude or random; by default all")
    parser.add_argument("--without", nargs="*", default=[], help="methods to leave out")
    parser.add_argument("--modes", nargs="*", default=[m for m in GRADIENTS if m != "plain"], help="gradient modes")
    parser.add_argument("--budgets", nargs="*", type=float, default=[12, 22, 62], help="passes per image pair")
    parser.add_argument("--long", type=float, default=50, help="backwards above which only --few subjects run")
    parser.add_argument("--few", type=int, default=5, help="subjects of the demo model for methods with so many")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("quality.csv"), help="file for all rows")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CircuitStoreWarning)
    done: set[tuple[str, ...]] = set()
    if args.out.exists():
        with args.out.open(newline="") as file:
            done = {tuple(row[name] for name in (*FIELDS[:4], "row")) for row in csv.DictReader(file)}
    with args.out.open("a", newline="") as file:
        table = csv.DictWriter(file, FIELDS)
        if file.tell() == 0:
            table.writeheader()
        for row in new_rows(args, done):
            table.writerow(row)
            file.flush()


if __name__ == "__main__":
    main()
