"""Defences against attacks on the demo model, as means over seeds.

    python benchmarks/defence.py [--spec examples/defence.toml] [--seeds 4] [--store FOLDER]
    python benchmarks/defence.py --budgets

Runs the study of the spec with each seed, which decides the word of each class, the candidates' order and random starts
of attacks. The images of a split are the same for all seeds. The output is a row per attack and defence with the mean
accuracy in per cent under each condition, (smallest to largest over seeds), and, after `read`, the mean share of images
that are classified as the attack's target. A store that is given continues from what it has.

With `--budgets`, only the accuracy of the model without a defence on report images, by the budget of FGSM and PGD.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import circuitstore as cs
import numpy as np
import pandas as pd
import torch
from circuitstore.images import CONDITIONS, Predictions, open_source
from circuitstore.ingest import defend, load_spec

BUDGETS = ("1/255", "2/255", "3/255", "4/255", "6/255", "8/255")
EXAMPLE = Path(__file__).parents[1] / "examples" / "defence.toml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path, default=EXAMPLE)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--budgets", action="store_true", help="only the model without a defence, by budget")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.budgets:
        print(budgets().to_string(index=False, float_format="{:.1f}".format))
        return
    spec, tables = load_spec(args.spec), []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.seeds):
            one = spec.model_copy(update={"seed": seed, "name": f"{spec.name}-{seed}"})
            result = defend(one, location=args.store or folder)
            tables.append(result.table.frame.assign(seed=seed))
            print(*result.table.notes, sep="\n", flush=True)
    print(averaged(pd.concat(tables)).to_string(index=False))


def budgets() -> pd.DataFrame:
    """Return the accuracy in per cent of the demo model on report images, a row per budget."""
    model = cs.load_model("digits")
    source = open_source("digits", model)
    predictions, rows = Predictions(source, model), []
    for eps in BUDGETS:
        row: dict[str, object] = {"eps": eps}
        for kind, params in (("fgsm", {}), ("pgd", {"steps": 20})):
            attack, hits = CONDITIONS.resolve(kind, {"eps": eps, **params}), []
            for cls in source.classes:
                refs = [ref for ref in source.candidates(cls) if source.split_of(ref) == "report"]
                hits.append(predictions.of(cls, refs, attack) == cls.class_index)
            row[kind] = 100 * np.concatenate(hits).mean()
        rows.append(row)
    return pd.DataFrame(rows)


def averaged(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per attack and defence, and a column per condition, with means over seeds."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    keys = ["against", "defence", "condition", "attacker"]
    for (against, defence, condition, attacker), cells in table.groupby(keys, sort=False):
        row = rows.setdefault((against, defence), {"against": against, "defence": defence})
        accuracy, read = 100 * cells["accuracy"], 100 * cells["read"].mean()
        text = f"{accuracy.mean():.1f} ({accuracy.min():.1f} to {accuracy.max():.1f})"
        name = condition + (" (knows)" if attacker == "defence" else "")
        row[name] = text if pd.isna(read) else f"{text} read {read:.1f}"
    return pd.DataFrame(list(rows.values())).fillna("")


if __name__ == "__main__":
    main()
