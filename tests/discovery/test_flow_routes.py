"""Information-flow routes compared with the formula on a brute-force forward pass, and by hand."""

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS, connected
from circuitstore.discovery import METHODS, discover, score_edges, smallest_by_bisection
from circuitstore.discovery.methods.flow_routes import proximities, shares
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs, faithfulness_curve

from ..reference import LABELS


@pytest.mark.parametrize("form", FORMS)
def test_scores_equal_shares_of_a_brute_force_forward(toy_vit, images, brute_force, form):
    model = toy_vit(1, init_values=0.3)
    graph, pairs = model.graph(form), ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), LABELS)
    found = score_edges(model, pairs, "flow-routes", form=form, execution=Execution(batch_size=1))
    assert not (found.signed or found.additive)
    _, sent = brute_force(model.module, graph).run(model.embed(pairs.clean), lambda _, value: value)
    for receiver in np.random.default_rng(0).choice(graph.n_receivers, 6):
        n = int(graph.n_upstream[receiver])
        biases = sum(
            model.blocks[c.layer].ls1(model.blocks[c.layer].attn.proj.bias)
            for c in graph.components
            if c.kind == "mlp" and bias_is_read(graph, c.layer, receiver)
        )
        read = sum(sent[:n]) + biases
        nearer = torch.stack([read.abs().sum(-1) - (read - sent[u]).abs().sum(-1) for u in range(n)])  # pyright: ignore[reportAttributeAccessIssue]
        nearer = nearer.clamp_min(0)
        expected = (nearer / nearer.sum(0)).mean(-1).T
        own = found.per_image[:, graph.offsets[receiver] : graph.offsets[receiver + 1]]
        assert own == pytest.approx(expected.numpy(), abs=1e-12)
        assert own.sum(axis=1) == pytest.approx(1)


def bias_is_read(graph, layer, receiver):
    """Return whether the attention of a layer has written before a receiver reads."""
    node = graph.components[graph.receiver_node[receiver]]
    return node.kind == "logits" or layer < node.layer or (node.kind == "mlp" and layer == node.layer)


def test_neither_metric_nor_corrupted_images_matter(toy_vit, images):
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), [1, 3])
    others = ImagePairs.of(model, pairs.clean, images(model, 2, 3), [0, 2])
    one = score_edges(model, pairs, "flow-routes", form="block")
    other = score_edges(model, others, "flow-routes", form="block", metric="kl")
    assert np.array_equal(one.per_image, other.per_image)


def test_proximity_by_hand():
    """x = (3, 1): all of it, a part, the opposite direction, and an output that overshoots."""
    read = torch.tensor([[[3.0, 1.0]]])
    sent = torch.tensor([[[[3.0, 1.0]], [[1.0, 0.0]], [[-1.0, 0.0]], [[0.0, 5.0]]]])
    assert proximities(read, sent).flatten().tolist() == [4.0, 1.0, 0.0, 0.0]


def test_shares_are_averaged_over_tokens_with_a_positive_proximity():
    """At token 0 the two senders have proximities 4 and 1; at token 1 both overshoot, so it does not count."""
    read = torch.tensor([[[3.0, 1.0], [1.0, 0.0]]])
    sent = torch.tensor([[[[3.0, 1.0], [5.0, 0.0]], [[1.0, 0.0], [0.0, -2.0]]]])
    assert shares(read, sent).flatten().tolist() == pytest.approx([0.8, 0.2])
    assert shares(read[:, 1:], sent[:, :, 1:]).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("seed", range(3))
def test_shares_sum_to_one_despite_tokens_without_proximity(toy_vit, images, seed):
    model = toy_vit(seed, embed_dim=4, num_heads=2, depth=6)
    pairs = ImagePairs.of(model, images(model, 8, 1), images(model, 8, 2), [0] * 8)
    found = score_edges(model, pairs, "flow-routes", form="block").per_image
    sums = np.add.reduceat(found, model.graph("block").offsets[:-1], axis=1)
    assert np.all((np.abs(sums - 1) < 1e-12) | (sums == 0))
    assert (sums > 0).mean() > 0.9


@pytest.fixture
def shared(toy_vit, images):
    """A toy model, two pairs, and the shares of their edges."""
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), LABELS)
    return model, pairs, score_edges(model, pairs, "flow-routes", form="head")


def test_a_cut_at_a_share_is_reachable_from_the_output_down(shared):
    """The authors' extraction; a receiver without an edge of that share is a dead end, and is pruned."""
    *_, by_share = shared
    graph, least = by_share.graph, 0.12
    edges = [graph.edge(index) for index in range(graph.n_edges)]
    reached, found, seen = ["logits"], set(), set()
    while reached:
        node = reached.pop()
        seen.add(node)
        above = [i for i, edge in enumerate(edges) if edge.receiver == node and by_share.mean[i] >= least]
        found |= set(above)
        reached += [edges[i].sender for i in above if edges[i].sender not in seen]
    wanted = np.isin(np.arange(graph.n_edges), list(found))
    circuit = by_share.threshold(least)
    assert 0 < circuit.n_edges < graph.n_edges
    assert np.array_equal(circuit.members, graph.prune(wanted))
    assert (by_share.mean >= least).sum() > circuit.n_edges


def test_shares_of_different_receivers_are_not_ranked(shared):
    model, pairs, by_share = shared
    for ask in (
        lambda: by_share.top(5),
        lambda: by_share.subset(np.arange(1)).top(0.1),
        lambda: connected(by_share, 5),
        lambda: smallest_by_bisection(model, pairs, by_share, target=0.5),
        lambda: faithfulness_curve(model, pairs, by_share, order="top"),
    ):
        with pytest.raises(InputError, match=r"shares of what each receiver reads.*greedy.*threshold"):
            ask()
    assert by_share.greedy(5).size_requested == 5


def test_parameters_that_it_lacks_raise_with_its_reason(shared):
    model, pairs, by_share = shared
    with pytest.raises(
        InputError, match="method 'flow-routes': it has no parameter 'gradient': it runs clean images forward once"
    ):
        discover(model, pairs, METHODS.resolve("flow-routes", {"gradient": "relp"}))
    with pytest.raises(InputError, match=r"without selecting any; extract a circuit, .* scores.greedy\(0.05\)"):
        _ = discover(model, pairs, "flow-routes").circuit
    assert by_share.greedy(0.05).n_edges > 0
