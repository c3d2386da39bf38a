"""Products with fixed weights, for inference."""

from __future__ import annotations

import torch
import torch.nn.functional as F


class Product:
    """``x W^T + b``, with the weights laid out as the CPU's product wants them.

    oneDNN lays weights out anew in every `torch.nn.functional.linear`, which for a few rows costs
    more than the product. Where torch has oneDNN they are laid out once, as `torch.compile` does,
    but without its compiler; elsewhere this is ``linear``.

    Parameters
    ----------
    weight
        shape = (out, in); it and the bias are copied.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._bias = None if bias is None else bias.detach().clone()
        self._packed = weight.device.type == "cpu" and _has_packed(weight.dtype)
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


def _has_packed(dtype: torch.dtype) -> bool:
    if not torch._C._has_mkldnn or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
