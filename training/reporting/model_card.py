"""The README.md of a checkpoint: what it was trained on, how well it does, how to make it again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from model.checkpoint import CARD
from model.network import ShowAttendTell
from training.config import TrainingConfig
from training.data.prepared import Prepared

# Sections of a card that say what its weights may be used for.
TERMS = re.compile(r"data|licen[cs]e|terms|notice|copyright", re.IGNORECASE)


def inherited_terms(start: Path) -> str:
    """Return what a card says of data and licence of the checkpoint that a training starts from.

    Weights that go on from others stay bound to what those were trained on, so the new card quotes
    the old one: its front matter, if it has a licence there, and the sections named in `TERMS`.
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
        f"The training started from `{name}`, and what that one may be used for holds for this one"
        f" too. Its card says of it:\n\n{quoted}\n"
    )


def model_card(
    config: TrainingConfig,
    prepared: Prepared,
    network: ShowAttendTell,
    scores: dict[str, float],
    epochs: list[dict[str, Any]],
    last_kept: bool,
    command: str,
    terms: str = "",
) -> str:
    """Markdown; every figure in it was computed by the training that calls this.

    Parameters
    ----------
    terms
        The `inherited_terms` of the checkpoint that the training started from.
    """
    counts = {split: len(rows) for split, rows in prepared.splits.items()}
    built = network.config
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    best = max(epochs, key=lambda row: row["CIDEr"])
    chosen = f"""The epoch with the best CIDEr was {best["epoch"]}; the validation photos chose it,
so expect photos that had no say to score a little differently."""
    if last_kept:
        chosen = "The last epoch was kept."
    photos = f"{counts['train']} training and {counts['val']} validation photos"
    data = f"{photos} from `{prepared.source}`.\n{config.notice}\n\n{terms}".strip()
    search = (
        f"--beam-size {config.beam_size} --length-penalty {config.length_penalty:g} --no-consensus"
    )
    names = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]
    history = "\n".join(
        f"| {row['epoch']} | {row['stage']} | {row.get('loss', row.get('reward')):.3f}"
        f" | {row['BLEU-4']:.4f} | {row['CIDEr']:.4f} |"
        for row in epochs
    )
    return f"""# {config.out.name}

Show, Attend and Tell: writes a short English caption for a photo. Encoder `{built.encoder}`,
soft attention, LSTM decoder; {parameters:.1f} million parameters, {built.vocabulary_size} words.

## Data

{data}

## Figures

The {counts["val"]} validation photos, beam {config.beam_size}, length penalty
{config.length_penalty:g}, weights as stored here:

| {" | ".join(names)} |
|{"---|" * len(names)}
| {" | ".join(f"{scores[name]:.4f}" for name in names)} |

Printed by

    captioner evaluate {config.out} --data {config.data} --split val {search}

{chosen}

| epoch | stage | loss or reward | BLEU-4 | CIDEr |
|---|---|---|---|---|
{history}

## Made by

    {command}

## Limits

It knows only what its training photos show and says only words of its word map. It guesses at
counts, colours and who is a man or a woman, reads no text, knows no names, and is not fit for
describing the world to people who cannot see it.
"""
