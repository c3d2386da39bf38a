"""Products and convolutions with fixed weights, for inference.

Where torch has oneDNN for the CPU they call it as code from `torch.compile` does, without needing a
compiler; elsewhere they are torch's own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

# What oneDNN calls the activations it applies before a convolution's output leaves the cache.
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
    product.

    Parameters
    ----------
    weight
        shape = (out, in); it and the bias are copied.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._bias = None if bias is None else bias.detach().clone()
        self._packed = has_onednn(weight)
        weight = weight.detach().clone()
        self._weight: torch.Tensor = (
            torch.ops.mkldnn._reorder_linear_weight(weight, None) if self._packed else weight
        )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out), both in the type of the weights."""
        if not self._packed:
            return F.linear(x, self._weight, self._bias)
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


def has_onednn(weight: torch.Tensor) -> bool:
    """Whether products with this weight can be computed so."""
    known = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if weight.device.type != "cpu" or not known:
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32
