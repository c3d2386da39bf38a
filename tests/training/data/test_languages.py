"""Whole words in, whole words out: tiny trainings in other scripts than English ones."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

import pytest

from captioner.cli import main as cli
from model.word_map import tokenize
from training.config import TrainingConfig
from training.data.prepare import prepare
from training.stage_options import StageOptions
from training.train import train

COLORS = ("red", "green", "blue")
# The captions of a circle and of a square in each of the colours; two of their words in full.
CAPTIONS = {
    "Hindi": (
        ["यह एक लाल गोला है।", "यह एक हरा गोला है।", "यह एक नीला गोला है।"],
        ["यह एक लाल वर्ग है।", "यह एक हरा वर्ग है।", "यह एक नीला वर्ग है।"],
        {"नीला", "वर्ग"},
    ),
    "German": (
        ["Ein roter Kreis über Weiß.", "Ein grüner Kreis über Weiß.", "Ein Kreis, schön blau."],
        ["Ein rötliches Viereck.", "Ein grünes Viereck.", "Ein bläuliches Viereck."],
        {"grünes", "über"},
    ),
    "Chinese": (
        ["白色背景上有一个红色圆圈。", "白色背景上有一个绿色圆圈。", "白色背景上有一个蓝色圆圈。"],
        ["图中是红色的方块。", "图中是绿色的方块。", "图中是蓝色的方块。"],
        {"红", "块"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("language", CAPTIONS)
def test_a_training_reads_and_writes_whole_words(
    language: str,
    training: TrainingConfig,
    tmp_path: Path,
    render: Callable[..., bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    circles, squares, some_words = CAPTIONS[language]
    source = tmp_path / "source"
    source.mkdir()
    rows, files = [], []
    for shape, captions in (("circle", circles), ("square", squares)):
        for color, caption in zip(COLORS, captions, strict=True):
            files.append(source / f"{color}_{shape}.jpg")
            files[-1].write_bytes(render(color, shape))
            # Decomposed, as some editors and file systems write.
            row = {"file_name": files[-1].name, "text": normalize("NFD", caption)}
            rows += [row | {"split": split} for split in ("train", "val")]
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (source / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    prepare(source, tmp_path / "words", 64)
    network = dataclasses.replace(training.network, hidden_size=48, embedding_size=24)
    stage = StageOptions(epochs=60, patience=60, schedule="constant", learning_rate=0.02)
    scores = train(
        dataclasses.replace(
            training,
            data=tmp_path / "words",
            network=dataclasses.replace(network, dropout=0.0),
            decoder=stage,
            fine_tune=StageOptions(epochs=0),
            self_critical=dataclasses.replace(training.self_critical, epochs=0),
            batch_size=6,
            ema_decay=0.0,
            save_minutes=60.0,
        )
    )
    said = [word for caption in (*circles, *squares) for word in tokenize(caption)]
    assert some_words <= set(said)
    word_map = json.loads((training.out / "word_map.json").read_text(encoding="utf-8"))
    assert set(said) == {word for word in word_map if not word.startswith("<")}
    assert scores["BLEU-1"] > 0.8

    capsys.readouterr()
    cli.main(["caption", "--checkpoint", str(training.out), *map(str, files)])
    printed = capsys.readouterr().out
    assert normalize("NFC", printed) == printed
    texts = [
        line.removeprefix(f"{file}: ")
        for file, line in zip(files, printed.splitlines(), strict=True)
    ]
    assert all(set(tokenize(text)) <= set(said) for text in texts)
    as_written = [
        caption.lower().translate(str.maketrans("", "", ".,。।"))
        for caption in (*circles, *squares)
    ]
    right = [text for text, caption in zip(texts, as_written, strict=True) if text == caption]
    assert len(right) >= 3, texts
