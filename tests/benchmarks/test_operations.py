from __future__ import annotations

import pytest
import torch

from benchmarks.operations import count_operations
from model.inference.products import Product, TwofoldProduct, has_onednn


@pytest.mark.parametrize("rows", [4, 48])
def test_a_product_is_counted_once_however_it_is_computed(rows: int) -> None:
    """A twofold product multiplies twice, for one result."""
    weight, bias, x = torch.randn(5, 7), torch.randn(5), torch.randn(rows, 7)
    kinds = [Product]
    if has_onednn(weight.bfloat16()):
        kinds.append(TwofoldProduct)
    for products in ([kind(weight, bias)] for kind in kinds):
        with torch.inference_mode():
            assert count_operations(lambda: products[0](x)) == 2 * rows * 5 * 7
