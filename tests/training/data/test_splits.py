from __future__ import annotations

from pathlib import Path

from tests.training.data.reds import COUNT, SIZE
from training.data.prepare import prepare


def test_a_source_without_validation_gets_a_seeded_one(source: Path, tmp_path: Path) -> None:
    one = prepare(source, tmp_path / "one", SIZE, seed=1)
    assert {split: len(rows) for split, rows in one.splits.items()} == {"train": 36, "val": 4}
    assert sorted(one.splits["train"] + one.splits["val"]) == list(range(COUNT))

    header, *lines = (source / "captions.txt").read_text().splitlines()
    in_pairs = [lines[i : i + 2] for i in range(0, len(lines), 2)]
    turned = [line for pair in reversed(in_pairs) for line in pair]
    (source / "captions.txt").write_text("\n".join([header, *turned]))
    assert prepare(source, tmp_path / "turned", SIZE, seed=1).digest == one.digest

    two = prepare(source, tmp_path / "two", SIZE, seed=2, val_share=0.25)
    assert len(two.splits["val"]) == 10
    assert not set(one.splits["val"]) <= set(two.splits["val"])
    assert two.digest != one.digest
    assert "val" not in prepare(source, tmp_path / "none", SIZE, val_share=0).splits
