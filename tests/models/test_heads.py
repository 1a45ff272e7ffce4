"""Selected ports of an attention against the fused projection of all."""

import numpy as np
import pytest
import torch
from circuitstore.models.heads import project
from timm.layers.attention import Attention

SOME = np.array([2, 0])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ports", [0, slice(1, 3), (2, SOME), (np.array([0, 2, 1]), np.array([3, 1, 1]))], ids=str)
def test_selected_ports_equal_the_whole_projection(ports, bias):
    torch.manual_seed(0)
    attn = Attention(16, num_heads=4, qkv_bias=bias).double()
    read = torch.randn(2, 5, 16, dtype=torch.float64)
    whole = attn.qkv(read).unflatten(-1, (3, 4, 4))
    expected = whole.permute(2, 3, 4, 0, 1)[ports].movedim((-2, -1), (0, 1))
    found = project(attn, read, ports)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=0, atol=1e-12 * expected.abs().max().item())
