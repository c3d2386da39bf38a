"""Counts the operations of captioning: matrix products and convolutions, as they are executed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.flop_counter import FlopCounterMode

from model.inference.products import convolution_operators, product_operators

Shape = Sequence[int]


def count_operations(run: Callable[[], object]) -> int:
    """Return the floating-point operations of one call, a multiplication and an addition being two.

    The call takes longer than usual, so it must not be timed.
    """
    with FlopCounterMode(display=False, custom_mapping=_OPERATORS) as counter:
        run()
    return int(counter.get_total_flops())


def _of_product(x: Shape, *others: Any, out_shape: Shape, **_: Any) -> int:
    if others[3:4] == ("sub",):  # the second half of a `TwofoldProduct`, which only adds digits
        return 0
    return 2 * math.prod(x) * out_shape[-1]


def _of_convolution(x: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


# torch's counter does not know the private operators that a prepared network calls.
_OPERATORS: dict[Any, Any] = {
    **dict.fromkeys(product_operators(), _of_product),
    **dict.fromkeys(convolution_operators(), _of_convolution),
}
