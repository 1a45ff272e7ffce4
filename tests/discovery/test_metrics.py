"""Metrics against their formulas, worked out by hand."""

import math

import pytest
import torch
from circuitstore.circuits import Circuit
from circuitstore.discovery import evaluate, score_edges
from circuitstore.discovery.metrics import METRICS, Asked
from circuitstore.errors import InputError

LOGITS = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 4.0]], dtype=torch.float64)
CLEAN = torch.tensor([[5.0, 1.0, 2.0], [0.0, 1.0, 0.5]], dtype=torch.float64)
ASKED = Asked(torch.tensor([0, 1]), torch.tensor([2, 0]), CLEAN)


def values(key):
    return METRICS[key].values(LOGITS, ASKED).tolist()


def test_logits_and_their_differences():
    assert values("logit") == [3, 2]
    assert values("logit-diff") == [0 - 3, 0 - 2]
    assert values("logit-over-mean") == [3 - 0.5, 2 - 2]
    assert values("logit-over-rival") == [3 - 0, 2 - 4]  # rivals by the clean run: classes 2 and 2


def test_divergence_is_minus_the_sum_of_p_log_p_over_q():
    p, q = (x.softmax(1)[1].tolist() for x in (CLEAN, LOGITS))
    expected = -sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert values("kl")[1] == pytest.approx(expected, rel=1e-12)
    assert METRICS["kl"].values(CLEAN, ASKED).abs().max() < 1e-15


@pytest.mark.parametrize("metric", ["logit-over-mean", "logit-over-rival", "kl"])
def test_a_circuit_of_all_edges_scores_as_the_clean_run(toy_vit, images, metric):
    model = toy_vit()
    x, y = images(model, 3, 1), images(model, 3, 2)
    graph = model.graph("block")
    found = evaluate(model, Circuit.from_edges(graph, graph.edge_names), x, y, [0, 1, 2], metric=metric, batch_size=2)
    rounding = 1e-12 * model.logits(x).abs().max().item()
    assert found.metric_circuit == pytest.approx(found.metric_full, rel=0, abs=rounding)
    if metric == "kl":
        assert found.metric_full == pytest.approx(0, abs=rounding) and found.metric_empty < 0


def test_divergence_has_no_gradient_on_the_clean_run(toy_vit, images):
    model = toy_vit()
    x, y = images(model, 2, 1), images(model, 2, 2)
    with pytest.raises(InputError, match="gradient is zero there"):
        score_edges(model, x, y, [0, 1], method="eap", metric="kl")
    assert abs(score_edges(model, x, y, [0, 1], method="eap", metric="kl", direction="denoising").mean).max() > 0


@pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")
def test_eap_in_the_denoising_direction_is_the_left_rule_at_one_step(toy_vit, images):
    model = toy_vit()
    x, y = images(model, 2, 1), images(model, 2, 2)
    denoised = score_edges(model, x, y, [0, 1], method="eap", direction="denoising").mean
    left = score_edges(model, x, y, [0, 1], steps=1, rule="left").mean
    assert abs(denoised - left).max() < 1e-12 * abs(left).max()
