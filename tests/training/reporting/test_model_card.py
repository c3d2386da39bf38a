from __future__ import annotations

from pathlib import Path

import pytest

from training.reporting.model_card import inherited_terms


@pytest.mark.parametrize(
    ("card", "wanted"),
    [
        ("---\nlicense: cc-by-nc-4.0\ntags: [x]\n---\n# X\n", "> license: cc-by-nc-4.0"),
        ("# X\n\nGood.\n\n## License\n\nNo commerce.\n\n## Use\n\nMuch.\n", "> No commerce."),
        ("# X\n\nGood.\n", "says nothing of data or licence: ask who made it"),
        (None, "says nothing of data or licence: ask who made it"),
    ],
)
def test_terms_are_found_in_a_card(tmp_path: Path, card: str | None, wanted: str) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    found = inherited_terms(tmp_path).splitlines()
    assert wanted in "\n".join(found)
    assert not any("Much" in line or "tags" in line or "Good" in line for line in found)
