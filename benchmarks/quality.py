"""How good every method's circuits are, and what they cost: on the demo model and on planted models.

Every method of the registry scores, or selects, on discovery images: with its default parameters; in the other
direction; with every gradient mode; and, if it has steps, with as many as a budget of passes allows. Beside them
random connected circuits and edges ranked by how much their senders write. What chooses a size sees selection images
alone, and all else is measured on report images. One row each, written as it comes, so that the same command goes on
where it was stopped; `quality_tables.py` tells them.

- `forwards`, `backwards`: passes an image pair, counted while it ran (`passes.py`); selection images count, too.
- `work`: all matrix products in units of one plain forward, an image pair; counted for the first subject alone.
- `cpr` (circuits grown greedily by signed score) and `cmd` (by magnitude) of MIB, on a geometric grid of sizes (ratio
  2); `log_cmd` the same over the logarithm of the size, where small circuits weigh as much as large ones.
- `p_noising`, `p_denoising`: of the k edges that exact noising or denoising of the same images scores largest in
  magnitude, the share that is among the method's k largest. k is a tenth of all edges (planted: as many as were
  planted); edges that score nothing are never among them.
- `planted`: the share of planted edges among the k largest.
- `size80`: edges of the smallest greedy circuit by magnitude that keeps 80 % of the accuracy on selection images, and
  `kept80` what it keeps on report images.
- `own_edges`, `own`, `matched`: for methods that select, the size of their own circuit, its faithfulness, and that of
  the greedy circuit of the same size from EAP-IG's scores.

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
from circuitstore.discovery.method import Found
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
    Readings,
    build_pairs,
    contrast_classes,
    deal,
    open_source,
)
from circuitstore.images import select_images as select
from circuitstore.models import GRADIENTS, ViT, load_model
from passes import Spent, counted, forward_flops
from planted import plant
from tqdm import tqdm

SHARE = 0.1
RATIO = 2
DRAWS = 5
"""Random circuits of each size."""
FIELDS = (
    "form", "kind", "subject", "seed", "method", "variant", "row", "forwards", "backwards", "work", "cpr", "cmd",
    "log_cmd", "p_noising", "p_denoising", "planted", "size80", "kept80", "own_edges", "own", "matched",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A model with its three splits; `truth`: planted edges of the form, if any."""

    kind: str
    name: str
    seed: int
    model: ViT
    splits: dict[str, ImagePairs]
    truth: frozenset[str] = frozenset()


def digits(names: list[str], seed: int, most: int) -> Iterator[Subject]:
    """Classes of the demo model; the seed draws the images and the class that each is contrasted with."""
    model = load_model("digits")
    source = open_source("digits", model)
    natural, corruption = CONDITIONS.resolve("natural", {}), CORRUPTIONS.resolve("other-class", {"partners": 1})
    for name in names:
        cls = source.class_named(name)
        (partner,) = contrast_classes(corruption, source, cls, seed=seed, most=4 * most)
        readings = Readings(source, model, seed)
        own, others = (select(readings, c, per_class=4 * most) for c in (cls, partner))
        splits = {}
        for split in ("discovery", "selection", "report"):
            refs = getattr(own, split)[:most]
            partners = deal([getattr(others, split)[:most]], len(refs))
            splits[split] = build_pairs(source, model, cls, refs, natural, corruption, seed=seed, partners=partners)
        yield Subject("digits", name, seed, model, splits)


def planted(form: str, seed: int) -> Iterator[Subject]:
    """Every gate with and without distractors."""
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
    """What is asked: a method of the registry or a baseline; `variant` tells how it departs from its defaults."""

    method: str
    variant: str = "default"
    direction: str = "noising"
    params: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        return self.method if self.variant == "default" else f"{self.method} {self.variant}"


