"""Correct a model that trusts a coloured bar, and print the accuracy of each group before and after.

    python correct.py FOLDER [--seed 0]

FOLDER is what `python -m circuitstore.demo.biased FOLDER` wrote.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import circuitstore as cs
from circuitstore.demo import bars, biased
from circuitstore.demo.train import split
from circuitstore.images.digits import load_digits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="seed of the division into discovery, selection and report")
    args = parser.parse_args()
    warnings.simplefilter("ignore", cs.CircuitStoreWarning)  # about residuals

    model = cs.load_model("digits", checkpoint=args.folder / biased.WEIGHTS)
    _, held_out = split(load_digits())
    discovery, selection, report = bars.cued_parts(model, held_out, seed=args.seed)
    print(f"discovery: {discovery}\nselection: {selection}\nreport: {report}")
    found = cs.correct_groups(model, discovery, selection, report, seed=args.seed)
    print(found)
    edit = found.row("edges").edit
    if edit is not None:
        print(f"chosen: {edit.text}; apply it with `with edit.applied(model): …`")


if __name__ == "__main__":
    main()
