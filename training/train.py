"""Train a captioner: the one call that `captioner train`, ablations and tests make."""

from __future__ import annotations

from contextlib import ExitStack

from training.config import TrainingConfig
from training.loop.signals import TrainingStopped
from training.loop.trainer import Trainer
from training.processes import joined

__all__ = ["TrainingStopped", "train"]


def train(
    config: TrainingConfig, resume: bool = False, command: str = "", overwrite: bool = False
) -> dict[str, float]:
    """Train; write the checkpoint of the best epoch by validation CIDEr to ``config.out``.

    Parameters
    ----------
    resume
        Go on from the newest state in the run folder; from the start if it has none.
    command
        The command line that the model card shows.
    overwrite
        Replace a checkpoint at ``config.out`` that another training has written.

    Returns
    -------
    The validation scores of the checkpoint as written, weights in half precision.

    Raises
    ------
    ValueError
        The data, the configuration or a place to write to is not usable, or another training uses
        the run folder; before any work is done.
    TrainingStopped
        SIGTERM or SIGINT came; the state is saved.
    """
    with joined(config.device) as processes, ExitStack() as locks:
        trainer = Trainer(config, processes, resume, overwrite, locks)
        trainer.train()
        return trainer.finish(command)
