"""Score every edge of a timm vision transformer for one class, and print the circuit of the best edges.

    python examples/score_your_model.py vit_tiny_patch16_224 photos/tabby photos/goldfinch --class-index 281

The images of the first folder are contrasted with those of the second. Without --pretrained the weights are random.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import circuitstore as cs
import numpy as np
import torch
from PIL import Image


def batch(model, folder: Path, count: int) -> torch.Tensor:
    """Read the first images of a folder, by name, as the model's input [image, 3, height, width]."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"})[:count]
    return model.preprocess.normalise(np.stack([model.preprocess.view(Image.open(file)) for file in files]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("clean", type=Path)
    parser.add_argument("corrupted", type=Path)
    parser.add_argument("--class-index", type=int, required=True)
    parser.add_argument("--pretrained", action="store_true")
    parser.add_argument("--count", type=int, default=8)
    args = parser.parse_args()

    model = cs.load_model(f"timm:{args.model}", pretrained=args.pretrained)
    clean, corrupted = (batch(model, folder, args.count) for folder in (args.clean, args.corrupted))
    count = min(len(clean), len(corrupted))
    pairs = cs.ImagePairs.of(model, clean[:count], corrupted[:count], labels=[args.class_index] * count)
    scores = cs.score_edges(model, pairs, form="head")
    circuit = scores.top(0.05)
    print(circuit)
    print(circuit.to_pandas().nsmallest(10, "rank").to_string(index=False))
    print(cs.evaluate(model, pairs, circuit))


if __name__ == "__main__":
    main()
