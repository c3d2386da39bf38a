"""The notices of a trained network: what its data and weights may be used for."""

from __future__ import annotations

import re
from pathlib import Path

from model import checkpoint
from model.config import CONTROL_CHARACTERS
from training.config import TrainingConfig
from training.data.mixture import Mixture

# Headings of a card's sections that say what its weights may be used for, and such lines of its
# front matter.
TERMS = re.compile(r"data|licen[cs]e|terms|notice|copyright", re.IGNORECASE)


def notices(config: TrainingConfig, mixture: Mixture) -> tuple[str, ...]:
    """Return the notices of a training's network, each once: first those that it inherits.

    It inherits them from the checkpoint that weights come from, and from its teachers.

    Raises
    ------
    InvalidCheckpoint
        The checkpoint that weights come from cannot be read.
    """
    start = origin(config)
    inherited = inherited_notices(start) if start else ()
    taught = [
        notice
        for part in mixture.parts
        if part.taught
        for teacher in part.taught.lesson.teachers
        for notice in teacher.notices
    ]
    return tuple(dict.fromkeys((*inherited, *taught, *_given(config, mixture))))


def origin(config: TrainingConfig) -> Path | None:
    """Return the checkpoint that weights come from, if any: all of them, or the encoder's."""
    if config.start_from:
        return config.start_from
    folder = Path(config.network.encoder_weights).parent
    return folder if (folder / checkpoint.CONFIG).is_file() else None


def inherited_notices(start: Path) -> tuple[str, ...]:
    """Return the notices of a checkpoint that a training takes weights from, which still hold.

    A checkpoint without any gives one, which quotes its model card: the lines of its front matter
    that name a licence, and the sections with a heading like `TERMS`.

    Parameters
    ----------
    start
        Folder of the checkpoint.

    Returns
    -------
    At least one. Where the card says nothing, or there is none, the notice says so.
    """
    if found := checkpoint.load_config(start).notices:
        return found
    name = start.resolve().name
    if said := _line("\n".join(_card_terms(start))):
        return (_named(name, f"by its model card: {said}"),)
    return (
        _named(name, "its card says nothing of data or licence: ask who made it about its use."),
    )


def _card_terms(folder: Path) -> list[str]:
    """Return the lines of a checkpoint's card that are about data and licence, without tables."""
    path = folder / checkpoint.CARD
    card = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    front = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    found = [line for line in front[1].splitlines() if TERMS.search(line)] if front else []
    for section in re.split(r"^(?=#{1,2} )", card, flags=re.MULTILINE):
        heading, _, text = section.partition("\n")
        if heading.startswith("#") and TERMS.search(heading):
            found += [line for line in text.splitlines() if not line.startswith("|")]
    return found


def _given(config: TrainingConfig, mixture: Mixture) -> list[str]:
    """Return the notices that the user gives, each with the name of its dataset.

    A single one about several datasets has no name before it.
    """
    if not isinstance(config.notice, str):
        pairs = zip(mixture.parts, map(_line, config.notice), strict=True)
        return [_named(part.name, text) for part, text in pairs if text]
    text = _line(config.notice)
    if mixture.several or not text:
        return [text] if text else []
    return [_named(mixture.parts[0].name, text)]


def _named(name: str, text: str) -> str:
    """Return a notice that begins with the name of what it is about."""
    return text if text.casefold().startswith(name.casefold()) else _line(f"{name}: {text}")


def _line(text: str) -> str:
    """Return a text as one line, without control characters."""
    return " ".join(CONTROL_CHARACTERS.sub(" ", text).split())
