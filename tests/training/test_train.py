"""Whole trainings: the same twice, after a kill, in two processes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model import Captioner, DecodingOptions, checkpoint
from model.network import ShowAttendTell
from model.word_map import SPECIAL, WordMap
from training.config import SelfCriticalOptions, StageOptions, TrainingConfig
from training.data import datasets
from training.data.datasets import InvalidDataset
from training.loop import engine, state
from training.reporting.model_card import inherited_terms
from training.scoring.captions import caption_files
from training.scoring.metrics import score
from training.train import TrainingStopped, train

ROOT = Path(__file__).resolve().parents[2]


def figures(training: TrainingConfig) -> list[dict[str, Any]]:
    lines = (training.run_folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def digest(training: TrainingConfig) -> str:
    return hashlib.sha256((training.out / "model.safetensors").read_bytes()).hexdigest()


def test_writes_a_checkpoint_that_scores_what_it_says(
    training: TrainingConfig, dataset: Path
) -> None:
    scores = train(training, command="captioner train --this")
    captioner = Captioner.load(training.out)
    examples = datasets.of_split(datasets.read(dataset).examples, "val")
    search = DecodingOptions(
        training.beam_size, length_penalty=training.length_penalty, consensus=False
    )
    written = caption_files(captioner, [e.photo for e in examples], search)
    texts = [caption.text for caption in written]
    assert score(texts, [e.captions for e in examples]) == pytest.approx(scores, abs=1e-6)
    card = (training.out / "README.md").read_text()
    assert f"{scores['CIDEr']:.4f}" in card
    assert "Rendered shapes." in card
    assert "captioner train --this" in card
    assert list(training.out.parent.iterdir()) == [training.out]

    rows = figures(training)
    stages = ["decoder"] * 2 + ["fine-tune"] * 2 + ["self-critical"]
    assert [row["stage"] for row in rows] == stages
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert ["reward" in row for row in rows] == ["loss" not in row for row in rows]
    assert ["reward" in row for row in rows] == [False] * 4 + [True]
    assert max(row["CIDEr"] for row in rows) == pytest.approx(scores["CIDEr"], abs=0.2)
    assert {p.name for p in training.run_folder.glob("*.png")} == {"report.png", "samples.png"}
    assert len(state.states(training.run_folder)) == training.keep


def test_every_stage_in_bfloat16(training: TrainingConfig) -> None:
    """A CPU without it computes it too, slowly."""
    train(dataclasses.replace(training, precision="bf16"))
    rows = figures(training)
    assert [row["stage"] for row in rows] == ["decoder"] * 2 + ["fine-tune"] * 2 + ["self-critical"]
    assert all(math.isfinite(row.get("loss", row.get("reward"))) for row in rows)
    assert Captioner.load(training.out).network.encoder.image_mean.dtype == torch.float32


def test_figures_for_tensorboard(training: TrainingConfig) -> None:
    train(dataclasses.replace(training, tensorboard=True, save_minutes=60.0))
    events = EventAccumulator(str(training.run_folder / "tensorboard")).Reload()
    assert {"loss", "reward", "CIDEr", "learning_rate", "encoder_learning_rate"} <= set(
        events.Tags()["scalars"]
    )
    written = [(event.step, event.value) for event in events.Scalars("CIDEr")]
    assert written == [(row["epoch"], pytest.approx(row["CIDEr"])) for row in figures(training)]


def test_two_trainings_are_the_same(training: TrainingConfig, tmp_path: Path) -> None:
    train(training)
    other = dataclasses.replace(training, out=tmp_path / "out" / "again", run=tmp_path / "again")
    train(other)
    assert digest(training) == digest(other)


COMMAND = """
import pickle, sys, time, torch
from pathlib import Path
torch.set_num_threads(1)
from training import train as module
from training.loop import self_critical
from training.loop import steps
training, wait = pickle.loads(Path(sys.argv[1]).read_bytes())
def slow(step):
    def forward(self, *arguments):
        time.sleep(wait)
        return step(self, *arguments)
    return forward