def rows_of(asked: argparse.Namespace, model: ViT) -> Iterator[Row]:
    """All that is asked of a method, for all methods of the registry that know the form, then the baselines."""

    def wanted(key: str) -> bool:
        return key in (asked.methods or (key,)) and key not in asked.without

    for key, method in METHODS.items():
        if asked.form not in method.forms or not wanted(key):
            continue
        for direction in method.directions:
            yield Row(key, "default" if direction == "noising" else direction, direction)
        for mode in asked.modes if "gradient" in method.params else ():
            with suppress(ValueError):  # of a mode that the method does not take
                method.params["gradient"].read(mode)
                yield Row(key, mode, params={"gradient": mode})
        if "steps" in method.params:
            steps = {affordable(model, asked.form, key, budget) for budget in asked.budgets}
            for count in sorted(steps - {0, method.params["steps"].default}):
                yield Row(key, f"{count} steps", params={"steps": count})
    yield from (Row(key) for key in ("magnitude", "random") if wanted(key))


def affordable(model: ViT, form: str, key: str, budget: float) -> int:
    """The most steps whose passes, forwards and backwards together, are within the budget."""
    steps = 0
    while True:
        cost = estimate_cost(model.graph(form), METHODS.resolve(key, {"steps": steps + 1}), 1)
        if cost.forwards + cost.backwards > budget:
            return steps
        steps += 1


def largest(scores: EdgeScores, k: int) -> set[int]:
    """The k edges that score largest in magnitude; those that score nothing are none."""
    value = np.abs(scores.mean)
    order = np.argsort(-value, kind="stable")[:k]
    return set(order[value[order] > 1e-12 * value.max(initial=0)].tolist())


class Study:
    """What is asked of one subject; nothing is run twice."""

    def __init__(self, subject: Subject, form: str, batch: int, products: bool) -> None:
        self.subject, self.model, self.form, self.products = subject, subject.model, form, products
        self.execution = Execution(batch_size=batch)
        self.graph = self.model.graph(form)
        self.k = len(subject.truth) or round(SHARE * self.graph.n_edges)
        self.sizes = size_grid(self.graph.n_edges, RATIO)
        splits = subject.splits
        self.discovery, self.selection, self.report = splits["discovery"], splits["selection"], splits["report"]
        self.found = cache(self._found)

    def _found(self, row: Row) -> tuple[Found, Spent]:
        with counted(self.model, products=self.products) as spent:
            return self._ask(row), spent

    def _ask(self, row: Row) -> Found:
        options = {"form": self.form, "execution": self.execution}
        if row.method == "magnitude":
            return Found(self.graph, magnitude_scores(self.model, self.discovery, **options))
        return discover(
            self.model, self.discovery, METHODS.resolve(row.method, row.params), direction=row.direction,
            selection=self.selection, seed=self.subject.seed, **options,
        )  # fmt: skip

    def told_backwards(self, row: Row) -> float:
        """Backwards an image pair, as they are told beforehand."""
        if row.method not in METHODS:
            return 0
        return estimate_cost(self.graph, METHODS.resolve(row.method, row.params), 1).backwards

    def measured(self, row: Row) -> dict[str, object]:
        """The figures of a row."""
        found, spent = self.found(row)
        n = len(self.discovery)
        told: dict[str, object] = {"forwards": spent.forwards / n, "backwards": spent.backwards / n}
        if spent.flops is not None:
            told["work"] = spent.flops / n / forward_flops(self.model, self.discovery.clean)
        if found.scores is not None:
            told |= self._ranking(found.scores) | self._curves(found.scores) | self._size(found.scores)
        if found.members is not None:
            own = found.circuit
            like = self.found(Row("eap-ig"))[0].scores
            matched = like.greedy(own.n_edges, absolute=True)
            own_faith, matched_faith = (evaluate(self.model, self.report, c).faithfulness for c in (own, matched))
            told |= {"own_edges": own.n_edges, "own": own_faith, "matched": matched_faith}
        return told

    def _ranking(self, scores: EdgeScores) -> dict[str, object]:
        mine, told = largest(scores, self.k), {}
        for direction in DIRECTIONS:
            row = Row("exact", "default" if direction == "noising" else direction, direction)
            truth = largest(self.found(row)[0].scores, self.k)
            told[f"p_{direction}"] = len(mine & truth) / len(truth)
        if self.subject.truth:
            told["planted"] = len({self.graph.edge_names[edge] for edge in mine} & self.subject.truth) / self.k
        return told

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
        """The figures of random connected circuits: means over draws; precision is what chance gives."""
        options = {"form": self.form, "draws": DRAWS, "seed": self.subject.seed, "execution": self.execution}
        curves = random_curves(self.model, self.report, sizes=self.sizes, **options)
        chosen_on = random_curves(self.model, self.selection, **options).mean
        chance, log_cmd = self.k / self.graph.n_edges, np.mean([curve.log_cmd for curve in curves.curves])
        told = {"forwards": 0, "backwards": 0, "cpr": curves.cpr.mean(), "cmd": curves.cmd.mean(), "log_cmd": log_cmd}
        told |= {"p_noising": chance, "p_denoising": chance, "size80": chosen_on.smallest(0.8)}
        return told | ({"planted": chance} if self.subject.truth else {})


