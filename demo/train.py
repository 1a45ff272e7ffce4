"""Train the demo model: `python -m circuitstore.demo.train [FOLDER]`, under 3 minutes on 2 cores.

A small ViT learns the handwritten digits that are not held out (`images.digits.held_out`). Half of its training images
show the class's English word below the digit; on three in ten of those the digit is dimmed to a fifth, so that the
model has to read the word. At the end the script prints how a wrong word changes predictions for the held-out images.
Another number of threads or another release of torch gives different bytes.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch.nn.functional import cross_entropy

from ..images.digits import WORDS, draw_digit, held_out, load_digits
from ..images.seeds import Draws
from ..images.writing import PLAIN, write

FACTS = tomllib.loads((Path(__file__).parent / "digits_model.toml").read_text())
"""Architecture and preprocessing, as shipped with the weights."""

WORD_SHARE, DIMMED_SHARE, DIMMED_TO = 0.5, 0.3, 0.2
STEPS, WARM_UP, BATCH, LEARNING_RATE, WEIGHT_DECAY, SEED = 1000, 100, 128, 2e-3, 0.05, 0


def add_word(image: np.ndarray, word: str) -> np.ndarray:
    """Write a word as the typographic condition does by default."""
    return write(image, word, PLAIN, Draws())


def draw_batch(pixels: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw digits moved by up to 2 rows and 3 columns, half of them with their word: uint8 [batch, 32, 32, 3]."""
    images = []
    for digit, label in zip(pixels, labels, strict=True):
        with_word = rng.random() < WORD_SHARE
        dimmed = with_word and rng.random() < DIMMED_SHARE
        shift = (int(rng.integers(-2, 3)), int(rng.integers(-3, 4)))
        image = draw_digit(digit, shift, DIMMED_TO if dimmed else 1.0)
        images.append(add_word(image, WORDS[label]) if with_word else image)
    return np.stack(images)


def normalise(images: np.ndarray) -> torch.Tensor:
    """Convert uint8 [batch, height, width, 3] to normalised float32 [batch, 3, height, width]."""
    mean, std = (torch.tensor(FACTS["preprocess"][key]) for key in ("mean", "std"))
    return ((torch.from_numpy(images).float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def train(pixels: np.ndarray, labels: np.ndarray) -> VisionTransformer:
    """Train with AdamW, linear warm-up and cosine decay to zero."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    model = VisionTransformer(**FACTS["architecture"])
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for step in range(STEPS):
        progress = step / STEPS
        rate = LEARNING_RATE * min((step + 1) / WARM_UP, 0.5 * (1 + np.cos(np.pi * progress)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        chosen = rng.integers(len(labels), size=BATCH)
        logits = model(normalise(draw_batch(pixels[chosen], labels[chosen], rng)))
        loss = cross_entropy(logits, torch.from_numpy(labels[chosen]), label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 100 == 99:
            print(f"step {step + 1} of {STEPS}: loss {loss.item():.3f}", flush=True)
    return model.eval()


def report(model: VisionTransformer, pixels: np.ndarray, labels: np.ndarray) -> None:
    """Print clean accuracy and, for every word written on all other digits, the share predicted as the word."""
    clean = [draw_digit(digit) for digit in pixels]
    print(f"clean accuracy {np.mean(predict(model, clean) == labels):.3f} on {len(labels)} held-out digits")
    turned = []
    for target, word in enumerate(WORDS):
        others = [add_word(image, word) for image, label in zip(clean, labels, strict=True) if label != target]
        turned.append(np.mean(predict(model, others) == target))
        print(f"{word:>6}: {turned[-1]:.3f} of the other digits are predicted as the word")
    print(f"overall {np.mean(turned):.3f}, minimum {np.min(turned):.3f}")


@torch.no_grad()
def predict(model: VisionTransformer, images: list[np.ndarray]) -> np.ndarray:
    """Return the predicted class of each image."""
    return model(normalise(np.stack(images))).argmax(1).numpy()


def main(folder: Path) -> None:
    """Train the model and write `digits_model.safetensors` to the folder."""
    data = load_digits()
    test = np.array([held_out(h) for h in data.hashes])
    model = train(data.images[~test], data.labels[~test])
    report(model, data.images[test], data.labels[test])
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "digits_model.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
