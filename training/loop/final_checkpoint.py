"""The checkpoint that a training leaves at ``out``, with its model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model import checkpoint
from model.files import locked
from training.config import TrainingConfig
from training.data.mixture import Mixture
from training.reporting.model_card import model_card
from training.scoring.validation import ValidationScores


class FinalCheckpoint:
    """Writes the best checkpoint of a training to ``out``; overwrites none of another training.

    Parameters
    ----------
    best
        Folder of the best checkpoint so far.
    overwrite
        Overwrite a checkpoint of another training after all.
    """

    def __init__(self, config: TrainingConfig, best: Path, overwrite: bool) -> None:
        self.config, self.best, self.overwrite = config, best, overwrite

    def check_place(self) -> None:
        """Raise `ValueError` if another training has written there, or nothing can be written."""
        own = checkpoint.is_same(self.config.out, self.best)
        checkpoint.check_new(self.config.out, overwrite=self.overwrite or own)

    def write(
        self,
        mixture: Mixture,
        scores: ValidationScores,
        rows: list[dict[str, Any]],
        last_kept: bool,
        command: str,
    ) -> None:
        """Write the checkpoint and its card, unless another training wrote one meanwhile."""
        out = self.config.out
        network, word_map = checkpoint.load(self.best)
        card = model_card(self.config, mixture, network, scores, rows, last_kept, command)
        out.parent.mkdir(parents=True, exist_ok=True)
        with locked(out.parent):  # no other training writes between the check and the writing
            try:
                self.check_place()
            except ValueError as error:
                raise ValueError(
                    f"{error}. This training's own is {self.best}, and --resume with the same"
                    f" options, --run {self.config.run_folder} and another --out writes it there"
                ) from error
            # If it is there already, it is left alone: a calibration may lie beside it by now.
            if self.overwrite or not checkpoint.is_same(out, self.best):
                checkpoint.save(out, network, word_map, card)
