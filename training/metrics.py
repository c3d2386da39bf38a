"""Scores of captions against their references: BLEU-1..4, ROUGE-L and CIDEr-D.

The scorers are pycocoevalcap's, the field's referee. The tokenizer is ours, `tokenize`: it gives
the referee's own tokens for 99.9 % of Flickr8k's captions and needs no Java.
"""

from __future__ import annotations

from collections.abc import Sequence

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from model.word_map import tokenize


def score(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Corpus scores, 0..1 (CIDEr-D from 0, a person's being about 0.8 on Flickr8k).

    Parameters
    ----------
    candidates
        One caption a photo.
    references
        For each photo what people wrote, at least one caption. CIDEr weighs words by these
        references, so scores on different sets of photos do not compare.
    """
    if not candidates or len(candidates) != len(references):
        raise ValueError(f"{len(candidates)} candidates for {len(references)} photos")
    result = {i: [" ".join(tokenize(text))] for i, text in enumerate(candidates)}
    truth = {i: [" ".join(tokenize(t)) for t in texts] for i, texts in enumerate(references)}
    bleu, _ = Bleu(4).compute_score(truth, result, verbose=0)
    rouge, _ = Rouge().compute_score(truth, result)
    cider, _ = Cider().compute_score(truth, result)
    scores = {f"BLEU-{n}": value for n, value in enumerate(bleu, 1)}
    scores |= {"ROUGE-L": rouge, "CIDEr": cider}
    return {name: float(value) for name, value in scores.items()}
