"""What read-outs show on the model of the digits under a typographic attack; figures in docs/readouts.md."""

from __future__ import annotations

from dataclasses import dataclass

import circuitstore as cs
import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytestmark = pytest.mark.slow
CLASSES = ("two", "three", "seven", "eight")


@dataclass
class World:
    """Attacked images that are read as the written word, with their natural twins.

    Attributes:
        word: tokens of the patches that the word touches, `[image, token]`.
    """

    model: cs.models.ViT
    pairs: cs.ImagePairs
    word: np.ndarray

    def against_true(self, logits: np.ndarray) -> np.ndarray:
        """Return the logit of the written class minus that of the true one, over the last axis of read-outs."""
        rows = np.arange(len(self.pairs))
        return logits[rows, ..., self.pairs.targets] - logits[rows, ..., self.pairs.labels]

    def share(self, tokens: np.ndarray) -> float:
        """Return the share of the positive values of patches that is on the word."""
        positive = np.maximum(tokens, 0) * (np.arange(tokens.shape[1]) > 0)
        return float(((positive * self.word).sum(axis=1) / positive.sum(axis=1)).mean())


@pytest.fixture(scope="module")
def world() -> World:
    model, attack = cs.load_model("digits", dtype="float64"), cs.CONDITIONS.resolve("typographic")
    of = [cs.image_pairs("digits", model, c, 8, condition=attack, corruption="unattacked-twin") for c in CLASSES]
    clean, twin, labels, targets = (
        torch.cat([getattr(p, name) for p in of]) for name in ("clean", "corrupted", "labels", "targets")
    )
    turned = (model.logits(clean).argmax(dim=1) == targets) & (model.logits(twin).argmax(dim=1) == labels)
    assert turned.sum() > 24
    pairs = cs.ImagePairs.of(model, clean[turned], twin[turned], labels[turned], targets[turned])
    changed = (pairs.clean != pairs.corrupted).any(dim=1, keepdim=True).double()
    patches = F.max_pool2d(changed, model.module.patch_embed.patch_size).flatten(1).bool().numpy()
    return World(model, pairs, np.concatenate([np.zeros((len(pairs), 1), bool), patches], axis=1))


def test_the_word_replaces_the_digit_on_the_way(world):
    def tops(images: torch.Tensor, classes: torch.Tensor) -> np.ndarray:
        return (cs.logit_lens(world.model, images).values.argmax(axis=2) == classes.numpy()[:, None]).mean(axis=0)

    true, word = world.pairs.labels, world.pairs.targets
    natural, attacked = tops(world.pairs.corrupted, true), tops(world.pairs.clean, true)
    assert natural[0] < 0.5 and natural[-1] == 1 and attacked[-1] == 0
    assert (np.diff(natural) > -0.1).all()  # the digit is decided step by step
    assert tops(world.pairs.clean, word)[-1] == 1 and (tops(world.pairs.clean, word)[1:] > 0.5).all()


def test_the_lens_of_single_patches_does_not_show_the_word(world):
    lens = cs.logit_lens(world.model, world.pairs.clean, tokens="each").select(point="resid_post.3")
    top = lens.values.argmax(axis=2) == world.pairs.targets.numpy()[:, None]
    assert top[world.word].mean() < 0.5


def test_direct_logits_of_heads_come_from_the_word(world):
    tokens = world.against_true(cs.logit_attribution(world.model, world.pairs.clean, by="source-token").values).sum(
        axis=(1, 2)
    )
    patches = np.arange(tokens.shape[1]) > 0
    inside, outside = (tokens * world.word).sum(axis=1), (tokens * (~world.word & patches)).sum(axis=1)
    assert inside.mean() > 0.5 and outside.mean() < 0 and abs(tokens[:, 0].mean()) < 0.1
    assert world.share(tokens) > 3 * world.word[:, 1:].mean()


def test_maps_of_the_metric_are_on_the_word_and_flow_is_not(world):
    model, pairs, area = world.model, world.pairs, world.word[:, 1:].mean()
    relevance = cs.attention_relevance(model, pairs, metric="logit-diff").values
    product = cs.attention_times_gradient(model, pairs, metric="logit-diff").values.sum(axis=(1, 2))
    flow = cs.attention_flow(model, pairs.clean[:4]).values
    assert world.share(relevance) > 4 * area and world.share(product) > 4 * area
    assert (np.maximum(flow, 0) * world.word[:4])[:, 1:].sum() / flow[:, 1:].sum() < 1.5 * area


def test_an_affine_lens_of_other_images_is_nearer_to_the_answer(world):
    model, fit, read = world.model, world.pairs.corrupted[::2], world.pairs.corrupted[1::2]
    plain = cs.lens_divergence(cs.logit_lens(model, read)).mean().values
    affine = cs.lens_divergence(cs.fit_affine_lens(model, fit).read(model, read)).mean().values
    assert affine[2:-1].mean() < plain[2:-1].mean() and affine[-1] == 0
