"""The choice of a device to compute on and of a precision to compute in."""

from __future__ import annotations

import torch

PRECISIONS = ("auto", "float32", "mixed", "bfloat16")


def choose_device(name: str) -> torch.device:
    """``auto`` is a GPU if there is one; raises `ValueError` for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used here: {error}") from error
    return device


def has_bf16(device: torch.device) -> bool:
    """Whether bfloat16 products are faster than float32 there, not merely possible."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported()
    return False


def choose_precision(name: str, device: torch.device) -> tuple[torch.dtype, torch.dtype]:
    """What the encoder's convolutions and the decoder's products are computed in.

    ``float32``
        Both in float32.
    ``mixed``
        The decoder in bfloat16: in 2 % of the photos a word changes.
    ``bfloat16``
        The encoder too, whose many layers add up their rounding: in 21 % a word changes.
    ``auto``
        ``mixed`` where bfloat16 is fast, otherwise ``float32``.

    Raises
    ------
    ValueError
        There is no precision of that name.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision is {name!r}; it must be one of {', '.join(PRECISIONS)}")
    if name == "auto":
        name = "mixed" if has_bf16(device) else "float32"
    return (
        torch.bfloat16 if name == "bfloat16" else torch.float32,
        torch.float32 if name == "float32" else torch.bfloat16,
    )
