"""Baselines: random circuits of requested sizes, and edges ranked by the size of their sender's output."""

from inspect import unwrap

import numpy as np
import pytest
import torch
from circuitstore.benchmarks.planted import plant
from circuitstore.discovery import score_edges
from circuitstore.errors import InputError
from circuitstore.evaluation import (
    Execution,
    ImagePairs,
    faithfulness_curve,
    magnitude_scores,
    patch_nodes,
    random_curves,
)
from circuitstore.images import open_source
from circuitstore.models import load_model


@pytest.fixture(scope="module")
def chain():
    """A planted model and pairs of images."""
    made = plant("chain", distractors=True)
    return made.model, ImagePairs.of(made.model, *made.images(4, 0), [0] * 4)


def test_the_seed_decides_the_circuits_and_all_curves_share_their_ends(chain):
    options = {"form": "attention", "sizes": [0, 5, 20, 61], "draws": 3}
    n = chain[0].graph("attention").n_edges
    options["sizes"][-1] = n
    first, again = (random_curves(*chain, **options, seed=4).to_pandas() for _ in range(2))
    assert first.equals(again)
    assert not first.equals(random_curves(*chain, **options, seed=5).to_pandas())
    assert first["draw"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    ends = first[first["requested"].isin([0, n])]
    assert ends["faithfulness"].to_numpy() == pytest.approx([0, 1] * 3, abs=1e-12)  # pyright: ignore[reportAttributeAccessIssue]
    assert (first["realised"] >= first["requested"] - 1).all()  # connected, so nothing is pruned


def test_random_circuits_match_the_sizes_of_a_curve_and_miss_the_planted_circuit(chain):
    scores = score_edges(*chain, method="exact", form="attention")
    curve = faithfulness_curve(*chain, scores, sizes=[8, 16], order="top", absolute=True)
    drawn = random_curves(*chain, form="attention", sizes=curve, draws=6)
    assert np.array_equal(drawn.mean.requested, curve.requested)
    assert np.abs(drawn.mean.realised - curve.realised).max() <= 1
    assert curve.faithfulness == pytest.approx([1] * 2, abs=1e-9)
    assert np.abs(1 - drawn.mean.faithfulness).min() > 0.3
    assert curve.cmd < drawn.cmd.min() and drawn.mean.cpr == pytest.approx(drawn.cpr.mean())
    with pytest.raises(InputError, match="pass the form of the curve"):
        random_curves(*chain, form="split", sizes=curve)


def test_edges_drawn_one_by_one_are_rarely_connected(chain):
    curves = {null: random_curves(*chain, sizes=[10], draws=5, null=null).mean for null in ("paths", "uniform")}
    assert curves["paths"].realised[0] >= 9 and curves["uniform"].realised[0] <= 5
    with pytest.raises(InputError, match="null"):
        unwrap(random_curves)(*chain, null="pathz")  # without the type checks of the tests, as users call it
    with pytest.raises(InputError, match="sizes"):
        random_curves(*chain, sizes=[-1])
    with pytest.raises(InputError, match="draws"):
        random_curves(*chain, draws=0)


def test_progress_reaches_its_total(chain):
    reported = []
    execution = Execution(batch_size=3, progress=lambda *at: reported.append(at))
    random_curves(*chain, form="block", sizes=[3, 5], draws=2, execution=execution)
    assert reported[-1] == (6, 6) and reported == sorted(reported)


@pytest.mark.parametrize("form", ["split", "block"])
def test_magnitudes_are_norms_of_sender_differences(toy_vit, images, form):
    model = toy_vit()
    x, y = images(model, 3, 1), images(model, 3, 2)
    pairs = ImagePairs.of(model, x, y, [0] * 3)
    scores = magnitude_scores(model, pairs, form=form, execution=Execution(batch_size=2))
    graph = scores.graph
    assert scores.per_image.shape == (3, graph.n_edges) and not scores.signed and not scores.additive
    moved = (model.embed(x) - model.embed(y)).flatten(1).norm(dim=1)
    own = [[scores.per_image[:, e] for e in np.flatnonzero(graph.edge_sender == s)] for s in range(graph.n_senders)]
    assert np.allclose(own[0], moved.numpy(), rtol=1e-12)  # `input` writes the embedding
    assert all(np.ptp(edges, axis=0).max() == 0 for edges in own)
    other = toy_vit(img_size=16)
    with pytest.raises(InputError, match=r"clean: expected a tensor \[image, 3, 16, 16\]"):
        magnitude_scores(other, pairs, form=form)


def test_senders_without_output_have_magnitude_zero(chain):
    silent = [i for i, e in enumerate(patch_nodes(*chain).mean) if e == 0]
    scores = magnitude_scores(*chain)
    loud = scores.mean[[scores.graph.index_of(f"a1.h{head}->logits") for head in (2, 3)]]
    assert loud.min() > 1e-3 and silent  # distractors rank high although together they never change the metric
    assert torch.isfinite(torch.from_numpy(scores.mean)).all()


@pytest.mark.slow
def test_on_the_demo_model_scores_beat_both_baselines_at_equal_sizes():
    model = load_model("digits")
    source = open_source("digits", model)
    three, eight = (source.candidates(source.classes[digit])[:16] for digit in (3, 8))
    x, y = (model.preprocess.normalise(np.stack([source.view(ref) for ref in refs])) for refs in (three, eight))
    pairs = ImagePairs.of(model, x, y, [3] * 16)
    found_on, report = pairs[:8], pairs[8:]
    sizes = [5, 10, 20, 40, 80]
    scores = score_edges(model, found_on, form="attention", rule="midpoint")
    curve = faithfulness_curve(model, report, scores, sizes=sizes, absolute=True)
    weak = magnitude_scores(model, found_on, form="attention")
    by_magnitude = faithfulness_curve(model, report, weak, sizes=sizes)
    drawn = random_curves(model, report, form="attention", sizes=curve, draws=3)
    assert curve.cmd < 0.8 * by_magnitude.cmd and curve.cmd < 0.5 * drawn.cmd.min()
    assert curve.log_cmd < min(by_magnitude.log_cmd, drawn.mean.log_cmd)
