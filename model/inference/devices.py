"""The choice of a device to compute on and of a precision to compute in."""

from __future__ import annotations

import torch

PRECISIONS = ("auto", "float32", "mixed", "bfloat16")


def choose_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is a GPU if there is one.

    Raises
    ------
    ValueError
        The device cannot be used on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used here: {error}") from error
    return device


def has_bf16(device: torch.device) -> bool:
    """Whether products in bfloat16 are faster than in float32 on this device, not just possible."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported()
    return False


def choose_precision(
    name: str, device: torch.device, rounded: bool = False
) -> tuple[torch.dtype, torch.dtype]:
    """Return the types of the encoder's convolutions and of the decoder's products.

    ``float32``
        Both compute in float32.
    ``mixed``
        The decoder computes in bfloat16.
    ``bfloat16``
        Both do, the encoder but for its first layers.
    ``auto``
        Where bfloat16 is fast, ``bfloat16`` if the weights are ``rounded`` for it and ``mixed`` if
        they are not; elsewhere ``float32``.

    Parameters
    ----------
    rounded
        See `model.inference.rounding.is_rounded`.

    Raises
    ------
    ValueError
        There is no precision of that name.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision is {name!r}; it must be one of {', '.join(PRECISIONS)}")
    if name == "auto":
        fast = "bfloat16" if rounded else "mixed"
        name = fast if has_bf16(device) else "float32"
    return (
        torch.bfloat16 if name == "bfloat16" else torch.float32,
        torch.float32 if name == "float32" else torch.bfloat16,
    )
