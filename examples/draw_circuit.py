"""Draw a circuit of a store as an SVG file; the picture in the README is made so, from the demo's store.

    python examples/draw_circuit.py --class three --out docs/images/circuit.svg

Of several circuits that fit, the first by class, condition and recipe is drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import circuitstore as cs
from circuitstore.analysis import draw_circuit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="circuitstore-data")
    parser.add_argument("--class", dest="name", required=True)
    parser.add_argument("--attack", default="natural")
    parser.add_argument("--metric", default="logit")
    parser.add_argument("--most", type=int, default=120, help="draw at most so many edges, the strongest")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()

    with cs.open_store(given.store) as store:
        found = store.circuits(**{"class": given.name, "attack": given.attack, "metric": given.metric})
        if found.empty:
            parser.error(f"no such circuit; the store has the classes {', '.join(store.circuits()['class'].unique())}")
        record = store.circuit(found["id"].iloc[0])
    label = f"{given.name} under {record.item.condition.kind} images, {record.item.model.name}"
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(draw_circuit(record.circuit, record.score, label=label, most=given.most), encoding="utf-8")
    print(given.out)


if __name__ == "__main__":
    main()
