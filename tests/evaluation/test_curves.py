"""Areas compared with MIB's reference vector, and the curve of a scoring on a toy model."""

import numpy as np
import pytest
from circuitstore.circuits import ComputationGraph
from circuitstore.discovery import score_edges
from circuitstore.evaluation import FaithfulnessCurve, ImagePairs, faithfulness_curve
from circuitstore.evaluation.curves import SHARES, area, log_area, mib_sizes

K = np.array(SHARES)


@pytest.mark.parametrize(
    ("f", "cpr", "cmd"),
    [
        (np.ones(10), 0.999, 0),
        (K, 0.4999995, 0.499001),
        ((K >= 1).astype(float), 0.25, 0.749),
        (np.where(K < 1, 1.5, 1.0), 1.3735, 0.3745),
        (np.sqrt(K), 0.658913, 0.340087),
    ],
)
def test_areas_of_the_reference_curves(f, cpr, cmd):
    assert area(K, f) == pytest.approx(cpr, abs=5e-6)
    assert area(K, np.abs(1 - f)) == pytest.approx(cmd, abs=6e-6)


def test_logarithmic_areas_weigh_small_and_large_circuits_equally():
    assert log_area(K, np.ones(10)) == pytest.approx(1)
    shares = np.geomspace(1e-3, 1, 200)
    assert log_area(shares, (np.log10(shares) + 3) / 3) == pytest.approx(0.5)
    assert log_area(np.array([0, 1e-3, 1]), np.array([9.0, 1.0, 1.0])) == pytest.approx(1)


def test_sizes_of_small_graphs_have_no_duplicates():
    assert mib_sizes(ComputationGraph(12, 12, "split")) == [32, 64, 162, 324, 649, 1624, 3249, 6498, 16245, 32491]
    assert mib_sizes(ComputationGraph(12, 12, "block"))[:3] == [0, 1, 3]


def test_the_smallest_size_that_reaches_a_target():
    curve = FaithfulnessCurve(
        100, np.array([5, 10, 50]), np.array([0, 8, 50]), np.array([0, 0.9, 1]), np.array([np.nan, 0.8, 0.95])
    )
    assert curve.smallest() == 50 and curve.smallest(0.85, of="faithfulness") == 8 and curve.smallest(2.0) is None


def test_a_curve_starts_at_the_empty_circuit_and_ends_at_the_model(toy_vit, images):
    model = toy_vit()
    x, y = (images(model, 1, seed).repeat(4, 1, 1, 1) + 0.01 * images(model, 4, seed + 9) for seed in (1, 2))
    labels = (model.logits(x) - model.logits(y)).argmax(1)  # what clean images raise: the gap is positive
    pairs = ImagePairs.of(model, x, y, labels)
    scores = score_edges(model, pairs, "eap", form="block")
    curve = faithfulness_curve(model, pairs, scores, sizes=[0, 5, scores.graph.n_edges])
    assert curve.requested.tolist() == [0, 5, 28] and curve.realised[0] == 0 and curve.realised[-1] == 28
    defined = ~np.isnan(curve.faithfulness)
    assert defined.all() and curve.faithfulness[[0, -1]] == pytest.approx([0, 1], abs=1e-9)
    assert list(curve.to_pandas().columns) == ["requested", "realised", "share", "faithfulness", "retention"]
