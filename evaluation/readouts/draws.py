"""Random choices for an image that depend on its content and a seed, never on the other images or the batch."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import torch

from ..pairs import ImagePairs


def image_rngs(pairs: ImagePairs, seed: int, purpose: str) -> list[np.random.Generator]:
    """Return a random generator for each image, seeded by the image's content, a seed and a purpose.

    The content is the hash in the pairs, which an image and its attacked twin share; without hashes, the pixels.
    """
    contents = pairs.hashes or [
        image.view(torch.uint8).numpy().tobytes() for image in pairs.clean.detach().cpu().contiguous()
    ]
    return [np.random.default_rng(_entropy(content, seed, purpose)) for content in contents]


def _entropy(content: str | bytes, seed: int, purpose: str) -> int:
    data = content.encode() if isinstance(content, str) else content
    return int.from_bytes(sha256(f"{purpose}\x1f{seed}\x1f".encode() + data).digest())
