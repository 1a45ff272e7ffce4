"""Estimated costs compared with the counted forward and backward passes of every MLP, by images."""

from collections import Counter

import pytest
from circuitstore.discovery import METHODS, discover, estimate_cost
from circuitstore.evaluation import Execution, ImagePairs

SHORT = {
    "eap-ig": {"steps": 3},
    "ugs": {"steps": 3},
    "edge-pruning": {"steps": 3},
    "iterative-pruning": {"steps": 2, "fraction": 0.9},
    "iterative-expansion": {"steps": 2, "fraction": 20},
    "acdc": {"threshold": -1e9},
    "vi-cd": {"threshold": 0},
}
HEADS_REPEATED = ("qk-fix", "atp-star")
PATCHED = ("exact", "acdc", "vi-cd")
OWN_NODE = ("eap-ig-activations", "eap-ig-activations-heads")


@pytest.fixture
def counted(toy_vit, images):
    """A model, two pairs, and counters of passes through all its MLPs: forward, backward, and norms of attention."""
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), [0, 1])
    counts = Counter()

    def counter(what):
        def hook(_, args, out):
            share = args[0].numel() / (model.n_tokens * model.d_model * model.n_layers)
            counts[what] += share
            if what == "mlp" and out.requires_grad:
                out.register_hook(lambda _: counts.update(back=share))

        return hook

    for block in model.blocks:
        block.mlp.register_forward_hook(counter("mlp"))
        block.norm1.register_forward_hook(counter("norm"))
    return model, pairs, counts


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")
@pytest.mark.parametrize("key", METHODS)
def test_the_cost_equals_the_counted_passes(counted, key):
    model, pairs, counts = counted
    use, form, n = METHODS.resolve(key, SHORT.get(key, {})), METHODS[key].forms[0], len(pairs)
    discover(model, pairs, use, form=form, execution=Execution(batch_size=8))
    graph = model.graph(form)
    cost = estimate_cost(graph, use, n)
    if key in PATCHED:  # estimated on a larger model; nothing is removed, so all edges are tried
        assert cost.forwards / 2 < counts["mlp"] <= cost.forwards and counts["back"] <= cost.backwards
        return
    if key in OWN_NODE:  # runs that start after an attention are estimated a third of a block lower than counted here
        steps, begun_inside = 5, graph.n_layers * (graph.n_heads if key.endswith("heads") else 1)
        less = n * begun_inside / (3 * graph.n_layers)
        assert counts["mlp"] == pytest.approx(cost.forwards + (steps + 1) * less)
        assert counts["back"] == pytest.approx(cost.backwards + steps * less)
        return
    repeated = 0.3 * (counts["norm"] - 2 * n) if key in HEADS_REPEATED else 0
    assert counts["mlp"] + repeated == pytest.approx(cost.forwards)
    cut_off = 5 * n if key == "eap-ig-activations-as-coded" else 0  # the MLP that is moved, at every step
    assert counts["back"] + cut_off == pytest.approx(cost.backwards)


@pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")
@pytest.mark.parametrize(("rule", "steps"), [("left", 5), ("right", 3), ("midpoint", 5), ("midpoint", 1)])
def test_path_ends_that_are_points_of_the_rule_are_not_run_again(counted, rule, steps):
    model, pairs, counts = counted
    use = METHODS.resolve("eap-ig", {"rule": rule, "steps": steps})
    discover(model, pairs, use)
    cost = estimate_cost(model.graph("split"), use, 2)
    assert (counts["mlp"], counts["back"]) == pytest.approx((cost.forwards, cost.backwards))
    assert cost.forwards == 2 * (steps + (2 if rule == "midpoint" else 1))
