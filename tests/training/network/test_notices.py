from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from model import checkpoint
from model.checkpoint import InvalidCheckpoint
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.config import TrainingConfig
from training.data.mixture import Mixture
from training.network.notices import inherited_notices, notices

UNKNOWN = "old: its card says nothing of data or licence: ask who made it about its use."
CARD = """---
license: cc-by-nc-4.0
tags: [x]
---
# X

Good.

## Data

| photos | 3 |
Of \tparks.
\x1b[2J

## Use

Much.
"""


@pytest.mark.parametrize(
    ("card", "wanted"),
    [
        (CARD, "old: by its model card: license: cc-by-nc-4.0 Of parks. [2J"),
        ("# X\n\n## License\n\nNo commerce.\n", "old: by its model card: No commerce."),
        ("# X\n\nGood.\n", UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_a_checkpoint_without_notices_is_quoted_by_its_card(
    tmp_path: Path, network: ShowAttendTell, word_map: WordMap, card: str | None, wanted: str
) -> None:
    old = tmp_path / "old"
    checkpoint.save(old, network, word_map, card or "")
    if card is None:
        (old / "README.md").unlink()
    assert inherited_notices(old) == (wanted,)
    assert dataclasses.replace(network.config, notices=(wanted,))  # it is valid


def test_notices_are_preferred_to_the_card(
    tmp_path: Path, network: ShowAttendTell, word_map: WordMap
) -> None:
    network.config = dataclasses.replace(network.config, notices=("a", "b"))
    checkpoint.save(tmp_path / "old", network, word_map, CARD)
    assert inherited_notices(tmp_path / "old") == ("a", "b")


def test_malformed_notices_are_named(tiny_checkpoint: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    checkpoint.save(old, *checkpoint.load(tiny_checkpoint), "")
    config = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps(config | {"notices": "mine"}))
    with pytest.raises(InvalidCheckpoint, match=r"old/config\.json: notices is 'mine'; it must be"):
        inherited_notices(old)


@pytest.mark.parametrize(
    ("notice", "wanted"),
    [
        ("", ()),
        (" CC BY\n 4.0 ", ("shapes: CC BY 4.0",)),
        ("Shapes by Ann.", ("Shapes by Ann.",)),
        (["CC0"], ("shapes: CC0",)),
        ([""], ()),
    ],
)
def test_given_notices_begin_with_the_name_of_the_data(
    training: TrainingConfig, notice: str | list[str], wanted: tuple[str, ...]
) -> None:
    config = dataclasses.replace(training, notice=notice)
    assert notices(config, Mixture.open(config.folders)) == wanted


def test_one_notice_about_several_folders(training: TrainingConfig, greens: Path) -> None:
    folders = [training.folders[0].path, greens]
    config = dataclasses.replace(training, data=folders, notice="All mine.")
    mixture = Mixture.open(config.folders)
    assert notices(config, mixture) == ("All mine.",)
    config = dataclasses.replace(config, notice=["", "CC0"])
    assert notices(config, mixture) == ("greens: CC0",)
