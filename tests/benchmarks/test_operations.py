from __future__ import annotations

from functools import partial

import pytest
import torch

from benchmarks.operations import count_operations
from model.inference.products import Product, TwofoldProduct, has_onednn


@pytest.mark.parametrize("rows", [4, 48])
@pytest.mark.parametrize("kind", [Product, TwofoldProduct])
def test_a_product_is_counted_once_however_it_is_computed(
    kind: type[Product | TwofoldProduct], rows: int
) -> None:
    """A twofold product multiplies twice, for one result."""
    if kind is TwofoldProduct and not has_onednn(torch.zeros(1, dtype=torch.bfloat16)):
        pytest.skip("oneDNN does not compute in bfloat16 on this CPU")
    product = kind(torch.randn(5, 7), torch.randn(5))
    with torch.inference_mode():
        assert count_operations(partial(product, torch.randn(rows, 7))) == 2 * rows * 5 * 7
