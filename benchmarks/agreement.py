"""The agreement of faster precisions with float32: equal captions, and the CIDEr of each.

The baseline is the network as a training leaves it: float32, nothing folded or rearranged.
"""

from __future__ import annotations

from benchmarks.options import Options
from benchmarks.report import Line, Report, columns
from model import Captioner, DecodingOptions, checkpoint
from model.inference.devices import has_bf16
from training.scoring.corpus import Corpus
from training.scoring.scorers import cider
from training.scoring.split import Split

PLAIN = "plain"
# Precision -> the least share of captions that must be the same; None is printed only.
MIN_SAME = {"float32": 1.0, "mixed": 0.97, "bfloat16": None}
MAX_CIDER_DIFFERENCE = 0.003
QUICK = 8  # photos


def bench(options: Options) -> Report:
    """Caption a split in every precision that is fast on this machine.

    Raises
    ------
    ValueError
        There is no data to caption, or none of that split.
    """
    if options.data is None:
        raise ValueError("the agreement is measured on captioned photos; name them with --data")
    plain = Captioner(*checkpoint.load(options.checkpoint))
    max_photos = QUICK if options.quick else None
    split = Split.open(options.data, options.split, plain.network.config.image_size, max_photos)
    decoding = DecodingOptions()
    texts = {PLAIN: [caption.text for caption in split.caption(plain, decoding)]}
    precisions = [name for name in MIN_SAME if name == "float32" or has_bf16(plain.device)]
    if len(precisions) < len(MIN_SAME):
        print("this machine has no fast bfloat16: only float32, which auto chooses, is measured")
    for precision in precisions:
        captioner = Captioner.load(options.checkpoint, precision=precision)
        texts[precision] = [caption.text for caption in split.caption(captioner, decoding)]

    same = {
        name: sum(a == b for a, b in zip(each, texts[PLAIN], strict=True)) / len(each)
        for name, each in texts.items()
    }
    scores = {
        name: cider(Corpus.tokenized(each, split.references)).scores["CIDEr"]
        for name, each in texts.items()
    }
    rows = [[f"{len(split.references)} photos", "same captions", "CIDEr", "difference"]]
    for name in texts:
        difference = scores[name] - scores[PLAIN]
        rows.append([name, f"{same[name]:.3f}", f"{scores[name]:.4f}", f"{difference:+.4f}"])
    print(columns(rows))
    lines = [
        line
        for name in precisions
        for line in _lines(name, same[name], abs(scores[name] - scores[PLAIN]))
    ]
    figures = {"photos": len(split.references), "beam": decoding.beam_size}
    return Report(figures | {"same": same, "CIDEr": scores}, lines)


def _lines(precision: str, same: float, difference: float) -> list[Line]:
    name, min_same = f"agreement, {precision}", MIN_SAME[precision]
    return [
        Line(name, same, "of captions the same", at_least=min_same, digits=3),
        Line(name, difference, "CIDEr apart", at_most=MAX_CIDER_DIFFERENCE, digits=4),
    ]
