from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from training.config import DataFolder, TrainingConfig
from training.options import parse_arguments
from training.stage_options import SelfCriticalOptions, StageOptions


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"label_smoothing": 1.5}, "label_smoothing is 1.5"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0"),
        ({"decoder": StageOptions(epochs=0)}, "nothing to train"),
    ],
)
def test_configuration_says_what_is_allowed(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingConfig(data=Path("x"), out=Path("y"), **change)


def test_stage_options_say_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"learning_rate is 0\.0"):
        StageOptions(learning_rate=0.0)
    with pytest.raises(ValueError, match="samples is 1"):  # nothing to compare it with
        SelfCriticalOptions(samples=1)
    with pytest.raises(ValueError, match=r"erase is 0\.5, which needs augment"):
        StageOptions(erase=0.5)
    with pytest.raises(ValueError, match=r"colour is 1\.0.*0\.\.0\.9"):
        StageOptions(augment=True, colour=1.0)


@pytest.mark.parametrize(
    ("text", "folder", "repeats"),
    [
        ("data/coco", "data/coco", 1),
        ("data/coco=2", "data/coco", 2),
        ("data/coco=.5", "data/coco", 0.5),
        ("data/lang=en", "data/lang=en", 1),
        ("data/part=2=1", "data/part=2", 1),
    ],
)
def test_a_folder_is_named_with_its_repeats(text: str, folder: str, repeats: float) -> None:
    assert DataFolder.parse(text) == DataFolder(Path(folder), repeats)


@pytest.mark.parametrize("text", ["x=0", "x=1001", "=2"])
def test_repeats_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"data is '{text}'; write FOLDER or FOLDER=N"):
        TrainingConfig(data=[Path("fine"), Path(text)], out=Path("y"))


def test_each_folder_may_have_its_notice() -> None:
    folders = [Path("x"), Path("y")]
    with pytest.raises(ValueError, match="notice lists 1 texts for 2 folders"):
        TrainingConfig(data=folders, out=Path("z"), notice=["only one"])
    with pytest.raises(ValueError, match="data is an empty list"):
        TrainingConfig(data=[], out=Path("z"))


def test_the_command_line_and_a_recipe_name_several_folders(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: [x, y=2]\nnotice: ['a: b', c]\n")
    out = ["--out", "z"]
    read = parse_arguments(["--config", str(recipe), *out]).config
    given = parse_arguments(
        ["--data", "x", "--notice=a: b", "--data=y=2", "--notice", "c", *out]
    ).config
    assert read == given
    assert given.folders == [DataFolder(Path("x")), DataFolder(Path("y"), 2)]
    single = parse_arguments(["--data", "x", "--notice", "[a], b: c", *out]).config
    assert (single.data, single.notice) == (Path("x"), "[a], b: c")
    replaced = parse_arguments(["--config", str(recipe), "--data", "v", "--data", "w", *out]).config
    assert [folder.path for folder in replaced.folders] == [Path("v"), Path("w")]
    with pytest.raises(ValueError, match=r"data.*expected one argument"):
        parse_arguments(["--data", "x", "--data", *out])
