"""Gradient attacks: pixel by pixel like another toolbox's, and within budget and range."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from circuitstore.errors import InputError
from circuitstore.images import ImageSource
from circuitstore.images.gradient_attacks import (
    BATCH,
    NORMS,
    ORDERS,
    GradientAttack,
    attack_views,
    gradient,
    perturb,
    random_offset,
    to_pixels,
    to_views,
)
from circuitstore.images.seeds import Draws
from circuitstore.models import ViT, in_dtype, load_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

Views = np.ndarray


@pytest.fixture(scope="module")
def some(digits: ImageSource) -> tuple[Views, list[int], list[str]]:
    """Views, true classes and hashes of 35 digits: more than one batch, and not a whole number of them."""
    refs = [(ref, cls) for cls in digits.classes for ref in digits.candidates(cls)[:4]][: BATCH + 3]
    views = np.stack([digits.view(ref) for ref, _ in refs])
    return views, [cls.class_index for _, cls in refs], [ref.hash for ref, _ in refs]


@pytest.fixture(scope="module")
def tiny() -> ViT:
    """A model of 8 × 8 images with two classes, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        shape = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 2, "num_classes": 2}
        module = timm.models.vision_transformer.VisionTransformer(**shape)
    options = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "crop": 1.0, "interpolation": "bicubic"}
    return load_model(module, dtype="float64", **options)


def draws(hashes: list[str]) -> list[Draws]:
    return [Draws("start", hash_) for hash_ in hashes]


class Normalised(nn.Module):
    """The demo model on pixels in [0, 1]."""

    def __init__(self, model: ViT) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        mean, std = (
            pixels.new_tensor(v).view(1, 3, 1, 1) for v in (self.model.preprocess.mean, self.model.preprocess.std)
        )
        return self.model.module((pixels - mean) / std)


@pytest.fixture(scope="module")
def classifier(digits_model: ViT):
    """The demo model as the Adversarial Robustness Toolbox sees it."""
    estimators = pytest.importorskip("art.estimators.classification")
    return estimators.PyTorchClassifier(
        Normalised(digits_model).eval(), nn.CrossEntropyLoss(reduction="sum"), (3, 64, 64), 10, clip_values=(0, 1)
    )


ATTACKS = {
    "fgsm": GradientAttack(8 / 255, step=8 / 255),
    "fgsm-l2": GradientAttack(0.5, "l2", step=0.5),
    "pgd": GradientAttack(6 / 255, steps=10),
    "pgd-small-steps": GradientAttack(6 / 255, steps=20, step=1 / 255),
    "pgd-l2": GradientAttack(0.5, "l2", steps=10, order="clamp-project"),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the toolbox's own
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", ATTACKS)
def test_the_toolbox_gives_the_same_images(classifier, digits_model: ViT, some, name: str, targeted: bool) -> None:
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescentPyTorch

    views, true, _ = some
    attack, classes = ATTACKS[name], [(c + 3) % 10 if targeted else c for c in true]
    options = {"norm": np.inf if attack.norm == "linf" else 2, "eps": attack.eps, "eps_step": attack.step_size}
    if name.startswith("fgsm"):
        theirs = FastGradientMethod(classifier, targeted=targeted, batch_size=64, **options)
    else:
        theirs = ProjectedGradientDescentPyTorch(
            classifier, max_iter=attack.steps, targeted=targeted, batch_size=64, verbose=False, **options
        )
    pixels = to_pixels(views, digits_model)
    expected = torch.from_numpy(theirs.generate(pixels.numpy(), np.eye(10, dtype=np.float32)[classes]))
    found = perturb(digits_model, pixels, torch.tensor(classes), attack, targeted=targeted)
    before, ours, their = (Normalised(digits_model)(p).detach() for p in (pixels, found, expected))
    assert (ours.argmax(1) == their.argmax(1)).all()
    assert (ours.argmax(1) != before.argmax(1)).any()
    losses = [float(nn.functional.cross_entropy(x, torch.tensor(classes))) for x in (ours, their)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    if attack.norm == "linf":
        assert torch.allclose(found, expected, rtol=0, atol=1e-6)
        assert np.array_equal(to_views(found, views, attack), to_views(expected, views, attack))


def test_one_step_follows_finite_differences(tiny: ViT) -> None:
    views = np.random.default_rng(0).integers(20, 235, (1, 8, 8, 3), dtype=np.uint8)
    pixels, label, width = to_pixels(views, tiny), torch.tensor([1]), 1e-6
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))

    def loss(p: torch.Tensor) -> float:
        return float(nn.functional.cross_entropy(tiny.module((p - mean) / std), label))

    numeric = torch.zeros_like(pixels)
    for at in np.ndindex(*pixels.shape):
        offset = torch.zeros_like(pixels)
        offset[at] = width
        numeric[at] = (loss(pixels + offset) - loss(pixels - offset)) / (2 * width)
    assert torch.allclose(gradient(tiny, pixels, label), numeric, rtol=1e-6, atol=1e-9)
    fgsm = perturb(tiny, pixels, label, GradientAttack(0.02, step=0.02))
    assert torch.allclose(fgsm, pixels + 0.02 * numeric.sign(), rtol=0, atol=1e-15)
    along = perturb(tiny, pixels, label, GradientAttack(0.02, "l2", step=0.01), targeted=True)
    assert torch.allclose(along, pixels - 0.01 * numeric / numeric.norm(), rtol=0, atol=1e-9)


