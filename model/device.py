"""Which device to compute on, and in which precision."""

from __future__ import annotations

import torch


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
