"""Another last layer as an edit."""

from __future__ import annotations

import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.evaluation.interventions import replace_head
from circuitstore.models import LinearHead


def test_the_edit_computes_the_new_layer_of_the_pooled_tokens(toy_vit, images) -> None:
    model, batch = toy_vit(), images(toy_vit(), 3)
    generator = torch.Generator().manual_seed(0)
    head = LinearHead(torch.randn(5, 16, generator=generator), torch.randn(5, generator=generator))
    edit = replace_head(model, head)
    expected = model.pooled(batch) @ head.weight.double().T + head.bias.double()
    plain = model.logits(batch)
    with edit.applied(model):
        torch.testing.assert_close(model.logits(batch), expected)
    torch.testing.assert_close(edit.wrapped(model)(batch), expected)
    assert torch.equal(model.logits(batch), plain)


def test_the_weights_are_the_identity(toy_vit) -> None:
    model = toy_vit()
    first, same, other = (LinearHead(torch.full((5, 16), value), torch.zeros(5)) for value in (1.0, 1.0, 2.0))
    kinds = [replace_head(model, head).intervention for head in (first, same, other)]
    assert kinds[0] == kinds[1] != kinds[2] and kinds[0].kind == "replace-head"


def test_a_head_of_other_classes_is_refused(toy_vit) -> None:
    with pytest.raises(InputError, match=r"head: expected weights \(5, 16\) .* got \(4, 16\)"):
        replace_head(toy_vit(), LinearHead.zeros(16, ["a", "b", "c", "d"]))
