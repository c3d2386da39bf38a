"""The model card, README.md of a checkpoint: its data, its scores, and the command that made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model.network import ShowAttendTell
from training.config import TrainingConfig
from training.data.mixture import Mixture
from training.network.notices import origin
from training.scoring.metrics import EVERY_EPOCH
from training.scoring.validation import ValidationScores
from training.scoring.wording import Wording

LIMITS = """\
It knows only what its training photos show, and it writes only words of its word map. It guesses
counts, colours, and who is a man or a woman. It reads no text and knows no names. It is not fit for
describing the world to people who cannot see it.
"""


def model_card(
    config: TrainingConfig,
    mixture: Mixture,
    network: ShowAttendTell,
    scores: ValidationScores,
    epochs: Sequence[dict[str, Any]],
    last_kept: bool,
    command: str,
) -> str:
    """Return the model card of a training, Markdown.

    Every figure in it was computed by the training that calls this.

    Parameters
    ----------
    scores
        The scores of each dataset's validation photos by the weights as stored.
    epochs
        The rows of ``metrics.jsonl``.
    last_kept
        Whether the last epoch was kept whatever its score, and not the best one.
    command
        The command line of the training.
    """
    built = network.config
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    data = _data(config, mixture, built.notices)
    search = (
        f"--beam-size {config.beam_size} --length-penalty {config.length_penalty:g} --no-consensus"
    )
    scored = mixture.captioned.parts
    folders = " ".join(f"--data {part.prepared.folder}" for part in scored)
    validation = " and ".join(str(part.counts["val"]) for part in scored)
    return f"""# {config.out.name}

Show, Attend and Tell: writes a short English caption for a photo. The encoder is `{built.encoder}`;
soft attention, an LSTM decoder; {parameters:.1f} million parameters, a vocabulary of
{built.vocabulary_size} words.

## Data

{data}

## Figures

Scores of the {validation} validation photos, with beam size {config.beam_size}, length penalty
{config.length_penalty:g} and the weights as stored here:

{_score_table(scores)}

{_wording_table(scores.wording)}

They are printed by

    captioner evaluate {config.out} {folders} --split val {search}

{_kept_epoch(epochs, last_kept)}

{_history(epochs)}

## Made by

    {command}

## Limits

{LIMITS}"""


def _data(config: TrainingConfig, mixture: Mixture, notices: Sequence[str]) -> str:
    """Return what is known of the photos: how many, where from; and the network's notices."""
    lines = [_photos(mixture), *_teachers(config, mixture)]
    start = origin(config)
    if start:
        name = start.resolve().name
        lines += ["", f"It started from weights of `{name}`, whose notices hold for these too."]
    if notices:
        lines += ["", "What these weights may be used for:", ""]
        lines += [f"- {notice}" for notice in notices]
    return "\n".join(lines)


def _photos(mixture: Mixture) -> str:
    """Return the numbers of photos; of several datasets, in a table."""
    if not mixture.several:
        (part,) = mixture.parts
        photos = f"{part.counts['train']} photos and validated on {part.counts['val']} photos"
        return f"It was trained on {photos} from `{part.name}`."
    rows = [
        [f"`{part.name}`", part.counts["train"], f"{part.repeats:g}", part.counts.get("val", 0)]
        for part in mixture.parts
    ]
    heading = ["dataset", "training photos", "times an epoch uses each", "validation photos"]
    return _table(heading, rows)


def _teachers(config: TrainingConfig, mixture: Mixture) -> list[str]:
    """Return lines about what other captioners taught about each folder that is taught."""
    lines = []
    for part in mixture.parts:
        if part.taught is None:
            continue
        teachers = part.taught.lesson.teachers
        names = ", ".join(f"`{teacher.name}` ({teacher.digest[:12]})" for teacher in teachers)
        if part.prepared.captioned:
            how = f"{config.distillation:.0%} of a word's loss compare with the probabilities of"
        else:
            how = "nobody has captioned the photos; captions and probabilities are those of"
        lines += ["", f"`{part.name}`: {how} {names}."]
    return lines


def _score_table(scores: ValidationScores) -> str:
    """Return a table of the scores; of several datasets, each in a row, and their means."""
    each = {f"`{name}`": values for name, values in scores.by_dataset.items()}
    if len(each) > 1:
        each["mean"] = scores.mean
    rows = [[name, *(f"{of[s]:.4f}" for s in EVERY_EPOCH)] for name, of in each.items()]
    return _table_of_datasets(["dataset", *EVERY_EPOCH], rows)


def _wording_table(wording: Mapping[str, Wording]) -> str:
    """Return a table of the counts of the captions' wording, a row for each dataset."""
    figures = {name: each.figures() for name, each in wording.items()}
    rows = [[f"`{name}`", *each.values()] for name, each in figures.items()]
    return _table_of_datasets(["dataset", *next(iter(figures.values()))], rows)


def _table_of_datasets(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column names the datasets; without it if there is only one."""
    first = 1 if len(rows) == 1 else 0
    return _table(heading[first:], [row[first:] for row in rows])


def _table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in (heading, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(heading)}", *lines[1:]])


def _kept_epoch(epochs: Sequence[dict[str, Any]], last_kept: bool) -> str:
    """Return the sentence that says which epoch was kept and why."""
    if last_kept:
        return "The last epoch was kept."
    best = max(epochs, key=lambda row: row["CIDEr"])
    means = ", the mean over the datasets" if "datasets" in best else ""
    return (
        f"Epoch {best['epoch']} was kept: it had the best CIDEr{means}. It was chosen on the"
        " validation photos,\nso expect slightly different scores on other photos."
    )


def _history(epochs: Sequence[dict[str, Any]]) -> str:
    """Return a table with a row for each epoch."""
    datasets = list(epochs[-1].get("datasets", ()))
    heading = ["epoch", "stage", "loss or reward", "BLEU-4", "CIDEr"]
    heading += [f"CIDEr, `{name}`" for name in datasets]
    rows = []
    for row in epochs:
        figure = row.get("loss", row.get("reward"))
        scores = [row["BLEU-4"], row["CIDEr"], *(row["datasets"][n]["CIDEr"] for n in datasets)]
        figures = [f"{figure:.3f}", *(f"{score:.4f}" for score in scores)]
        rows.append([row["epoch"], row["stage"], *figures])
    return _table(heading, rows)
