"""The table of formats: every reader says what it reads, and so does the documentation."""

from __future__ import annotations

import re
from pathlib import Path

from training.data.formats import READERS

ROOT = Path(__file__).resolve().parents[4]


def test_every_format_is_documented_and_says_what_it_looks_like() -> None:
    table = re.findall(r"^\| `([a-z0-9-]+)` \|", (ROOT / "docs" / "train.md").read_text(), re.M)
    assert set(READERS) <= set(table)
    assert all(reader.LAYOUT and reader.__doc__ for reader in READERS.values())
