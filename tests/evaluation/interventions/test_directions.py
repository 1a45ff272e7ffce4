"""Directions of a change, against their formula over senders' outputs from brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS, Form
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs
from circuitstore.evaluation.interventions import (
    Directions,
    fit_directions,
    fit_group_directions,
    fit_offsets,
)
from circuitstore.models import ViT
from torch import Tensor


def sent_by(brute_force, model: ViT, form: Form, images: Tensor) -> Tensor:
    """Return the outputs of all senders, `[image, sender, token, d_model]`."""
    _, sent = brute_force(model.module, model.graph(form)).run(model.embed(images), lambda _, value: value)
    return torch.stack(sent, dim=1).detach()


def of_units(differences: Tensor) -> tuple[Tensor, Tensor]:
    mean = (differences / differences.norm(dim=3, keepdim=True)).mean(dim=0)
    coherence = mean.norm(dim=2)
    return mean / coherence[:, :, None], coherence


def pairs_of(model: ViT, images, count: int = 6) -> ImagePairs:
    return ImagePairs.of(model, images(model, count), images(model, count, seed=1), [0] * count)


@pytest.mark.parametrize("form", FORMS)
def test_directions_are_the_mean_of_unit_differences(toy_vit, images, brute_force, form: Form) -> None:
    model = toy_vit(init_values=0.3, reg_tokens=2)
    pairs = pairs_of(model, images)
    found = fit_directions(model, pairs, form=form, quantile=0.8, execution=Execution(batch_size=4))
    clean = sent_by(brute_force, model, form, pairs.clean)
    vectors, coherence = of_units(sent_by(brute_force, model, form, pairs.corrupted) - clean)
    prefix = np.s_[0, : model.module.num_prefix_tokens]  # input sends the same for every image: no direction
    assert not found.vectors[prefix].any()
    assert not found.coherence[prefix].any()
    there = found.defined
    np.testing.assert_allclose(found.vectors[there], vectors.numpy()[there], atol=1e-12)
    np.testing.assert_allclose(found.coherence[there], coherence.numpy()[there], atol=1e-12)
    projected = torch.einsum("bsnd,snd->bsn", clean, torch.from_numpy(found.vectors)).numpy()
    np.testing.assert_allclose(found.offsets, np.quantile(projected, 0.8, axis=0), atol=1e-12)
    mean = fit_offsets(model, found, pairs.clean, offset="mean")
    np.testing.assert_allclose(mean.offsets, projected.mean(axis=0), atol=1e-12)
    assert (mean.offset, found.offset, found.n) == ("mean", "quantile(0.8)", 6)


def test_batches_of_one_give_the_same_directions(toy_vit, images) -> None:
    model = toy_vit()
    pairs = pairs_of(model, images, 5)
    one, many = (fit_directions(model, pairs, execution=Execution(batch_size=size)) for size in (1, 5))
    np.testing.assert_allclose(one.vectors, many.vectors, atol=1e-12)
    np.testing.assert_allclose(one.offsets, many.offsets, atol=1e-12)


def test_a_single_pair_is_coherent(toy_vit, images) -> None:
    model = toy_vit()
    found = fit_directions(model, pairs_of(model, images, 1))
    np.testing.assert_allclose(found.coherence[found.defined], 1)
    assert "coherence 1.00 (1.00 to 1.00)" in repr(found)


def test_group_directions_are_differences_from_the_mean_of_the_class(toy_vit, images, brute_force) -> None:
    model = toy_vit()
    cued, reference = images(model, 5), images(model, 6, seed=1)
    labels, reference_labels = torch.tensor([0, 1, 0, 1, 1]), torch.tensor([1, 0, 1, 0, 0, 2])
    found = fit_group_directions(model, cued, reference, labels, reference_labels, execution=Execution(batch_size=2))
    clean, moved = (sent_by(brute_force, model, "split", some) for some in (reference, cued))
    means = torch.stack([clean[reference_labels == c].mean(dim=0) for c in (0, 1)])
    vectors, coherence = of_units(moved - means[labels])
    there = found.defined
    np.testing.assert_allclose(found.vectors[there], vectors.numpy()[there], atol=1e-12)
    np.testing.assert_allclose(found.coherence[there], coherence.numpy()[there], atol=1e-12)
    projected = torch.einsum("bsnd,snd->bsn", clean, torch.from_numpy(found.vectors)).numpy()
    np.testing.assert_allclose(found.offsets, np.quantile(projected, 0.95, axis=0), atol=1e-12)
    assert found.source == "images against the mean of their class"


def test_random_directions_are_unit_vectors_at_the_same_places(toy_vit, images) -> None:
    model = toy_vit()
    found = fit_directions(model, pairs_of(model, images))
    drawn, other = found.random(seed=0), found.random(seed=1)
    np.testing.assert_array_equal(drawn.defined, found.defined)
    np.testing.assert_allclose(np.linalg.norm(drawn.vectors[found.defined], axis=1), 1)
    assert drawn.sha256 != other.sha256
    assert drawn.sha256 == found.random(seed=0).sha256


def test_the_table_has_the_mean_coherence_of_each_sender(toy_vit, images) -> None:
    model = toy_vit()
    found = fit_directions(model, pairs_of(model, images))
    table = found.to_pandas()
    assert table["sender"].tolist() == list(found.graph.senders)
    assert table["coherence"][0] == pytest.approx(found.coherence[0, 1:].mean())  # the class token has no direction
    assert table["tokens"].tolist() == [4, *[5] * 15]


def test_the_hash_is_of_the_content(toy_vit, images) -> None:
    model = toy_vit()
    found = fit_directions(model, pairs_of(model, images))
    assert replace(found, images=("a",)).sha256 == found.sha256
    assert replace(found, offsets=found.offsets + 1).sha256 != found.sha256


def test_wrong_input_is_named(toy_vit, images, unchecked) -> None:
    model, pairs = toy_vit(), pairs_of(toy_vit(), images)
    with pytest.raises(InputError, match=r"quantile: expected a number from 0 to 1, got 1\.5"):
        fit_directions(model, pairs, quantile=1.5)
    with pytest.raises(InputError, match="quantile: expected a number from 0 to 1, got nan"):
        fit_directions(model, pairs, quantile=float("nan"))
    with pytest.raises(InputError, match="unknown offset 'median'"):
        fit_directions(model, pairs, offset="median")
    with pytest.raises(InputError, match="expected at least one pair"):
        fit_directions(model, pairs[:0])
    found = fit_directions(model, pairs)
    with pytest.raises(InputError, match="directions: fitted on the model"):
        fit_offsets(toy_vit(seed=1), found, pairs.clean)
    with pytest.raises(InputError, match="expected at least one clean image"):
        fit_offsets(model, found, pairs.clean[:0])
    with pytest.raises(InputError, match=r"reference: no image of class 1, but \d images"):
        fit_group_directions(model, pairs.clean, pairs.corrupted, [1] * 6, [0] * 6)


def test_values_that_do_not_fit_are_named(toy_vit, images, unchecked) -> None:
    model = toy_vit()
    found = fit_directions(model, pairs_of(model, images))
    with pytest.raises(InputError, match=r"vectors: expected .* for the 16 senders"):
        replace(found, vectors=found.vectors[1:])
    with pytest.raises(InputError, match="offsets: expected one per sender and token"):
        replace(found, offsets=found.offsets[:, 1:])
    with pytest.raises(InputError, match="coherence: expected finite numbers"):
        replace(found, coherence=found.coherence * np.nan)
    short = replace(found, vectors=found.vectors[:, 1:], offsets=found.offsets[:, 1:], coherence=found.coherence[:, 1:])
    with pytest.raises(InputError, match="expected 5 tokens of 16 dimensions"):
        short.check_fit(model)


def test_progress_counts_images_of_both_passes(toy_vit, images) -> None:
    model, seen = toy_vit(), list[tuple[int, int]]()
    execution = Execution(batch_size=4, progress=lambda done, total: seen.append((done, total)))
    assert isinstance(fit_directions(model, pairs_of(model, images, 6), execution=execution), Directions)
    assert seen == [(4, 12), (6, 12), (10, 12), (12, 12)]
