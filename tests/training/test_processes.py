"""The processes of a training: which device each takes."""

from __future__ import annotations

import pytest
import torch

from training import processes


@pytest.mark.parametrize(
    ("asked", "gpus", "taken"),
    [
        ("auto", True, "cuda:1"),
        ("cuda", True, "cuda:1"),
        ("cuda:0", True, "cuda:0"),
        ("cpu", True, "cpu"),
        ("auto", False, "auto"),  # which is the CPU
        ("cuda", False, "cuda"),  # which is an error
    ],
)
def test_each_process_of_a_machine_takes_a_gpu_of_its_own(
    asked: str, gpus: bool, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[str] = []

    def choose_device(name: str) -> torch.device:
        chosen.append(name)
        return torch.device("cpu")

    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    monkeypatch.setattr(processes, "choose_device", choose_device)
    with processes.joined(asked):
        assert chosen == [taken]
