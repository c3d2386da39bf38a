"""The encoder while it learns, as a CPU computes it fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from model.encoder import Encoder

# Photos encoded together on a CPU: what is kept for the gradients is more than its cache holds, but
# larger blocks of it come from the system anew, page by page, for every layer and batch.
MICRO_BATCH = 8


class LearningEncoder:
    """What `Encoder` computes, and its gradients."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def __call__(self, photos: torch.Tensor) -> torch.Tensor:
        """As `Encoder.forward`."""
        with depthwise_in_float32(self._encoder):
            return self._encoder.in_micro_batches(photos, MICRO_BATCH)


@contextmanager
def depthwise_in_float32(network: nn.Module) -> Iterator[None]:
    """Convolutions of single channels stay out of the CPU's autocast.

    Their gradients in bfloat16 take a CPU many times as long as in float32: those of kernels of
    five pixels, and of strides of two.
    """
    if not torch.is_autocast_enabled("cpu"):
        yield
        return
    hooks = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            hooks.append(module.register_forward_pre_hook(_leave_autocast))
            hooks.append(module.register_forward_hook(_enter_autocast))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        torch.set_autocast_enabled("cpu", True)


def _leave_autocast(convolution: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    assert isinstance(convolution, nn.Conv2d)
    torch.set_autocast_enabled("cpu", False)
    return inputs[0].to(convolution.weight.dtype)


def _enter_autocast(*_: object) -> None:
    torch.set_autocast_enabled("cpu", True)
