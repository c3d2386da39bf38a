"""``captioner bench operators``, on a tiny checkpoint; the figures mean nothing here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import command
from benchmarks.operators import CHOOSING, CONVOLUTIONS, OTHERS, PRODUCTS, Spent, kind_of


def test_it_prints_every_part(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    out = tmp_path / "out"
    quick = ["--quick", "--checkpoint", str(tiny_checkpoint), "--out", str(out)]
    command.main(["operators", *quick])
    printed = capsys.readouterr().out
    for row in ("decoding", f"encoder: {CONVOLUTIONS}", f"search: {PRODUCTS}", "together"):
        assert f"\n{row} " in printed
    assert torch.get_num_threads() == threads
    figures = json.loads((out / "operators.json").read_text())["figures"]["operators"]
    assert list(figures) == ["batches of 2", "alone"]
    for each in figures.values():
        assert each["calls"][f"search, {PRODUCTS}"] > 0
        assert each["seconds_a_photo"]["decoding, "] > 0


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("mkldnn::_convolution_pointwise", CONVOLUTIONS),
        ("mkldnn::_linear_pointwise", PRODUCTS),
        ("quantized::linear_dynamic_fp16", PRODUCTS),
        ("aten::addmm", PRODUCTS),
        ("aten::scatter_add_", CHOOSING),
        ("aten::view", OTHERS),
    ],
)
def test_operators_have_kinds(operator: str, kind: str) -> None:
    assert kind_of(operator) == kind


def test_the_time_of_operators_is_not_counted_between_them() -> None:
    spent = Spent()
    x = torch.rand(700, 700)
    product = spent.profile("part", lambda: x @ x)
    torch.testing.assert_close(product, x @ x)
    assert spent.calls["part", PRODUCTS] >= 1
    assert spent.seconds["part", PRODUCTS] > spent.seconds["part", OTHERS]