attacks = st.builds(
    GradientAttack,
    eps=st.sampled_from([0.3 / 255, 1 / 255, 3.4 / 255, 3.6 / 255, 8 / 255, 0.1, 0.5, 1.0]),
    norm=st.sampled_from(NORMS),
    steps=st.integers(1, 4),
    step=st.sampled_from([None, 0.01, 0.3]),
    restarts=st.integers(0, 3),
    order=st.sampled_from(ORDERS),
)


@settings(max_examples=60)
@given(attack=attacks, count=st.integers(1, 3), targeted=st.booleans(), seed=st.integers(0, 9))
def test_budget_and_range_are_never_exceeded(
    tiny: ViT, attack: GradientAttack, count: int, targeted: bool, seed: int
) -> None:
    views = np.random.default_rng(seed).choice(np.array([0, 1, 127, 254, 255], np.uint8), (count, 8, 8, 3))
    pixels, labels = to_pixels(views, tiny), torch.zeros(count, dtype=torch.long)
    start = pixels + torch.from_numpy(np.stack([random_offset((8, 8), attack, Draws(i)) for i in range(count)]))
    found = perturb(tiny, pixels, labels, attack, start=start, targeted=targeted)
    rounded = attack_views(tiny, views, [0] * count, attack, targeted=targeted, draws=[Draws(i) for i in range(count)])
    for result in (found, to_pixels(rounded.views, tiny)):
        offset = (result - pixels).flatten(1)
        length = offset.abs().amax(1) if attack.norm == "linf" else offset.norm(dim=1)
        assert (length <= attack.eps + 1e-6).all()
        assert result.min() >= 0 and result.max() <= 1


@given(seed=st.integers(0, 1000), eps=st.sampled_from([0.02, 0.1, 0.25, 0.35]), norm=st.sampled_from(NORMS))
def test_rounding_changes_a_perturbation_by_less_than_a_level_and_little_of_its_length(
    seed: int, eps: float, norm: str
) -> None:
    rng = np.random.default_rng(seed)
    attack = GradientAttack(eps, "l2" if norm == "l2" else "linf")
    views = rng.integers(100, 156, (1, 6, 5, 3), dtype=np.uint8)
    offset = random_offset((6, 5), attack, Draws(seed))[None]
    if attack.norm == "l2":
        offset *= eps / np.linalg.norm(offset)
    pixels = torch.from_numpy(views.transpose(0, 3, 1, 2) / 255 + offset)
    found = to_views(pixels, views, attack).astype(int) - views
    wanted = offset.transpose(0, 2, 3, 1) * 255
    if attack.norm == "linf":
        assert np.abs(found - wanted).max() <= (1 if eps * 255 % 1 else 0.5) + 1e-6
    else:
        assert np.linalg.norm(found) <= eps * 255 + 1e-9
        scale = np.linalg.norm(found) / np.linalg.norm(wanted)
        assert np.abs(found - wanted * min(1, scale)).max() <= 1.5 or np.linalg.norm(np.rint(wanted)) > eps * 255


