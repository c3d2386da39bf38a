"""The model card, README.md of a checkpoint: its data, its scores, and the command that made it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.checkpoint import CARD
from model.network import ShowAttendTell
from training.config import TrainingConfig
from training.data.prepared import Prepared
from training.scoring.metrics import EVERY_EPOCH

# Headings of a card's sections that say what its weights may be used for, and such lines of its
# front matter.
TERMS = re.compile(r"data|licen[cs]e|terms|notice|copyright", re.IGNORECASE)

LIMITS = """\
It knows only what its training photos show, and it writes only words of its word map. It guesses
counts, colours, and who is a man or a woman. It reads no text and knows no names. It is not fit for
describing the world to people who cannot see it.
"""


def inherited_terms(start: Path) -> str:
    """Quote what the card of the checkpoint that a training starts from says of data and licence.

    The terms of the old weights hold for the new ones too, so the new card quotes the old one: the
    lines of its front matter that name a licence, and the sections with a heading like `TERMS`.

    Parameters
    ----------
    start
        Folder of the checkpoint that the training starts from.

    Returns
    -------
    Markdown. Where the old card says nothing, or there is none, it says so.
    """
    path = start / CARD
    card = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    front = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    found = [line for line in front[1].splitlines() if TERMS.search(line)] if front else []
    for section in re.split(r"^(?=#{1,2} )", card, flags=re.MULTILINE):
        heading, _, text = section.partition("\n")
        if heading.startswith("#") and TERMS.search(heading):
            found += ["", *text.strip().splitlines()]
    name = start.resolve().name
    if not "".join(found).strip():
        return (
            f"The training started from `{name}`, whose card says nothing of data or licence: ask"
            " who made it what it may be used for.\n"
        )
    quoted = "\n".join(f"> {line}".rstrip() for line in "\n".join(found).strip().splitlines())
    return (
        f"The training started from `{name}`, and the terms of `{name}` hold for these weights too."
        f" Its card says:\n\n{quoted}\n"
    )


def model_card(
    config: TrainingConfig,
    prepared: Prepared,
    network: ShowAttendTell,
    scores: dict[str, float],
    epochs: Sequence[dict[str, Any]],
    last_kept: bool,
    command: str,
    terms: str = "",
) -> str:
    """Return the model card of a training, Markdown.

    Every figure in it was computed by the training that calls this.

    Parameters
    ----------
    scores
        The scores of the validation photos by the weights as stored, by name.
    epochs
        The rows of ``metrics.jsonl``.
    last_kept
        Whether the last epoch was kept whatever its score, and not the best one.
    command
        The command line of the training.
    terms
        The `inherited_terms` of the checkpoint that the training started from.
    """
    counts = {split: len(rows) for split, rows in prepared.splits.items()}
    built = network.config
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    photos = f"{counts['train']} photos and validated on {counts['val']} photos"
    data = (
        f"It was trained on {photos} from `{prepared.source}`.\n{config.notice}\n\n{terms}".strip()
    )
    search = (
        f"--beam-size {config.beam_size} --length-penalty {config.length_penalty:g} --no-consensus"
    )
    return f"""# {config.out.name}

Show, Attend and Tell: writes a short English caption for a photo. The encoder is `{built.encoder}`;
soft attention, an LSTM decoder; {parameters:.1f} million parameters, a vocabulary of
{built.vocabulary_size} words.

## Data

{data}

## Figures

Scores of the {counts["val"]} validation photos, with beam size {config.beam_size}, length penalty
{config.length_penalty:g} and the weights as stored here:

| {" | ".join(EVERY_EPOCH)} |
|{"---|" * len(EVERY_EPOCH)}
| {" | ".join(f"{scores[name]:.4f}" for name in EVERY_EPOCH)} |

They are printed by

    captioner evaluate {config.out} --data {config.data} --split val {search}

{_kept_epoch(epochs, last_kept)}

{_history(epochs)}

## Made by

    {command}

## Limits

{LIMITS}"""


def _kept_epoch(epochs: Sequence[dict[str, Any]], last_kept: bool) -> str:
    """Return the sentence that says which epoch was kept and why."""
    if last_kept:
        return "The last epoch was kept."
    best = max(epochs, key=lambda row: row["CIDEr"])
    return (
        f"Epoch {best['epoch']} was kept: it had the best CIDEr. It was chosen on the validation"
        " photos, so\nexpect slightly different scores on other photos."
    )


def _history(epochs: Sequence[dict[str, Any]]) -> str:
    """Return a table with a row for each epoch."""
    rows = [
        f"| {row['epoch']} | {row['stage']} | {row.get('loss', row.get('reward')):.3f}"
        f" | {row['BLEU-4']:.4f} | {row['CIDEr']:.4f} |"
        for row in epochs
    ]
    heading = ["| epoch | stage | loss or reward | BLEU-4 | CIDEr |", "|---|---|---|---|---|"]
    return "\n".join([*heading, *rows])
