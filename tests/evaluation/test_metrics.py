"""Metrics compared with their formulas, worked out by hand."""

import math

import pytest
import torch
from circuitstore.circuits import Circuit
from circuitstore.discovery import score_edges
from circuitstore.errors import InputError
from circuitstore.evaluation import METRICS, Execution, ImagePairs, evaluate
from circuitstore.evaluation.metrics import MetricInput

LOGITS = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 4.0]], dtype=torch.float64)
CLEAN = torch.tensor([[5.0, 1.0, 2.0], [0.0, 1.0, 0.5]], dtype=torch.float64)
READ = MetricInput(torch.tensor([0, 1]), torch.tensor([2, 0]), CLEAN)


def values(key):
    return METRICS[key].values(LOGITS, READ).tolist()


def test_logits_and_their_differences():
    assert values("logit") == [3, 2]
    assert values("logit-diff") == [0 - 3, 0 - 2]
    assert values("logit-over-mean") == [3 - 0.5, 2 - 2]
    assert values("probability") == pytest.approx(LOGITS.softmax(dim=1)[range(2), READ.labels].tolist())
    assert values("logit-over-rival") == [3 - 0, 2 - 4]  # rivals by the clean run: classes 2 and 2


def test_divergence_is_minus_the_sum_of_p_log_p_over_q():
    p, q = (x.softmax(1)[1].tolist() for x in (CLEAN, LOGITS))
    expected = -sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert values("kl")[1] == pytest.approx(expected, rel=1e-12)
    assert METRICS["kl"].values(CLEAN, READ).abs().max() < 1e-15


@pytest.mark.parametrize("metric", ["logit-over-mean", "logit-over-rival", "kl"])
def test_a_circuit_of_all_edges_scores_as_the_clean_run(toy_vit, images, metric):
    model = toy_vit()
    x, y = images(model, 3, 1), images(model, 3, 2)
    graph = model.graph("block")
    pairs, everything = ImagePairs.of(model, x, y, [0, 1, 2]), Circuit.from_edges(graph, graph.edge_names)
    found = evaluate(model, pairs, everything, metric=metric, execution=Execution(batch_size=2))
    rounding = 1e-12 * model.logits(x).abs().max().item()
    assert found.metric_circuit == pytest.approx(found.metric_full, rel=0, abs=rounding)
    if metric == "kl":
        assert found.metric_full == pytest.approx(0, abs=rounding) and found.metric_empty < 0


def test_divergence_has_no_gradient_on_the_clean_run(toy_vit, images):
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), [0, 1])
    with pytest.raises(InputError, match="gradient is zero there"):
        score_edges(model, pairs, "eap", metric="kl")
    assert abs(score_edges(model, pairs, "eap", metric="kl", direction="denoising").mean).max() > 0


@pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")
def test_eap_in_the_denoising_direction_is_the_left_rule_at_one_step(toy_vit, images):
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), [0, 1])
    denoised = score_edges(model, pairs, "eap", direction="denoising").mean
    left = score_edges(model, pairs, steps=1, rule="left").mean
    assert abs(denoised - left).max() < 1e-12 * abs(left).max()
