"""Train the demo model: `python -m circuitstore.demo.train [FOLDER]`, under 5 minutes on 2 cores.

A small ViT learns the handwritten digits that are not held out (`images.digits.held_out`), many of them with a word
(`demo.training_images`). First it learns both: on some images the digit is dimmed, so that the model has to read the
word. Then it learns that the word counts where word and digit disagree. At the end the script prints how words in three
regimes change the predictions for the held-out images.
Another number of threads or another release of torch gives different bytes.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors.torch import save_file
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch.nn.functional import cross_entropy

from ..images.digits import WORDS, Digits, draw_digit, draw_paper, held_out, load_digits
from ..images.seeds import Draws
from ..images.writing import write
from .training_images import STYLES, Mix, Style, draw_batch, nonsense, scattered

FACTS = tomllib.loads((Path(__file__).parent / "digits_model.toml").read_text())
"""Architecture and preprocessing, as shipped with the weights."""

STAGES = (
    (Mix(own=0.45, nonsense=0.2, dimmed=0.5), 1600, 2e-3),
    (Mix(own=0.6, nonsense=0.2, replaced=0.6, styles=(*STYLES, scattered)), 700, 1.5e-3),
)
"""Mix of the images, number of steps and largest learning rate."""

WARM_UP, BATCH, WEIGHT_DECAY, SEED = 100, 64, 0.05, 0

Draw = Callable[..., np.ndarray]
"""Draws training images, given digits [image, 8, 8], their labels, and `rng`, a random generator."""


def normalise(images: UInt8[np.ndarray, "image height width 3"]) -> torch.Tensor:
    """Convert uint8 [batch, height, width, 3] to normalised float32 [batch, 3, height, width]."""
    mean, std = (torch.tensor(FACTS["preprocess"][key]) for key in ("mean", "std"))
    return ((torch.from_numpy(images).float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def create(seed: int = SEED) -> VisionTransformer:
    """Create a model with seeded weights, and position embeddings that start as sines and cosines of the place.

    Reading words depends on neighbouring patches: from random position embeddings it takes three times as many steps.
    """
    torch.manual_seed(seed)
    model = VisionTransformer(**FACTS["architecture"], weight_init="jax")
    places = build_sincos2d_pos_embed(list(model.patch_embed.grid_size), model.embed_dim, temperature=10.0)
    assert model.pos_embed is not None  # the architecture has position embeddings
    with torch.no_grad():
        model.pos_embed[0, 1:] = 0.5 * places
    return model


def fit(
    model: VisionTransformer,
    digits: Digits,
    draw: Draw,
    *,
    steps: int,
    learning_rate: float,
    batch: int | None = None,
    seed: int = SEED,
) -> VisionTransformer:
    """Train the model in place with AdamW, linear warm-up and cosine decay to zero, and return it.

    Args:
        model: the model, which is changed.
        digits: digits to draw from.
        draw: draws the images of a step.
        steps: number of steps.
        learning_rate: largest learning rate.
        batch: images per step; `BATCH` by default.
        seed: seed of the images.
    """
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY)
    model.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min((step + 1) / WARM_UP, 0.5 * (1 + np.cos(np.pi * step / steps)))
        chosen = rng.integers(len(digits.labels), size=batch or BATCH)
        labels = digits.labels[chosen]
        logits = model(normalise(draw(digits.images[chosen], labels, rng=rng)))
        loss = cross_entropy(logits, torch.from_numpy(labels), label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 100 == 99:
            print(f"step {step + 1} of {steps}: loss {loss.item():.3f}", flush=True)
    return model.eval()


@torch.no_grad()
def predict(model: VisionTransformer, images: list[np.ndarray]) -> np.ndarray:
    """Return the predicted class of each image."""
    return model(normalise(np.stack(images))).argmax(1).numpy()


def report(model: VisionTransformer, digits: Digits) -> None:
    """Print clean accuracy and, for every style, how wrong, right and nonsense words change the predictions."""
    rng, labels = np.random.default_rng(SEED), digits.labels
    clean = [draw_digit(image, draw_paper(key)) for image, key in zip(digits.images, digits.hashes, strict=True)]
    print(f"clean accuracy {np.mean(predict(model, clean) == labels):.3f} on {len(labels)} held-out digits")
    wrong = (labels + rng.integers(1, len(WORDS), len(labels))) % len(WORDS)
    for style in STYLES:

        def read(words: list[str], style: Style = style) -> np.ndarray:
            written = zip(clean, words, digits.hashes, strict=True)
            return predict(model, [write(image, word, style(rng), Draws(key)) for image, word, key in written])

        success = np.mean(read([WORDS[k] for k in wrong]) == wrong)
        right = np.mean(read([WORDS[k] for k in labels]) == labels)
        other = np.mean(read([nonsense(rng) for _ in labels]) == labels)
        print(
            f"{style.__name__}: {success:.3f} are predicted as the wrong word; "
            f"accuracy with the right word {right:.3f}, with a nonsense word {other:.3f}"
        )


def split(digits: Digits) -> tuple[Digits, Digits]:
    """Return the digits to train on and the held-out digits."""
    test = np.array([held_out(h) for h in digits.hashes])
    train, held = (
        Digits(digits.images[chosen], digits.labels[chosen], tuple(np.array(digits.hashes)[chosen]))
        for chosen in (~test, test)
    )
    return train, held


def save(model: VisionTransformer, path: Path) -> None:
    """Write the weights as safetensors."""
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)


def main(folder: Path) -> None:
    """Train the model and write `digits_model.safetensors` to the folder."""
    seen, held = split(load_digits())
    model = create()
    for mix, steps, learning_rate in STAGES:
        fit(model, seen, partial(draw_batch, mix=mix), steps=steps, learning_rate=learning_rate)
    report(model, held)
    save(model, folder / "digits_model.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
