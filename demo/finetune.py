"""Fine-tune the demo model: `python -m circuitstore.demo.finetune MIX FILE`, 2 minutes on 2 cores.

MIX is one of `MIXES`: what the images of the fine-tuning show. `plain` leaves words out, `control` continues as the
model was trained, and `random` writes the words of random digits. Read the weights in FILE with
`load_model("digits", checkpoint=FILE)`. A comparison of `plain` or `random` with the shipped model also needs
`control`: any fine-tuning changes many edges.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

from ..images.digits import load_digits
from .train import FACTS, STAGES, fit, report, save, split
from .training_images import Mix, draw_batch

MIXES = {
    "plain": Mix(own=0.0),
    "control": STAGES[-1][0],
    "random": Mix(own=0.0, other=0.5, nonsense=0.2),
}
STEPS, LEARNING_RATE = 200, 5e-4


def main(name: str, path: Path) -> None:
    """Fine-tune the shipped model on the images of a mix and write its weights to the path."""
    seen, held = split(load_digits())
    model = VisionTransformer(**FACTS["architecture"])
    model.load_state_dict(load_file(Path(__file__).parent / "digits_model.safetensors"))
    fit(model, seen, partial(draw_batch, mix=MIXES[name]), steps=STEPS, learning_rate=LEARNING_RATE)
    report(model, held)
    save(model, path)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in MIXES:
        sys.exit(f"usage: python -m circuitstore.demo.finetune {{{','.join(MIXES)}}} FILE")
    main(sys.argv[1], Path(sys.argv[2]))
