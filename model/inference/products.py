"""Products and convolutions with fixed weights, for inference.

All calls of torch's private operators, `torch.ops.mkldnn` (oneDNN) and `torch.ops.quantized`
(FBGEMM), stand in this file. Code from `torch.compile` and quantised models call them too; here no
compiler is needed. What is gained: weights are laid out once and not in every call, those of the
decoder are read in half precision, and a convolution and its activation are one pass over memory.
By torch's public functions, on a core of an AMD EPYC (Zen 4), the shipped captioner takes 1.2 times
as long for 32 photos together, and 1.6 (bfloat16) to 2.4 times (float32) for one photo alone.

Where an operator does not exist, or a small trial shows that it does not do what this file expects,
torch's public functions compute the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

# oneDNN's names of the activations that it applies before an output leaves the cache.
ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.Hardswish: ("hardswish", []),
    nn.SiLU: ("swish", []),
}
# oneDNN compiles a program for each number of rows that it multiplies, and keeps a thousand of
# them, a quarter of a gigabyte. A search has another number in every step, so more rows than these
# are filled up to a multiple of them.
ROWS = 16
# So many rows, at most, are multiplied by FBGEMM once rather than by oneDNN twice.
FEW_ROWS = 32
Function = Callable[[torch.Tensor], torch.Tensor]
TRIAL = [[1.0, 0.5], [0.25, 2.0]]  # a matrix that all types hold exactly


class Product:
    """``x W^T + b``, with the weights laid out as the CPU's product wants them.

    `torch.nn.functional.linear` does that in every call, which for a few rows takes longer than the
    product. Weights that half precision holds exactly, such as a checkpoint's, are kept in it: the
    time for a few rows is that of reading the weights. The result, in float32, is the same.

    Parameters
    ----------
    weight
        shape = (out, in); it and the bias are copied.
    bias
        Of the weight's type or, more exact where oneDNN adds it, in float32.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._weight = weight.detach().clone()
        self._bias = None if bias is None else bias.detach().clone()
        self._compute = self._by_torch
        if has_fbgemm(weight) and bool((weight.half() == weight).all()):
            self._weight = torch.ops.quantized.linear_prepack_fp16(self._weight, self._bias)
            self._compute = self._by_fbgemm
        elif has_onednn(weight):
            self._weight = _packed(self._weight)
            self._compute = self._by_onednn
        elif self._bias is not None:
            self._bias = self._bias.to(weight.dtype)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply (..., in), of two or more dimensions, to (..., out), in the weights' type."""
        return self._compute(x)

    def _by_torch(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._weight, self._bias)

    def _by_fbgemm(self, x: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.quantized.linear_dynamic_fp16(x, self._weight)
        return product

    def _by_onednn(self, x: torch.Tensor) -> torch.Tensor:
        if x.numel() <= ROWS * x.shape[-1]:
            return _linear(x, self._weight, self._bias, "none", [])
        rows = _filled_up(x)
        product = _linear(rows, self._weight, self._bias, "none", [])
        return product[: x.shape[:-1].numel()].view(*x.shape[:-1], product.shape[-1])


class TwofoldProduct:
    """``x W^T + b`` in float32, with x and W rounded to bfloat16, where that is fast enough.

    oneDNN rounds a product in bfloat16 to eight bits, too few for the scores of words. But it can
    subtract before it rounds: the same product less the rounded one is what rounding took away, and
    the sum of both has sixteen bits. On a core with AMX the two take half of the time of the one
    product in float32.

    Parameters
    ----------
    weight, bias
        See `Product`.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        rounded = weight.detach().bfloat16()
        self._few = Product(rounded.float(), bias)  # half precision holds them: they were rounded
        self._weight = _packed(rounded)
        self._bias = bias.detach().clone()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply (..., in), of two or more dimensions, to (..., out)."""
        count = x.shape[:-1].numel()
        x = x.bfloat16()
        if count <= FEW_ROWS:
            return self._few(x.float())
        rows = _filled_up(x)
        product = _linear(rows, self._weight, None, "none", [])
        rest = _linear_minus(rows, self._weight, product)
        scores = torch.add(self._bias, product).add_(rest)
        return scores[:count].view(*x.shape[:-1], len(self._bias))


def activated(
    convolution: nn.Conv2d, activation: nn.Module, bias: torch.Tensor | None
) -> nn.Module:
    """Return one module that convolves and then applies the activation, as fast as is possible.

    Parameters
    ----------
    activation
        Its type is one of `ACTIVATIONS`.
    bias
        That of the convolution, or the same in float32: oneDNN adds it before it rounds the sum.
    """
    if not has_onednn(convolution.weight):
        return nn.Sequential(convolution, activation)
    kind = PointwiseConvolution if is_pointwise(convolution) else ActivatedConvolution
    return kind(convolution, bias, *ACTIVATIONS[type(activation)])


class ActivatedConvolution(nn.Module):
    """A convolution and its activation in one call of oneDNN; see `activated`."""

    def __init__(
        self, convolution: nn.Conv2d, bias: torch.Tensor | None, name: str, bounds: list[float]
    ) -> None:
        super().__init__()
        # Without elements: by its type an encoder knows what to convert photos to.
        self.like = nn.Parameter(convolution.weight.new_empty(0), requires_grad=False)
        self._compute = _convolution_of(convolution, bias, name, bounds)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._compute(x)


class PointwiseConvolution(nn.Module):
    """A convolution with a kernel of one pixel, computed as a product, which is faster.

    Its input is copied unless it is laid out with the channels innermost.
    """

    def __init__(
        self, convolution: nn.Conv2d, bias: torch.Tensor | None, name: str, bounds: list[float]
    ) -> None:
        super().__init__()
        self._weight = _packed(convolution.weight.detach().flatten(1).contiguous())
        self._bias = bias
        self._name, self._bounds = name, bounds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixels = x.permute(0, 2, 3, 1).contiguous()  # (B, h, w, channels)
        product = _linear(pixels, self._weight, self._bias, self._name, self._bounds)
        return product.permute(0, 3, 1, 2)


def is_pointwise(convolution: nn.Conv2d) -> bool:
    """Whether each pixel of the output reads one pixel of the input, the one at its own place."""
    return (
        convolution.kernel_size == (1, 1)
        and convolution.stride == (1, 1)
        and convolution.padding in ((0, 0), "valid")
        and convolution.groups == 1
    )


def has_onednn(weight: torch.Tensor) -> bool:
    """Whether oneDNN's operators can compute with this weight."""
    on_cpu = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.bfloat16)
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return on_cpu and bool(available) and _onednn_works(weight.dtype)


