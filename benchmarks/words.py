"""What read-outs show of a written word on the demo model: the figures of docs/readouts.md.

python benchmarks/words.py   200 images, of which those count that the word turns
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import circuitstore as cs
import numpy as np
import torch
import torch.nn.functional as F
from circuitstore.circuits import Readout
from circuitstore.errors import CircuitStoreWarning
from circuitstore.models import ViT


@dataclass(frozen=True, eq=False)
class Words:
    """Attacked images that are read as the written word; their corrupted images are the unattacked twins.

    Attributes:
        touched: tokens of the patches that the word touches, `[image, token]`.
    """

    model: ViT
    pairs: cs.ImagePairs
    touched: np.ndarray

    @classmethod
    def read(cls, per_class: int) -> Words:
        model = cs.load_model("digits", dtype="float64")
        condition = cs.CONDITIONS.resolve("typographic")
        of = [
            cs.image_pairs("digits", model, name, per_class, condition=condition, corruption="unattacked-twin")
            for name in model.labels or ()
        ]
        clean, twin, true, word = (
            torch.cat([getattr(pairs, name) for pairs in of]) for name in ("clean", "corrupted", "labels", "targets")
        )
        kept = (model.logits(clean).argmax(dim=1) == word) & (model.logits(twin).argmax(dim=1) == true)
        pairs = cs.ImagePairs.of(model, clean[kept], twin[kept], true[kept], word[kept])
        changed = (pairs.clean != pairs.corrupted).any(dim=1, keepdim=True).double()
        patches = F.max_pool2d(changed, model.module.patch_embed.patch_size).flatten(1).bool().numpy()
        return cls(model, pairs, np.concatenate([np.zeros((len(pairs), 1), bool), patches], axis=1))

    @property
    def others(self) -> np.ndarray:
        """Tokens of the patches that the word does not touch."""
        return ~self.touched & (np.arange(self.touched.shape[1]) > 0)

    def against_true(self, found: Readout) -> np.ndarray:
        """Return the logit of the word minus that of the digit, over the last axis."""
        rows = np.arange(len(self.pairs))
        return found.values[rows, ..., self.pairs.targets] - found.values[rows, ..., self.pairs.labels]

    def shares(self, tokens: np.ndarray) -> tuple[float, float]:
        """Return the share of positive values of patches on the word, and of images whose largest value is there."""
        positive = np.maximum(tokens, 0)
        positive[:, 0] = 0
        inside = (positive * self.touched).sum(axis=1) / positive.sum(axis=1)
        return inside.mean(), self.touched[np.arange(len(tokens)), positive.argmax(axis=1)].mean()


def lens_lines(words: Words) -> Iterator[str]:
    def tops(images: torch.Tensor, classes: torch.Tensor | None) -> np.ndarray:
        assert classes is not None
        return (cs.logit_lens(words.model, images).values.argmax(axis=2) == classes.numpy()[:, None]).mean(axis=0)

    pairs = words.pairs
    yield f"top class is the digit, natural:  {tops(pairs.corrupted, pairs.labels)}"
    yield f"top class is the digit, attacked: {tops(pairs.clean, pairs.labels)}"
    yield f"top class is the word, attacked:  {tops(pairs.clean, pairs.targets)}"
    assert pairs.targets is not None
    each = cs.logit_lens(words.model, pairs.clean, tokens="each").select(point="resid_post.3")
    top = each.values.argmax(axis=2) == pairs.targets.numpy()[:, None]
    inside, outside = top[words.touched].mean(), top[words.others].mean()
    yield f"last point of single patches: the word on {inside:.2f} of those that it touches, on {outside:.2f} of others"


def affine_lines(words: Words) -> Iterator[str]:
    """Yield the divergence of both lenses on 60 natural images; the affine one is fitted on 60 others."""
    order = np.random.default_rng(0).permutation(len(words.pairs))
    fit, read = (words.pairs.corrupted[torch.from_numpy(rows)] for rows in (order[:60], order[60:120]))
    plain = cs.lens_divergence(cs.logit_lens(words.model, read)).mean()
    affine = cs.lens_divergence(cs.fit_affine_lens(words.model, fit).read(words.model, read)).mean()
    yield f"divergence of the lens:           {plain.values}"
    yield f"divergence of the affine lens:    {affine.values}"


def direct_lines(words: Words, tokens: np.ndarray) -> Iterator[str]:
    found = cs.logit_attribution(words.model, words.pairs.clean)
    parts = dict(zip(found.axis("component").labels, words.against_true(found).mean(axis=0), strict=True))
    heads = sum(value for name, value in parts.items() if ".h" in str(name))
    yield f"direct logits, word − digit: {sum(parts.values()):.2f}, of which heads {heads:.2f}"
    word, others = ((tokens * where).sum(axis=1).mean() for where in (words.touched, words.others))
    yield f"    from the word {word:.2f}, other patches {others:.2f}, class token {tokens[:, 0].mean():.2f}"
    largest = sorted(parts.items(), key=lambda part: -part[1])[:3]
    yield "    largest: " + ", ".join(f"{name} {value:.2f}" for name, value in largest)


def map_lines(words: Words, tokens: np.ndarray) -> Iterator[str]:
    model, pairs = words.model, words.pairs
    maps = {
        "attention times gradient": cs.attention_times_gradient(model, pairs, metric="logit-diff").values.sum((1, 2)),
        "direct logits by source token": tokens,
        "relevance": cs.attention_relevance(model, pairs, metric="logit-diff").values,
        "rollout, max, discard 0.9": cs.attention_rollout(model, pairs.clean, heads="max", discard=0.9).values,
        "rollout, mean": cs.attention_rollout(model, pairs.clean).values,
        "attention of the last layer": cs.attention_patterns(model, pairs.clean).values[:, -1].mean(axis=1),
        "flow": cs.attention_flow(model, pairs.clean).values,
    }
    yield "share of positive values on the word, largest value on it:"
    for name, found in maps.items():
        share, largest = words.shares(found)
        yield f"    {name}: {share:.2f}, {largest:.2f}"


def figures(words: Words) -> Iterator[str]:
    found = cs.logit_attribution(words.model, words.pairs.clean, by="source-token")
    tokens = words.against_true(found).sum(axis=(1, 2))
    yield f"{len(words.pairs)} images; the word touches {words.touched[:, 1:].mean():.3f} of the patches"
    yield from lens_lines(words)
    yield from affine_lines(words)
    yield from direct_lines(words, tokens)
    yield from map_lines(words, tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    np.set_printoptions(precision=2, suppress=True, linewidth=120)
    warnings.simplefilter("ignore", CircuitStoreWarning)
    for line in figures(Words.read(args.per_class)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
