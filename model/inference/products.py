"""Products and convolutions with fixed weights, for inference.

Where torch has oneDNN or FBGEMM for the CPU they call those as code from `torch.compile` and
quantised models do, without needing a compiler; elsewhere they are torch's own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

# What oneDNN calls the activations it applies before an output leaves the cache.
ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.Hardswish: ("hardswish", []),
    nn.SiLU: ("swish", []),
}


class Product:
    """``x W^T + b``, with the weights laid out as the CPU's product wants them.

    `torch.nn.functional.linear` does that in every call, which for a few rows takes longer than the
    product. Weights that half precision holds exactly, as it does a checkpoint's, are kept in it: a
    few rows take as long as reading the weights does, and what is computed, in float32, is the
    same.

    Parameters
    ----------
    weight
        shape = (out, in); it and the bias are copied.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._weight = weight.detach().clone()
        self._bias = None if bias is None else bias.detach().clone()
        self._compute = self._by_torch
        if has_fbgemm(weight) and bool((weight.half() == weight).all()):
            self._weight = torch.ops.quantized.linear_prepack_fp16(self._weight, self._bias)
            self._compute = self._by_fbgemm
        elif has_onednn(weight):
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight, None)
            self._compute = self._by_onednn

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) with two or more dimensions to (..., out), in the type of the weights."""
        return self._compute(x)

    def _by_torch(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._weight, self._bias)

    def _by_fbgemm(self, x: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.quantized.linear_dynamic_fp16(x, self._weight)
        return product

    def _by_onednn(self, x: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, self._bias, "none", [], ""
        )
        return product


class ActivatedConvolution(nn.Module):
    """A convolution and its activation in one, where `has_onednn` of its weight.

    Parameters
    ----------
    activation
        Its type is one of `ACTIVATIONS`.
    """

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution
        self._name, self._bounds = ACTIVATIONS[type(activation)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        c = self.convolution
        result: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
            x,
            c.weight,
            c.bias,
            list(c.padding),
            list(c.stride),
            list(c.dilation),
            c.groups,
            self._name,
            self._bounds,
            "",
        )
        return result


class PointwiseConvolution(nn.Module):
    """`ActivatedConvolution` with a kernel of one pixel, as the product that it is: faster.

    What it reads is copied unless it is laid out with the channels innermost.
    """

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__()
        weight = convolution.weight.detach().flatten(1).contiguous()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        self._bias = None if convolution.bias is None else convolution.bias.detach()
        self._name, self._bounds = ACTIVATIONS[type(activation)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixels = x.permute(0, 2, 3, 1).contiguous()  # (B, h, w, channels)
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            pixels, self._weight, self._bias, self._name, self._bounds, ""
        )
        return product.permute(0, 3, 1, 2)


def is_pointwise(convolution: nn.Conv2d) -> bool:
    """Whether every pixel of the output reads just one of the input, and one after another."""
    return (
        convolution.kernel_size == (1, 1)
        and convolution.stride == (1, 1)
        and convolution.padding in ((0, 0), "valid")
        and convolution.groups == 1
    )


def has_onednn(weight: torch.Tensor) -> bool:
    """Whether products with this weight can be computed so."""
    known = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if weight.device.type != "cpu" or not known:
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32


def has_fbgemm(weight: torch.Tensor) -> bool:
    """Whether products of float32 with this weight in half precision can be computed so."""
    quantised = torch.backends.quantized
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and "fbgemm" in quantised.supported_engines
        and quantised.engine in ("fbgemm", "x86")
    )
