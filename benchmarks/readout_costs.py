"""CPU time and peak memory of every read-out, compared with a plain forward pass of the same images.

Each read-out with its default parameters runs in its own process, on one thread, on a timm model with random weights
and noise. CPU time is in plain forward passes (the fastest of three). Memory is the largest resident memory during the
read-out minus that before it, so it includes the result (Linux with glibc only). Passes (forward + backward, per image)
are those that the kind states. Read-outs of many passes are slow: use a smaller model for them.

    python benchmarks/readout_costs.py --only logit-lens footprint
    python benchmarks/readout_costs.py --model vit_small_patch32_224 --images 1 --only rise stream-patching
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import circuitstore as cs
import numpy as np
import torch
from circuitstore.circuits import Circuit, Neurons, random_circuit
from circuitstore.circuits.recipe import Scalar
from circuitstore.evaluation import READOUTS, ReadoutKind, measure
from circuitstore.models import ViT, n_neurons

PLAIN = "a plain forward pass"
PARTS = ("head", "source-token", "neuron")
ROWS: Mapping[str, tuple[str, Mapping[str, Scalar]]] = {
    **{key: (key, {"circuit": f"a {kind.about}"} if kind.about else {}) for key, kind in READOUTS.items()},
    "logit-lens, each token": ("logit-lens", {"tokens": "each"}),
    **{f"logit-attribution, {part}": ("logit-attribution", {"by": part}) for part in PARTS},
    "attention-rollout, each query": ("attention-rollout", {"queries": "each"}),
    "footprint, source-token": ("footprint", {"by": "source-token"}),
}
"""The kind and the parameters of each row."""


def measured(action: Callable[[], object]) -> tuple[float, float]:
    """Return CPU seconds, and MiB by which resident memory rises in between."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # memory that earlier work has freed would hide what is needed now
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak to the current value
    before, started = memory("VmRSS"), time.process_time()
    action()
    return time.process_time() - started, memory("VmHWM") - before


def memory(name: str) -> float:
    """Return an entry of the process's status in MiB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) / 2**10


def circuit_for(model: ViT, kind: ReadoutKind) -> Circuit | None:
    """Return what a kind of read-out is about: a random circuit of 100 edges, or the first neuron of each MLP."""
    if kind.about is None:
        return None
    if kind.about == "circuit":
        return random_circuit(model.graph("split"), 100, seed=0)
    neurons = Neurons(model.n_layers, n_neurons(model))
    return Circuit(neurons, np.arange(neurons.n_edges) % neurons.width == 0)


def row(args: argparse.Namespace) -> None:
    """Print one row's figures as JSON."""
    model = cs.load_model(f"timm:{args.model}", seed=0)
    images = torch.randn(2, args.images, 3, *model.image_size, generator=torch.Generator().manual_seed(0))
    plain = [measured(lambda: model.logits(images[0])) for _ in range(3)]
    fastest, (seconds, peak), passes = min(plain)[0], plain[0], (1, 0)
    if args.row != PLAIN:
        kind, use = READOUTS[ROWS[args.row][0]], READOUTS.resolve(*ROWS[args.row])
        pairs = measure(model, cs.ImagePairs.of(model, *images, model.logits(images[0]).argmax(dim=1)), "logit")
        about = circuit_for(model, kind)
        seconds, peak = measured(lambda: kind.read(model, pairs, use, cs.Execution(batch_size=args.images), about))
        passes = kind.passes(model, **dict(use.params))
    print(json.dumps({"passes": passes, "ratio": seconds / fastest, "peak": peak, "plain": fastest / args.images}))


def table(args: argparse.Namespace) -> None:
    """Print the figures of every read-out."""
    command = [sys.executable, __file__, "--model", args.model, "--images", str(args.images), "--row"]
    print("| read-out | passes per image | CPU ÷ plain pass | peak memory, MiB |\n|---|---|---|---|")
    for name in args.only or (PLAIN, *ROWS):
        run = subprocess.run([*command, name], stdout=subprocess.PIPE, check=True, text=True)
        found = json.loads(run.stdout)
        forwards, backwards = found["passes"]
        print(f"| {name} | {forwards:g} + {backwards:g} | {found['ratio']:.1f} | {found['peak']:.0f} |", flush=True)
    print(f"a plain forward pass takes {1000 * found['plain']:.0f} ms of CPU time per image")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_small_patch16_224", help="a timm ViT, with random weights")
    parser.add_argument("--images", type=int, default=4, help="in one batch")
    parser.add_argument("--only", nargs="+", choices=(PLAIN, *ROWS), help="only these read-outs")
    parser.add_argument("--row", choices=(PLAIN, *ROWS), help="only this read-out, as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    (row if args.row else table)(args)


if __name__ == "__main__":
    main()
