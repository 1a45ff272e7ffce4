"""Exact patching compared with the general patched run, which shares none of its shortcuts."""

import pytest
from circuitstore.circuits import FORMS
from circuitstore.discovery import score_edges
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs, patch_edges

from ..reference import LABELS, VARIANTS, logits_of, one_by_one, relative


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_every_variant_equals_one_general_run_per_edge(toy_vit, images, changes, direction):
    model = toy_vit(**changes)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    edges, expected = one_by_one(model, "split", x, y, direction)
    names = [model.graph("split").edge_names[edge] for edge in edges]
    found = patch_edges(model, pairs, names, direction=direction, execution=Execution(batch_size=6))
    assert relative(found.per_image, expected, of=logits_of(model, x, y)) < 1e-12


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_every_form_equals_one_general_run_per_edge(toy_vit, images, form, direction):
    model = toy_vit(1, qk_norm=True, init_values=0.2)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    found = score_edges(model, pairs, "exact", form=form, direction=direction)
    edges, expected = one_by_one(model, form, x, y, direction)
    assert relative(found.per_image[:, edges], expected, of=logits_of(model, x, y)) < 1e-12


@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_patching_some_edges_equals_patching_all(toy_vit, images, direction):
    model = toy_vit(depth=2)
    x, y = images(model, 3, 1), images(model, 3, 2)
    pairs = ImagePairs.of(model, x, y, [0, 1, 2])
    whole = score_edges(model, pairs, "exact", form="head", direction=direction)
    edges = ["m1->logits", "input->a1.h2", "a0.h3->m0", "m0->logits"]
    some = patch_edges(model, pairs, edges, form="head", direction=direction, execution=Execution(batch_size=2))
    assert some.names == tuple(edges)
    same = whole.per_image[:, [whole.graph.index_of(edge) for edge in edges]]
    assert relative(some.per_image, same, of=logits_of(model, x, y)) < 1e-12
    assert list(some.to_pandas()["edge"]) == edges


def test_an_unknown_edge_raises(toy_vit, images):
    model = toy_vit(depth=2)
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), LABELS)
    with pytest.raises(InputError, match=r"edge of the attention form.*a0\.in"):
        patch_edges(model, pairs, ["input->a0.h1"], form="attention")
