from __future__ import annotations

from typing import Any

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
    TwofoldProduct,
    activated,
    has_fast_bf16,
    has_fbgemm,
    has_onednn,
    is_pointwise,
)

# Not by `has_onednn` and `has_fbgemm`: if those were wrong, nothing else would show it.
onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN"
)
fbgemm = pytest.mark.skipif(
    torch.backends.quantized.engine not in ("fbgemm", "x86"), reason="no FBGEMM for this CPU"
)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shape", [(1, 7), (0, 7), (3, 5, 7), (17, 7), (32, 7), (3, 11, 7)])
def test_a_product_equals_torchs_linear(
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


@pytest.mark.parametrize("available", [False, True])
def test_a_bias_may_be_more_exact_than_the_weights(
    available: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not available:
        monkeypatch.setattr(products, "has_onednn", lambda weight: False)
    weight, bias = torch.eye(2, dtype=torch.bfloat16), torch.tensor([1 + 2**-9, -1.0])
    found = Product(weight, bias)(torch.tensor([[-1.0, 1.0]], dtype=torch.bfloat16))
    exact = has_onednn(weight) and available
    assert found.tolist() == [[2**-9 if exact else 0.0, 0.0]]


@onednn
def test_few_programs_multiply_any_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process keeps up to a thousand programs of oneDNN, one for each number of rows."""
    compiled, linear = set(), products._linear

    def counted(x: torch.Tensor, *others: Any) -> torch.Tensor:
        compiled.add(x.shape[:-1])
        return linear(x, *others)

    monkeypatch.setattr(products, "_linear", counted)
    product = Product(torch.randn(4, 7, dtype=torch.bfloat16))
    for count in range(1, 320):
        product(torch.randn(count, 7, dtype=torch.bfloat16))
    assert len(compiled) < 40


@onednn
@pytest.mark.parametrize("shape", [(1, 96), (0, 96), (32, 96), (33, 96), (3, 11, 96), (5, 16, 96)])
@pytest.mark.parametrize("few", [True, False])
def test_a_twofold_product_rounds_what_it_multiplies_and_not_the_result(
    shape: tuple[int, ...], few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_onednn(torch.zeros(1, dtype=torch.bfloat16)):
        pytest.skip("oneDNN does not compute in bfloat16 on this CPU")
    if not few:
        monkeypatch.setattr(products, "FEW_ROWS", 0)
    generator = torch.Generator().manual_seed(0)
    weight, bias = (torch.randn(*s, generator=generator).half().float() for s in ((50, 96), (50,)))
    x = torch.randn(*shape, generator=generator)
    expected = F.linear(x.bfloat16().double(), weight.bfloat16().double(), bias.double())
    product = TwofoldProduct(weight, bias)
    weight.zero_()  # was copied
    bias.zero_()
    found = product(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float(), rtol=2**-15, atol=2**-15)


@fbgemm
def test_half_precision_is_for_weights_that_it_holds() -> None:
    """Every number of half precision is kept to the last bit, the smallest and largest too."""
    halves = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.half).float()
    weight = halves[halves.isfinite()].view(-1, 1)
    assert torch.equal(Product(weight)(torch.ones(1, 1)), weight.view(1, -1))
    almost = torch.tensor([[1 + 2**-12, 1.0], [70000.0, 1e-9]])
    assert torch.equal(Product(almost)(torch.eye(2)), almost.T)


@onednn
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activated_convolution_equals_both_modules(activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2).requires_grad_(False)
    x = 10 * torch.randn(2, 4, 9, 8)
    module = activated(convolution, activation(), convolution.bias)
    assert isinstance(module, ActivatedConvolution)
    found = module(x)
    torch.testing.assert_close(found, activation()(convolution(x)), rtol=1e-4, atol=1e-4)
    # The weights that were laid out are no second copy of parameters; their type is known by one.
    assert [(each.numel(), each.dtype) for each in module.parameters()] == [(0, torch.float32)]


@onednn
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_pointwise_convolution_equals_both_modules(
    activation: type[nn.Module], biased: bool, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 6, 1, bias=biased).requires_grad_(False)
    assert is_pointwise(convolution)
    x = (10 * torch.randn(2, 4, 9, 8)).to(memory_format=layout)
    module = activated(convolution, activation(), convolution.bias)
    assert isinstance(module, PointwiseConvolution)
    found = module(x)
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


@onednn
def test_onednn_is_used_where_torch_has_it() -> None:
    assert has_onednn(torch.zeros(1))


@fbgemm
def test_fbgemm_is_used_where_torch_has_it() -> None:
    assert has_fbgemm(torch.zeros(1))


def test_onednn_is_not_used_for_other_types_and_devices() -> None:
    assert not has_onednn(torch.zeros(1, dtype=torch.float64))
    assert not has_onednn(torch.zeros(1, device="meta"))


def test_bf16_is_fast_only_where_a_cpu_multiplies_matrices_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weight = torch.zeros(2, 2)
    assert not has_fast_bf16(weight.double())
    assert not has_fast_bf16(weight.to("meta"))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert has_fast_bf16(weight) == has_onednn(weight.bfloat16())
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert not has_fast_bf16(weight)


@pytest.mark.parametrize("fault", ["missing", "changed", "wrong"])
def test_operators_that_are_not_as_expected_are_not_used(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Library:
        """Private operators as another torch might have them."""

        def __getattr__(self, name: str) -> Any:
            if fault == "missing":
                raise AttributeError(name)
            if fault == "changed":
                return lambda: None
            return lambda x, *_: x

    weight = torch.tensor([[1.0, 0.5], [0.25, 2.0]])
    convolution = nn.Conv2d(2, 2, 1).requires_grad_(False)
    x = torch.randn(1, 2, 3, 3)
    for name in ("mkldnn", "quantized"):
        monkeypatch.setattr(torch.ops, name, Library())
    trials = (products._onednn_works, products._fbgemm_works, products._subtraction_works)
    for trial in trials:
        trial.cache_clear()
    try:
        assert not has_onednn(weight)
        assert not products._subtraction_works()
        assert not has_fbgemm(weight)
        assert torch.equal(Product(weight)(weight), weight @ weight.T)
        assert torch.equal(
            activated(convolution, nn.ReLU(), convolution.bias)(x), convolution(x).relu()
        )
    finally:
        for trial in trials:
            trial.cache_clear()


def test_trying_private_operators_draws_no_random_numbers() -> None:
    """Otherwise the dropout of a training would depend on when its encoder is prepared."""
    before = torch.get_rng_state()
    for trial in (products._onednn_works, products._fbgemm_works):
        trial.cache_clear()
    has_onednn(torch.ones(2, 2))
    has_fbgemm(torch.ones(2, 2))
    assert torch.equal(torch.get_rng_state(), before)
