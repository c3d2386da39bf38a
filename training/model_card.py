"""The README.md of a checkpoint: what it was trained on, how well it does, how to make it again."""

from __future__ import annotations

from typing import Any

from model.network import ShowAttendTell
from training.config import TrainingConfig
from training.prepared import Prepared


def model_card(
    config: TrainingConfig,
    prepared: Prepared,
    network: ShowAttendTell,
    scores: dict[str, float],
    epochs: list[dict[str, Any]],
    last_kept: bool,
    command: str,
) -> str:
    """Markdown; every figure in it was computed by the training that calls this."""
    counts = {split: len(rows) for split, rows in prepared.splits.items()}
    built = network.config
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    best = max(epochs, key=lambda row: row["CIDEr"])
    chosen = f"""The epoch with the best CIDEr was {best["epoch"]}; the validation photos chose it,
so expect photos that had no say to score a little differently."""
    if last_kept:
        chosen = "The last epoch was kept."
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

{counts["train"]} training and {counts["val"]} validation photos from `{prepared.source}`.
{config.notice}

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
