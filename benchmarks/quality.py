"""How good every method's circuits are, and what they cost: on the demo model and on planted models.

Every method scores, or selects, on discovery images; circuits of growing size are evaluated on report images.

- `cpr` (circuits grown greedily by signed score) and `cmd` (by magnitude) of MIB, on the geometric grid of sizes;
  `log_cmd` the same over the logarithm of the size, where small circuits weigh as much as large ones.
- `p_noising`, `p_denoising`: the share of the k best edges by magnitude that are among the k best of exact noising or
  denoising on the same images, k a twentieth of all edges (planted: as many as were planted).
- `planted`: the share of planted edges among the k best.
- `size80`: edges of the smallest circuit (by magnitude) that keeps 80 % of the accuracy (planted: of the metric).
- `alone`: for methods that select, the size and faithfulness of their own circuit.
- `forwards`, `backwards`: passes an image pair, as `estimate_cost` counts them; `seconds` of one core in all.

    python benchmarks/quality.py --form attention --classes three seven --seeds 3 --out quality.csv
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from circuitstore.analysis.curves import faithfulness_curve
from circuitstore.circuits import EdgeScores
from circuitstore.discovery import METHODS, Images, discover, estimate_cost, evaluate, resolve_method, score_edges
from circuitstore.errors import CircuitStoreWarning
from circuitstore.images import build_set, class_cycle, open_source, resolve_condition, resolve_corruption
from circuitstore.images import select_images as select
from circuitstore.models import ViT, load_model
from planted import plant

SHARE = 0.05


@dataclass(frozen=True)
class Subject:
    """A model with its three splits; `truth`: planted edges of the form, if any."""

    name: str
    model: ViT
    splits: dict[str, Images]
    truth: frozenset[str] = frozenset()


def digits(names: list[str], per_class: int) -> Iterator[Subject]:
    """Classes of the demo model, each contrasted with the next class."""
    model = load_model("digits")
    source = open_source("digits", model)
    natural, corruption = resolve_condition("natural", {}), resolve_corruption("other-class", {})
    cycle = class_cycle(source.classes, 0)
    options = {"per_class": per_class, "rule": "correct", "seed": 0, "condition": natural}
    for name in names:
        cls = source.class_named(name)
        partner = cycle[(cycle.index(cls) + 1) % len(cycle)]
        own, others = select(source, model, cls, **options), select(source, model, partner, **options)
        splits = {}
        for split in ("discovery", "selection", "report"):
            refs, partners = getattr(own, split), getattr(others, split)
            made = build_set(source, model, cls, refs, natural, corruption, seed=0, partners=partners)
            splits[split] = Images(made.clean, made.corrupted, made.labels)
        yield Subject(f"digits, {name}", model, splits)


def planted(form: str, seeds: int) -> Iterator[Subject]:
    """Every gate with and without distractors, by seed."""
    for gate, distractors in (("chain", False), ("chain", True), ("and", True), ("or", False), ("or", True)):
        for seed in range(seeds):
            made = plant(gate, distractors=distractors, seed=seed)
            fine = made.model.graph("split")
            coarse = fine.projection(form)  # pyright: ignore[reportArgumentType]
            names = made.model.graph(form).edge_names  # pyright: ignore[reportArgumentType]
            truth = frozenset(names[coarse[fine.index_of(edge)]] for edge in made.edges)
            splits = {
                split: Images(*made.images(16, 10 * seed + i), torch.zeros(16, dtype=torch.long))
                for i, split in enumerate(("discovery", "selection", "report"))
            }
            yield Subject(f"planted, {made.name}, {seed}", made.model, splits, truth)


MODES = [f"{method}+{mode}" for method in ("eap", "eap-ig") for mode in ("relp", "gim")]
"""Of the gradient modes: by default beside the plain gradient."""


def best(scores: EdgeScores, k: int) -> set[int]:
    """The k best edges by magnitude; those that score nothing are none."""
    value = np.abs(scores.mean)
    order = np.argsort(-value, kind="stable")[:k]
    return set(order[value[order] > 1e-12 * value.max(initial=0)].tolist())


def measure(subject: Subject, key: str, form: str, exact: dict[str, EdgeScores], batch: int) -> dict[str, object]:
    """One row; `key` is a method, with a gradient mode after a plus."""
    model, found_on, report = subject.model, subject.splits["discovery"], subject.splits["report"]
    method, _, mode = key.partition("+")
    params = {"gradient": mode} if mode else {}
    began = time.process_time()
    found = discover(
        model,
        *found_on[:3],
        method=method,
        form=form,
        selection=subject.splits["selection"],
        batch_size=batch,
        **params,
    )  # pyright: ignore[reportArgumentType]
    took = time.process_time() - began
    cost = estimate_cost(found.graph, resolve_method(method, params), 1)
    row = {"subject": subject.name, "method": key, "forwards": cost.forwards, "backwards": cost.backwards}
    row |= {"seconds": round(took, 2)}
    if found.members is not None:
        alone = evaluate(model, found.circuit, *report[:3])
        row |= {"alone": found.circuit.n_edges, "alone_faithfulness": alone.faithfulness}
    if found.scores is None:
        return row
    by_sign, by_size = (
        faithfulness_curve(model, found.scores, *report[:3], absolute=absolute, batch_size=batch)
        for absolute in (False, True)
    )
    k = len(subject.truth) or round(SHARE * found.graph.n_edges)
    mine = best(found.scores, k)
    row |= {f"p_{direction}": len(mine & best(scores, k)) / k for direction, scores in exact.items()}
    row |= {"cpr": by_sign.cpr, "cmd": by_size.cmd, "log_cmd": by_size.log_cmd}
    row["size80"] = by_size.smallest(0.8, "faithfulness" if subject.truth else "retention")
    if subject.truth:
        row["planted"] = len({found.graph.edge_names[edge] for edge in mine} & subject.truth) / k
    return row


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", default="attention")
    parser.add_argument("--classes", nargs="*", default=["three", "seven"], help="of the demo model")
    parser.add_argument("--per-class", type=int, default=48, help="images of a class over the three splits")
    parser.add_argument("--seeds", type=int, default=1, help="planted models of each kind")
    parser.add_argument("--methods", nargs="*", help="such as eap or eap+relp; by default all that know the form")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--out", help="a file for all rows")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CircuitStoreWarning)
    keys = asked.methods or [key for key, method in METHODS.items() if asked.form in method.forms] + MODES
    rows = []
    for subjects in (digits(asked.classes, asked.per_class), planted(asked.form, asked.seeds)):
        for subject in subjects:
            images = subject.splits["discovery"][:3]
            options = {"method": "exact", "form": asked.form, "batch_size": asked.batch}
            exact = {
                direction: score_edges(subject.model, *images, direction=direction, **options)
                for direction in ("noising", "denoising")
            }
            for key in keys:
                rows.append(measure(subject, key, asked.form, exact, asked.batch))
                print(rows[-1], flush=True)
    frame = pd.DataFrame(rows)
    if asked.out:
        frame.to_csv(asked.out, index=False)
    kind = frame["subject"].str.replace(r", (\d+|[a-z]+)$", "", regex=True)
    table = frame.drop(columns="subject").groupby([kind, "method"], sort=False).mean(numeric_only=True)
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
