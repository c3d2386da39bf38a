from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model import products
from model.products import ACTIVATIONS, ActivatedConvolution, Product, has_onednn


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("shape", [(7,), (1, 7), (3, 5, 7)])
def test_a_product_is_linear(
    dtype: torch.dtype, biased: bool, shape: tuple[int, ...], device: torch.device
) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(*s, generator=generator).to(device, dtype) for s in ((4, 7), shape))
    bias = torch.arange(4.0).to(device, dtype) if biased else None
    expected = F.linear(x, weight, bias)
    product = Product(weight, bias)
    weight.zero_()  # was copied
    found = product(x)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)


@pytest.mark.skipif(not has_onednn(torch.zeros(1)), reason="torch was built without oneDNN")
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activated_convolution_is_both(activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2).requires_grad_(False)
    x = 10 * torch.randn(2, 4, 9, 8)
    found = ActivatedConvolution(convolution, activation())(x)
    torch.testing.assert_close(found, activation()(convolution(x)), rtol=1e-4, atol=1e-4)


def test_only_what_onednn_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_onednn(torch.zeros(1, dtype=torch.float64))
    assert not has_onednn(torch.zeros(1, device="meta"))
    monkeypatch.setattr(torch._C, "_has_mkldnn", False)
    assert not has_onednn(torch.zeros(1))
    product = products.Product(torch.eye(3))
    torch.testing.assert_close(product(torch.ones(2, 3)), torch.ones(2, 3))
