"""The scores of a captioner on the validation photos, captioned as they would be served."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.captioner import Captioner
from training.config import TrainingConfig
from training.data.mixture import Mixture
from training.processes import Processes
from training.scoring import metrics
from training.scoring.captions import caption_rows
from training.scoring.validation import ValidationScores
from training.scoring.wording import Wording


class Validator:
    """Scores captioners on the validation photos of each dataset of a training."""

    def __init__(self, mixture: Mixture, config: TrainingConfig, processes: Processes) -> None:
        self.parts, self.processes = mixture.captioned.parts, processes
        self.decoding = config.decoding

    @property
    def min_photos(self) -> int:
        """The number of validation photos of the dataset that has the fewest."""
        return min(part.counts["val"] for part in self.parts)

    def scores(self, captioner: Captioner, images: Sequence[np.ndarray]) -> ValidationScores:
        """Return the scores of each dataset; every process computes its share of the captions.

        Parameters
        ----------
        images
            Pixels or grids of all photos of each prepared folder that people have captioned.
        """
        scores, wording = {}, {}
        for part, each in zip(self.parts, images, strict=True):
            rows, references = part.prepared.rows("val"), part.prepared.captions("val")
            captions = caption_rows(captioner, each, rows, self.decoding, self.processes)
            texts = [caption.text for caption in captions]
            scores[part.name] = metrics.score(texts, references)
            wording[part.name] = Wording.counted(texts)
        return ValidationScores(scores, wording)
