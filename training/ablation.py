"""Ablation: variants of a training, each with several seeds, compared in one table."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml

from model import Captioner
from model.files import write_whole
from training.config import TrainingConfig
from training.data.mixture import Mixture
from training.loop.state import fingerprint
from training.options import parse_arguments
from training.scoring.evaluation import assess
from training.scoring.split import Split
from training.train import train

log = logging.getLogger("captioner")

SCORES = ("CIDEr", "BLEU-4", "METEOR")
COUNTS = {  # columns of the table -> figures of a training
    "unfinished": "unfinished",
    "content word twice": "repeating_content",
    "different words": "vocabulary",
    "ms a photo": "milliseconds",
}
FIGURES = "figures.json"
TRAINING = "training"  # key of the training's digest in that file


def ablate(plan: Path, data: Path, out: Path) -> str:
    """Train and score the variants of a plan; use figures that are there already.

    Parameters
    ----------
    plan
        YAML: ``seeds``, a list of numbers; ``common``, options of ``captioner train`` for all
        variants; ``variants``, the options of each by its name.
    data
        Folder that `captioner prepare` has written. A variant whose options name more folders
        trains on all of them; the table shows the scores on this one.
    out
        Gets a folder for each variant and seed: run, checkpoint and figures.

    Returns
    -------
    A table in Markdown: the means over the seeds, on the validation photos, and the standard
    deviations of the scores.

    Raises
    ------
    ValueError
        The plan or an option in it is not valid, or ``out`` holds figures of other options or other
        data; before anything is trained.
    """
    seeds, variants = _read(plan)
    trainings: dict[tuple[str, int], TrainingConfig] = {}
    for name, options in variants.items():
        for seed in seeds:
            folder = out / _slug(name) / str(seed)
            added = {"out": folder / "checkpoint", "run": folder / "run", "seed": seed}
            trainings[name, seed] = parse_arguments(
                [f"--data={data}", *options, *(f"--{key}={value}" for key, value in added.items())]
            ).config
    for config in trainings.values():
        # Raises before anything is trained.
        _found(config, Mixture.open(config.folders, config.distillation))
    figures = {key: _figures(f"{key[0]}, seed {key[1]}", c) for key, c in trainings.items()}
    return _table({name: [figures[name, seed] for seed in seeds] for name in variants})


def _read(plan: Path) -> tuple[list[int], dict[str, list[str]]]:
    """Return the seeds of a plan, and the options of each variant by its name."""
    try:
        content = yaml.safe_load(plan.read_text())
        seeds = [int(seed) for seed in content["seeds"]]
        common = str(content.get("common", "")).split()
        variants = {
            str(name): [*common, *(options or "").split()]
            for name, options in content["variants"].items()
        }
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        reason = "it is not text" if isinstance(error, UnicodeDecodeError) else repr(error)
        raise ValueError(
            f"{plan} is no plan: it must have a list of seeds, and variants, each a name with"
            f" options of captioner train ({reason})"
        ) from error
    if not seeds or not variants:
        raise ValueError(f"{plan} lists no seed or no variant")
    return seeds, variants


def _figures(name: str, config: TrainingConfig) -> dict[str, float]:
    """Return the figures of one training, from its file or by training it."""
    mixture = Mixture.open(config.folders, config.distillation)
    figures = _found(config, mixture)
    if figures is None:
        log.info("%s", name)
        train(config, resume=True, command=f"captioner ablate: {name}")
        captioner = Captioner.load(config.out)
        split = Split.prepared(mixture.parts[0].prepared, "val")
        started = time.perf_counter()
        captions = split.caption(captioner, config.decoding)
        seconds = time.perf_counter() - started
        evaluation = assess(
            [caption.text for caption in captions], split.references, split.names, person=False
        )
        figures = {name: score.value for name, score in evaluation.scores.items()}
        figures |= evaluation.wording._asdict() | {"milliseconds": 1000 * seconds / len(captions)}
        content = figures | {TRAINING: _digest(config, mixture)}
        write_whole(config.out.parent / FIGURES, (json.dumps(content, indent=1) + "\n").encode())
    return figures


def _found(config: TrainingConfig, mixture: Mixture) -> dict[str, float] | None:
    """Return the figures in a training's file, if any; refuse those of another training."""
    path = config.out.parent / FIGURES
    if not path.exists():
        return None
    figures: dict[str, Any] = json.loads(path.read_text())
    if figures.pop(TRAINING, None) not in (None, _digest(config, mixture)):  # None: an older file
        raise ValueError(
            f"{path} is of other data or other options; choose another --out, or delete"
            f" {config.out.parent} to train this variant anew"
        )
    return figures


def _digest(config: TrainingConfig, mixture: Mixture) -> str:
    return hashlib.sha256(fingerprint(config, mixture).encode()).hexdigest()


def _table(figures: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    lines = [
        f"| variant | {' | '.join((*SCORES, *COUNTS))} |",
        "|---|" + "---|" * (len(SCORES) + len(COUNTS)),
    ]
    for name, runs in figures.items():
        cells = [_mean([run[score] for run in runs if score in run]) for score in SCORES]
        for count in COUNTS.values():
            found = [run[count] for run in runs if count in run]  # not all are in older files
            cells.append(f"{fmean(found):.1f}" if found else "-")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{fmean(values):.4f}{spread}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
