"""Schedules of the learning rate over a stage."""

from __future__ import annotations

import math

from training.stage_options import StageOptions


def rate_factor(options: StageOptions, done: float, batch: float, decayed: float) -> float:
    """Return the factor from the peak learning rate to the present one.

    Parameters
    ----------
    done
        Epochs of the stage that are done, with the fraction of the present one.
    batch
        Length of one batch in epochs; the rate rises from the first batch on.
    decayed
        The factor of the decay schedule so far.
    """
    if done < options.warm_up:
        return min(1.0, (done + batch) / options.warm_up)
    if options.schedule == "cosine":
        left = max(options.epochs - options.warm_up, batch)
        return 0.5 * (1 + math.cos(math.pi * (done - options.warm_up) / left))
    return decayed if options.schedule == "decay" else 1.0
