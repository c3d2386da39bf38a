"""The encoder while training: frozen, or learning; each as it is computed fastest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from model.encoder import Encoder
from model.inference.prepared import prepare_encoder

# Photos encoded together while the encoder learns. What is kept of them for the gradients is more
# than a CPU's cache holds, but larger blocks of memory come from the system anew, page by page, for
# every layer and batch.
MICRO_BATCH = 8


class FrozenEncoder:
    """A copy of an encoder that does not learn, folded as for captioning.

    On a CPU it takes a third of the encoder's time.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = prepare_encoder(encoder, next(encoder.parameters()).dtype)

    @torch.no_grad()
    def __call__(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the grids of photos: uint8 (B, 3, S, S) -> (B, P, D)."""
        with torch.autocast(photos.device.type, enabled=False):
            return self._encoder.in_micro_batches(photos)


class LearningEncoder:
    """An encoder that computes what `Encoder` does, and its gradients, a micro-batch at a time."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def __call__(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the grids of photos: uint8 (B, 3, S, S) -> (B, P, D)."""
        with depthwise_in_float32(self._encoder):
            return self._encoder.in_micro_batches(photos, MICRO_BATCH)


@contextmanager
def depthwise_in_float32(network: nn.Module) -> Iterator[None]:
    """Keep convolutions of single channels out of the CPU's autocast.

    Their gradients in bfloat16 take a CPU many times as long as in float32 where a kernel has five
    pixels or a stride of two.
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