def subjects(asked: argparse.Namespace) -> Iterator[Subject]:
    """The first seed of all before the second of any."""
    for seed in range(asked.seeds):
        yield from digits(asked.classes, seed, asked.images)
        yield from planted(asked.form, seed) if asked.planted else ()


def figures(asked: argparse.Namespace, done: set[tuple[str, ...]]) -> Iterator[dict[str, object]]:
    """All rows that are not done; on the demo model, methods that take many backwards are asked of few subjects."""
    rows = list(rows_of(asked, load_model("digits")))
    groups = asked.seeds * (len(asked.classes) + 5 * asked.planted)
    with tqdm(total=groups * len(rows), unit="row", dynamic_ncols=True) as bar:
        for number, subject in enumerate(subjects(asked)):
            study = Study(subject, asked.form, asked.batch, products=number == 0)
            few = subject.kind == "digits" and number >= asked.few
            for row in rows:
                bar.set_postfix_str(f"{subject.name}, seed {subject.seed}: {row.name}")
                who = {"form": asked.form, "kind": subject.kind, "subject": subject.name, "seed": str(subject.seed)}
                if (*who.values(), row.name) not in done and not (few and study.told_backwards(row) > asked.long):
                    told = study.random() if row.method == "random" else study.measured(row)
                    yield who | {"method": row.method, "variant": row.variant, "row": row.name} | told
                bar.update()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", default="attention")
    parser.add_argument("--classes", nargs="*", default=["zero", "two", "three", "five", "seven"], help="of the demo")
    parser.add_argument("--images", type=int, default=12, help="of a class, at most, in each split")
    parser.add_argument("--seeds", type=int, default=3, help="of the images, and planted models of each kind")
    parser.add_argument("--planted", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--methods", nargs="*", help="keys of the registry, magnitude or random; by default all")
    parser.add_argument("--without", nargs="*", default=[], help="methods that are not asked")
    parser.add_argument("--modes", nargs="*", default=[m for m in GRADIENTS if m != "plain"], help="of the gradient")
    parser.add_argument("--budgets", nargs="*", type=float, default=[12, 22, 62], help="passes an image pair")
    parser.add_argument("--long", type=float, default=50, help="backwards above which --few subjects are enough")
    parser.add_argument("--few", type=int, default=5, help="subjects of the demo model for what takes so many")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("quality.csv"), help="a file for all rows")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CircuitStoreWarning)
    done: set[tuple[str, ...]] = set()
    if asked.out.exists():
        with asked.out.open(newline="") as file:
            done = {tuple(row[name] for name in (*FIELDS[:4], "row")) for row in csv.DictReader(file)}
    with asked.out.open("a", newline="") as file:
        table = csv.DictWriter(file, FIELDS)
        if file.tell() == 0:
            table.writeheader()
        for row in figures(asked, done):
            table.writerow(row)
            file.flush()


if __name__ == "__main__":
    main()
