from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model.inference import products
from model.inference.products import (
    ACTIVATIONS,
    ActivatedConvolution,
    PointwiseConvolution,
    Product,
    has_fbgemm,
    has_onednn,
    is_pointwise,
)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shape", [(1, 7), (0, 7), (3, 5, 7)])
def test_a_product_is_linear(
    dtype: torch.dtype, biased: bool, half: bool, shape: tuple[int, ...], device: torch.device
) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(*s, generator=generator).to(device, dtype) for s in ((4, 7), shape))
    if half:  # as a checkpoint's weights are
        weight = weight.half().to(dtype)
    bias = torch.arange(4.0).to(device, dtype) if biased else None
    expected = F.linear(x, weight, bias)
    product = Product(weight, bias)
    weight.zero_()  # was copied
    found = product(x)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)


@pytest.mark.skipif(not has_fbgemm(torch.zeros(1)), reason="no FBGEMM for this CPU")
def test_half_precision_is_for_weights_that_it_holds() -> None:
    """All that half precision has are kept to the last bit, its smallest and largest too."""
    halves = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.half).float()
    weight = halves[halves.isfinite()].view(-1, 1)
    assert torch.equal(Product(weight)(torch.ones(1, 1)), weight.view(1, -1))
    almost = torch.tensor([[1 + 2**-12, 1.0], [70000.0, 1e-9]])
    assert torch.equal(Product(almost)(torch.eye(2)), almost.T)


@pytest.mark.skipif(not has_onednn(torch.zeros(1)), reason="torch was built without oneDNN")
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activated_convolution_is_both(activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2).requires_grad_(False)
    x = 10 * torch.randn(2, 4, 9, 8)
    found = ActivatedConvolution(convolution, activation())(x)
    torch.testing.assert_close(found, activation()(convolution(x)), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not has_onednn(torch.zeros(1)), reason="torch was built without oneDNN")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_pointwise_convolution_is_a_product(
    activation: type[nn.Module], biased: bool, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 6, 1, bias=biased).requires_grad_(False)
    assert is_pointwise(convolution)
    x = (10 * torch.randn(2, 4, 9, 8)).to(memory_format=layout)
    found = PointwiseConvolution(convolution, activation())(x)
    torch.testing.assert_close(found, activation()(convolution(x)), rtol=1e-4, atol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 1, stride=2),
        nn.Conv2d(4, 4, 1, padding=1),
        nn.Conv2d(4, 4, 1, groups=2),
    ],
)
def test_other_convolutions_are_no_products(convolution: nn.Conv2d) -> None:
    assert not is_pointwise(convolution)


def test_only_what_onednn_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_onednn(torch.zeros(1, dtype=torch.float64))
    assert not has_onednn(torch.zeros(1, device="meta"))
    monkeypatch.setattr(torch._C, "_has_mkldnn", False)
    monkeypatch.setattr(products, "has_fbgemm", lambda weight: False)
    assert not has_onednn(torch.zeros(1))
    product = products.Product(torch.eye(3))
    torch.testing.assert_close(product(torch.ones(2, 3)), torch.ones(2, 3))