for step in (steps.CrossEntropyStep, self_critical.SelfCriticalStep):
    step.forward = slow(step.forward)
try:
    module.train(training, resume=True)
except module.TrainingStopped as stopped:
    print(stopped)
    sys.exit(128 + stopped.number)
"""


def start(
    training: TrainingConfig, folder: Path, wait: float = 0.0, launcher: list[str] | None = None
) -> subprocess.Popen[str]:
    (folder / "config.pickle").write_bytes(pickle.dumps((training, wait)))
    (folder / "command.py").write_text(COMMAND)
    return subprocess.Popen(
        [sys.executable, *(launcher or []), str(folder / "command.py"), folder / "config.pickle"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_state(training: TrainingConfig, beyond: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = state.states(training.run_folder)
        if found and found[-1].name >= beyond:
            return
        time.sleep(0.01)
    raise AssertionError(f"no state beyond {beyond}")


def test_killed_four_times_ends_as_if_nothing_had_been(
    training: TrainingConfig, tmp_path: Path
) -> None:
    """In every stage and between two; SIGTERM before that."""
    undisturbed = dataclasses.replace(training, out=tmp_path / "calm", run=tmp_path / "calm-run")
    train(undisturbed)

    stopped = start(training, tmp_path, wait=0.2)
    wait_for_state(training, "state-0-0001-000001.pt")
    stopped.send_signal(signal.SIGTERM)
    out, err = stopped.communicate(timeout=120)
    assert stopped.returncode == 128 + signal.SIGTERM, err
    assert "stopped by SIGTERM; --resume goes on" in out
    for moment in (
        "state-0-0002-000001.pt",
        "state-0-0003-000000.pt",
        "state-1-0002-000000.pt",
        "state-2-0001-000001.pt",
    ):
        process = start(training, tmp_path, wait=0.2)
        wait_for_state(training, moment)
        process.kill()
        process.communicate()
        assert not training.out.exists()
    process = start(training, tmp_path)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert digest(training) == digest(undisturbed)
    for one, two in zip(figures(training), figures(undisturbed), strict=True):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}


def test_two_processes_train_like_one(training: TrainingConfig, tmp_path: Path) -> None:
    """In float64 and without dropout the loss curves agree to 1e-9."""
    exact = dataclasses.replace(
        training,
        network=dataclasses.replace(training.network, dropout=0.0),
        precision="fp64",
        batch_size=4,
        fine_tune=dataclasses.replace(training.decoder, augment=True, epochs=1),
        self_critical=SelfCriticalOptions(),  # each process draws samples of its own
    )
    alone = dataclasses.replace(exact, out=tmp_path / "one", run=tmp_path / "one-run")
    train(alone)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = start(exact, tmp_path, launcher=launcher)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    curves = [[row["loss"] for row in figures(run)] for run in (alone, exact)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-9)
    assert digest(alone) == digest(exact)


def test_resuming_is_asked_for_and_fits(training: TrainingConfig) -> None:
    train(training)
    with pytest.raises(ValueError, match="holds a training that has begun"):
        train(training)
    with pytest.raises(ValueError, match="begun with other data or another configuration"):
        train(dataclasses.replace(training, alpha_c=0.5), resume=True)
    before = digest(training)
    train(training, resume=True)  # complete already: nothing to train
    assert digest(training) == before
    with pytest.raises(ValueError, match="or delete it to begin anew"):
        train(training, overwrite=True)  # of the checkpoint, not of the states

    newest = state.states(training.run_folder)[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"{newest.name} cannot be read"):
        train(training, resume=True)


def brief(training: TrainingConfig, **changes: Any) -> TrainingConfig:
    """One epoch of the decoder alone."""
    stages: dict[str, Any] = {
        "decoder": dataclasses.replace(training.decoder, epochs=1),
        "fine_tune": StageOptions(epochs=0),
        "self_critical": SelfCriticalOptions(),
    }
    return dataclasses.replace(training, save_minutes=60.0, **stages | changes)


def test_a_checkpoint_of_another_training_stays(
    training: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = brief(training)
    train(first)
    before = digest(first)
    other = brief(training, run=tmp_path / "other", seed=2)
    with monkeypatch.context() as patched:
        patched.setattr(engine, "train_one_epoch", lambda **_: pytest.fail("trained first"))
        with pytest.raises(ValueError, match="shapes holds a checkpoint already; add --overwrite"):
            train(other)
    assert digest(first) == before
    assert not other.run_folder.exists()
    train(other, overwrite=True)
    assert digest(first) != before


def test_its_own_checkpoint_is_no_obstacle_and_its_calibration_stays(
    training: TrainingConfig,
) -> None:
    training = brief(training)
    train(training)
    (training.out / "calibration.json").write_text("{}")
    before = digest(training)
    train(training, resume=True)
    assert (training.out / "calibration.json").exists()
    (training.out / "model.safetensors").unlink()  # damaged: no longer its own
    with pytest.raises(ValueError, match="holds a checkpoint already"):
        train(training, resume=True)
    train(training, resume=True, overwrite=True)
    assert digest(training) == before


def test_a_checkpoint_written_meanwhile_stays_and_nothing_is_lost(
    training: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, quicker = brief(training), brief(training, run=tmp_path / "quicker", seed=2)
    train_one_epoch = engine.train_one_epoch

    def overtaken(**arguments: Any) -> None:
        monkeypatch.setattr(engine, "train_one_epoch", train_one_epoch)
        train(quicker)
        train_one_epoch(**arguments)

    monkeypatch.setattr(engine, "train_one_epoch", overtaken)
    with pytest.raises(ValueError, match=r"already; .* own is .*best, and --resume"):
        train(training)
    assert checkpoint.is_same(training.out, quicker.run_folder / "best")
    elsewhere = dataclasses.replace(training, out=tmp_path / "elsewhere")
    train(elsewhere, resume=True)
    assert digest(elsewhere) != digest(training)


def test_a_run_folder_belongs_to_one_training(training: TrainingConfig, tmp_path: Path) -> None:
    slow = start(training, tmp_path, wait=0.5)
    try:
        wait_for_state(training, "state-0-0001-000001.pt")
        with pytest.raises(ValueError, match=f"in use by another training, process {slow.pid}"):
            train(training, resume=True)
        with pytest.raises(ValueError, match="run is in use by another training"):
            train(dataclasses.replace(training, out=tmp_path / "other"))
    finally:
        slow.kill()
        slow.communicate()
    train(brief(training, run=tmp_path / "next"))  # and its own name is free


def test_run_folders_follow_the_whole_of_out(training: TrainingConfig, tmp_path: Path) -> None:
    outs = [tmp_path / name / "mine" for name in ("x", "y")]
    runs = [dataclasses.replace(training, run=None, out=out).run_folder for out in outs]
    assert runs == [tmp_path / "x" / "mine.run", tmp_path / "y" / "mine.run"]
    with pytest.raises(ValueError, match=r"out is '\.'; name the folder"):
        dataclasses.replace(training, out=Path())


@pytest.mark.parametrize("field", ["out", "run"])
def test_a_place_that_cannot_be_written_is_found_first(
    training: TrainingConfig, tmp_path: Path, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(engine, "train_one_epoch", lambda **_: pytest.fail("trained first"))
    change: dict[str, Any] = {field: tmp_path / "file" / "in" / "the-way"}
    with pytest.raises(ValueError, match=r"the-way.* cannot be written, because of .*file: Not a"):
        train(dataclasses.replace(training, **change))


def test_the_terms_of_the_start_are_carried_on(training: TrainingConfig, tmp_path: Path) -> None:
    first = brief(training, notice="For research, not commerce.")
    second = brief(training, run=None, start_from=first.out, out=tmp_path / "second", notice="")
    third = brief(training, run=None, start_from=second.out, out=tmp_path / "third", notice="Mine.")
    for each in (first, second, third):
        train(each)
    cards = [(each.out / "README.md").read_text() for each in (first, second, third)]
    assert "started from" not in cards[0]
    for card in cards[1:]:
        assert "hold for these weights too" in card
        assert "not commerce." in card
        assert card.index("## Data") < card.index("not commerce.") < card.index("## Figures")
    assert "\nMine.\n" in cards[2]
    assert "> > For research, not commerce." in cards[2]


def test_the_terms_of_an_encoder_are_carried_on(training: TrainingConfig, tmp_path: Path) -> None:
    first = brief(training, notice="For research, not commerce.")
    train(first)
    encoder = dataclasses.replace(
        first.network, encoder_weights=str(first.out / "model.safetensors")
    )
    second = brief(training, run=None, network=encoder, out=tmp_path / "second", notice="")
    train(second)
    assert "> For research, not commerce." in (second.out / "README.md").read_text()


def test_a_state_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file")

    state.save(tmp_path, state.Standing(), {}, keep=2)
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(ValueError, match=r"state-1-.* cannot be written, .* make room"):
        state.save(tmp_path, state.Standing(stage=1), {}, keep=2)
    assert [path.name for path in tmp_path.iterdir()] == ["state-0-0001-000000.pt"]


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


def test_each_stage_has_its_own_input_dropout(training: TrainingConfig, monkeypatch) -> None:
    train_one_epoch, shares = engine.train_one_epoch, []

    def watched(**arguments) -> None:
        shares.append(arguments["step"].network.decoder.input_dropout.p)
        train_one_epoch(**arguments)

    monkeypatch.setattr(engine, "train_one_epoch", watched)
    train(training)
    assert [stage.input_dropout for stage in training.stages.values()] == [0.0, 0.2, 0.0]
    assert shares == [0.0, 0.0, 0.2, 0.2, 0.0]


def test_a_signal_saves_and_stops(training: TrainingConfig, monkeypatch) -> None:
    training = dataclasses.replace(training, save_minutes=60.0)
    train_one_epoch = engine.train_one_epoch

    def interrupted(**arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        train_one_epoch(**arguments)

    monkeypatch.setattr(engine, "train_one_epoch", interrupted)
    with pytest.raises(TrainingStopped, match="SIGINT"):
        train(training)
    (saved,) = state.states(training.run_folder)
    assert saved.name == "state-0-0001-000001.pt"
    assert not training.out.exists()


def test_starts_from_a_checkpoint_and_learns_its_words(
    training: TrainingConfig, tmp_path: Path, network: ShowAttendTell
) -> None:
    words = WordMap(
        {w: i for i, w in enumerate(["<pad>", "a", "dog", "<unk>", "<start>", "<end>"])}
    )
    small = dataclasses.replace(network.config, vocabulary_size=6, image_size=64)
    checkpoint.save(tmp_path / "old", ShowAttendTell(small), words, "")
    training = dataclasses.replace(
        training,
        start_from=tmp_path / "old",
        decoder=dataclasses.replace(training.decoder, epochs=60, patience=60, schedule="constant"),
        fine_tune=StageOptions(epochs=0),
        self_critical=SelfCriticalOptions(),
        save_minutes=60.0,
    )
    train(training)
    loaded = Captioner.load(training.out)
    assert [w for w in loaded.word_map.words if w in words.words] == words.words
    assert {"red", "circle"} <= set(loaded.word_map.words)
    texts = {
        loaded.caption([path.read_bytes()])[0][0].text
        for path in (tmp_path / "shapes" / "Images").iterdir()
    }
    assert any("circle" in t or "square" in t for t in texts)

    # States fit the words that were merged then: not those of another order.
    other = WordMap(
        {word: i for i, word in enumerate([*words.words[2:0:-1], "<pad>", *SPECIAL[1:]])}
    )
    checkpoint.save(tmp_path / "old", ShowAttendTell(small), other, "")
    with pytest.raises(ValueError, match="begun with other data or another configuration"):
        train(training, resume=True)


def test_more_words_leave_the_old_ones_scores_alone(
    network: ShowAttendTell, word_map: WordMap
) -> None:
    more = WordMap.build([["purple", "red", "triangle"]], minimum_count=1)
    larger, words = checkpoint.with_more_words(network, word_map, more)
    assert set(words.words) == {*word_map.words, "purple", "triangle"}
    hidden = torch.randn(3, network.config.hidden_size)
    old, new = network.decoder.scores(hidden), larger.eval().decoder.scores(hidden)
    places = [words.words.index(word) for word in word_map.words]
    torch.testing.assert_close(new[:, places], old)
    torch.testing.assert_close(
        larger.decoder.embedding.weight[places], network.decoder.embedding.weight
    )
    same, unchanged = checkpoint.with_more_words(network, word_map, word_map)
    assert unchanged == word_map
    torch.testing.assert_close(same.state_dict(), network.state_dict())


def test_refuses_what_will_not_do(training: TrainingConfig, tmp_path: Path) -> None:
    wrong_size = dataclasses.replace(training.network, image_size=96)
    with pytest.raises(ValueError, match="prepared with image_size 64, the network wants 96"):
        train(dataclasses.replace(training, network=wrong_size))
    with pytest.raises(InvalidDataset):
        train(dataclasses.replace(training, data=tmp_path))
    with pytest.raises(ValueError, match="device 'cuda:99' cannot be used here"):
        train(dataclasses.replace(training, device="cuda:99"))
    training.out.mkdir(parents=True)
    (training.out / "thesis.txt").write_text("do not lose me")
    with pytest.raises(ValueError, match="something other than a checkpoint"):
        train(training)
    assert not training.run_folder.exists()


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


def test_with_few_validation_photos_the_last_epoch_is_kept(
    training: TrainingConfig, tmp_path: Path
) -> None:
    """The same as without patience; the best of scores that are mostly chance is no better."""
    stages = {
        "decoder": dataclasses.replace(training.decoder, epochs=4, patience=1, learning_rate=1e-9),
        "fine_tune": StageOptions(epochs=0),
        "self_critical": SelfCriticalOptions(),
    }
    runs = {
        select: dataclasses.replace(
            training, select=select, out=tmp_path / select, run=tmp_path / f"run-{select}", **stages
        )
        for select in ("auto", "last", "best")
    }
    for run in runs.values():
        train(run)
    assert [len(figures(run)) for run in runs.values()] == [4, 4, 2]
    kept = [[row.get("kept", False) for row in figures(run)] for run in runs.values()]
    assert kept == [[False, False, False, True]] * 2 + [[True, False]]
    assert digest(runs["auto"]) == digest(runs["last"])
    assert "The last epoch was kept." in (runs["auto"].out / "README.md").read_text()
    assert "Epoch 1 was kept: it had the best CIDEr" in (runs["best"].out / "README.md").read_text()


def test_one_stage_alone(training: TrainingConfig, tmp_path: Path) -> None:
    for stage, name in (("fine_tune", "fine-tune"), ("self_critical", "self-critical")):
        others = {
            other: dataclasses.replace(getattr(training, other), epochs=0)
            for other in ("decoder", "fine_tune", "self_critical")
            if other != stage
        }
        folders = {"out": tmp_path / "out" / name, "run": tmp_path / name}
        alone = dataclasses.replace(training, save_minutes=60.0, **others, **folders)
        train(alone)
        assert {row["stage"] for row in figures(alone)} == {name}