def has_fbgemm(weight: torch.Tensor) -> bool:
    """Whether FBGEMM can multiply float32 with this weight in half precision."""
    quantised = torch.backends.quantized
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and "fbgemm" in quantised.supported_engines
        and quantised.engine in ("fbgemm", "x86")
        and _fbgemm_works()
    )


def has_fast_bf16(weight: torch.Tensor) -> bool:
    """Whether `TwofoldProduct` can compute with this weight, and is faster than `Product`."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.cpu._is_amx_tile_supported()
        and has_onednn(weight.bfloat16())
        and _subtraction_works()
    )


def product_operators() -> list[Any]:
    """Return the private operators that are products, for counters of operations."""
    return [
        getattr(library, name)
        for library, name in (
            (torch.ops.mkldnn, "_linear_pointwise"),
            (torch.ops.quantized, "linear_dynamic_fp16"),
        )
        if hasattr(library, name)
    ]


def convolution_operators() -> list[Any]:
    """Return the private operators that are convolutions, for counters of operations."""
    name = "_convolution_pointwise"
    return [getattr(torch.ops.mkldnn, name)] if hasattr(torch.ops.mkldnn, name) else []


def _packed(weight: torch.Tensor) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    return packed


def _filled_up(x: torch.Tensor) -> torch.Tensor:
    """Return the rows of x (..., N) and zeros up to a multiple of `ROWS`."""
    rows = x.flatten(0, -2)
    added = -len(rows) % ROWS
    return F.pad(rows, (0, 0, 0, added)) if added else rows


def _linear(
    x: torch.Tensor,
    packed: torch.Tensor,
    bias: torch.Tensor | None,
    activation: str,
    bounds: list[float],
) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        x, packed, bias, activation, bounds, ""
    )
    return product


def _linear_minus(x: torch.Tensor, packed: torch.Tensor, subtrahend: torch.Tensor) -> torch.Tensor:
    """Return ``x W^T - subtrahend``, rounded only at its end."""
    difference: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(
        x, subtrahend, packed, None, "sub"
    )
    return difference


def _convolution_of(
    c: nn.Conv2d, bias: torch.Tensor | None, activation: str, bounds: list[float]
) -> Function:
    """Return a convolution and its activation as a function, with weights laid out for it."""
    padding, stride, dilation = list(c.padding), list(c.stride), list(c.dilation)
    packed = torch.ops.mkldnn._reorder_convolution_weight(
        c.weight.detach(), padding, stride, dilation, c.groups, None
    )
    rest = packed, bias, padding, stride, dilation, c.groups, activation, bounds, ""

    def convolve(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(x, *rest)
        return result

    return convolve


@cache
def _onednn_works(dtype: torch.dtype) -> bool:
    """Try a small product and convolution of that type, biased in float32, against torch's own."""

    def agree() -> bool:
        if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        matrix, bias = torch.tensor(TRIAL, dtype=dtype), torch.tensor([0.5, -0.5])
        product = _linear(matrix, _packed(matrix), bias, "none", [])
        # Made on "meta", it draws no random numbers for weights that are replaced.
        convolution = nn.Conv2d(1, 1, 2, bias=False, device="meta")
        convolution.weight = nn.Parameter(4 * matrix[None, None])
        convolve = _convolution_of(convolution, bias[:1], "hardtanh", [0.0, 6.0])
        clamped = convolve(matrix[None, None])
        return torch.equal(product, matrix @ matrix.T + bias.to(dtype)) and clamped.item() == 6

    return _succeeds(agree)


@cache
def _subtraction_works() -> bool:
    """Try whether subtracting a rounded product leaves what rounding took away."""

    def agree() -> bool:
        x = torch.tensor([[1.0, 2**-9]], dtype=torch.bfloat16)
        weight = _packed(torch.ones(1, 2, dtype=torch.bfloat16))
        product = _linear(x, weight, None, "none", [])
        return product.item() == 1 and _linear_minus(x, weight, product).item() == 2**-9

    return _succeeds(agree)


@cache
def _fbgemm_works() -> bool:
    """Try a small product in half precision against torch's own."""

    def agree() -> bool:
        matrix = torch.tensor(TRIAL)
        packed = torch.ops.quantized.linear_prepack_fp16(matrix, None)
        product = torch.ops.quantized.linear_dynamic_fp16(matrix, packed)
        return torch.equal(product, matrix @ matrix.T)

    return _succeeds(agree)


def _succeeds(trial: Callable[[], bool]) -> bool:
    """Whether a trial of private operators is true; one that they make fail is not."""
    try:
        with torch.inference_mode():
            return trial()
    except (AttributeError, RuntimeError, TypeError):  # another torch has them otherwise
        return False