@pytest.mark.slow
@pytest.mark.parametrize("attack", [GradientAttack(6 / 255, steps=4, restarts=2), GradientAttack(0.5, "l2", 3)])
def test_images_are_attacked_independently(digits_model: ViT, some, attack: GradientAttack) -> None:
    """One by one, backwards and all together give the same pixels."""
    views, classes, hashes = some
    whole = attack_views(digits_model, views, classes, attack, draws=draws(hashes)).views
    backwards = attack_views(digits_model, views[::-1], classes[::-1], attack, draws=draws(hashes[::-1])).views
    single = [
        attack_views(digits_model, views[i : i + 1], classes[i : i + 1], attack, draws=draws(hashes[i : i + 1])).views[
            0
        ]
        for i in range(0, len(views), 9)
    ]
    assert np.array_equal(backwards[::-1], whole)
    assert np.array_equal(np.stack(single), whole[::9])


@pytest.mark.parametrize("norm", NORMS)
def test_random_starts_depend_on_their_seed_only(norm: str) -> None:
    attack = GradientAttack(0.1, "l2" if norm == "l2" else "linf")
    first, again, other = (random_offset((7, 5), attack, Draws(seed)) for seed in ("a", "a", "b"))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    many = np.stack([random_offset((7, 5), attack, Draws(i)) for i in range(400)])
    spread = np.abs(many).max((1, 2, 3)) if norm == "linf" else np.linalg.norm(many.reshape(400, -1), axis=1)
    assert spread.max() <= 0.1 and spread.max() > 0.098
    assert abs(many.mean()) < 5 * many.std() / many.size**0.5


@pytest.mark.slow
def test_more_restarts_and_steps_do_not_lose(digits_model: ViT, some) -> None:
    """The same first start, so that the best of three is at least as good; twenty steps beat one on average."""
    views, classes, hashes = (part[:17] for part in some)
    loss = {}
    for steps, restarts in ((20, 1), (20, 3), (1, 1)):
        attack = GradientAttack(4 / 255, steps=steps, restarts=restarts)
        found = attack_views(digits_model, views, classes, attack, draws=draws(hashes)).views
        logits = digits_model.logits(digits_model.preprocess.normalise(found))
        loss[steps, restarts] = nn.functional.cross_entropy(logits, torch.tensor(classes), reduction="none")
    assert (loss[20, 3] >= loss[20, 1]).all() and (loss[20, 3] > loss[20, 1]).any()
    assert loss[20, 1].mean() > loss[1, 1].mean()


def test_a_gradient_that_vanishes_is_reported(tiny: ViT) -> None:
    flat = in_dtype(tiny, "float64")
    views = np.full((3, 8, 8, 3), 128, np.uint8)
    weight = flat.module.head.weight.data
    kept = weight.clone()
    try:
        weight.zero_()
        found = attack_views(flat, views, [0, 1, 0], GradientAttack(0.1, steps=2), draws=[Draws(i) for i in range(3)])
    finally:
        weight.copy_(kept)
    assert found.flat.tolist() == [True] * 3 and np.array_equal(found.views, views)
    assert not attack_views(tiny, views, [0, 1, 0], GradientAttack(0.1, steps=2)).flat.any()


def test_restarts_need_random_choices_for_each_image(tiny: ViT) -> None:
    with pytest.raises(InputError, match=r"draws: expected one per image \(2\) for random starts, got 0"):
        attack_views(tiny, np.zeros((2, 8, 8, 3), np.uint8), [0, 1], GradientAttack(0.1, restarts=1))
