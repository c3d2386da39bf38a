"""The scores of a captioner on the validation photos, captioned as they would be served."""

from __future__ import annotations

import numpy as np

from model.captioner import Captioner
from training.config import TrainingConfig
from training.data.prepared import Prepared
from training.processes import Processes
from training.scoring import metrics
from training.scoring.captions import caption_rows


class Validator:
    """Scores captioners on the validation photos of one prepared folder."""

    def __init__(self, prepared: Prepared, config: TrainingConfig, processes: Processes) -> None:
        self.rows, self.references = prepared.rows("val"), prepared.captions("val")
        self.processes = processes
        self.decoding = config.decoding

    def scores(self, captioner: Captioner, images: np.ndarray) -> dict[str, float]:
        """Return the scores by name; every process computes its share of the captions.

        Parameters
        ----------
        images
            Pixels or grids of all photos of the prepared folder.
        """
        captions = caption_rows(captioner, images, self.rows, self.decoding, self.processes)
        return metrics.score([caption.text for caption in captions], self.references)
