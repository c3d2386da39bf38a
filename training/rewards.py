"""What a caption of a training photo is worth, in self-critical training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from training.cider import CiderD, Words


class Reward:
    """CIDEr-D, and a share of BLEU-4 if wanted.

    CIDEr-D cares for the words that tell a photo from others and hardly for how they are joined;
    BLEU-4 wants word sequences that people write. BLEU-4 is that of one caption, n-grams of more
    than one word counted once more than they are (Lin and Och 2004,
    https://aclanthology.org/C04-1072).

    Parameters
    ----------
    references
        For each photo the words of what people wrote.
    bleu_weight
        Of BLEU-4, 0 to 1, beside CIDEr-D, 0 to 10.
    """

    def __init__(self, references: Mapping[int, Sequence[Words]], bleu_weight: float = 0) -> None:
        self.cider, self.bleu_weight = CiderD(references), bleu_weight

    def scores(self, photo: int, captions: Sequence[Words]) -> list[float]:
        """Of several captions of one photo."""
        scores = self.cider.scores(photo, captions)
        if not self.bleu_weight:
            return scores
        references, smoothing = self.cider.references[photo], SmoothingFunction().method2
        bleus = (sentence_bleu(references, c, smoothing_function=smoothing) for c in captions)
        return [a + self.bleu_weight * b for a, b in zip(scores, bleus, strict=True)]
