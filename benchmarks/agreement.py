"""Whether a faster precision writes the same captions, and what they score.

The reference is the network as a training leaves it: float32, nothing folded or rearranged.
"""

from __future__ import annotations

from benchmarks.report import Line, Options, Report, columns
from model import Captioner, DecodingOptions, checkpoint
from model.inference.devices import has_bf16
from training.scoring.corpus import Corpus
from training.scoring.scorers import cider
from training.scoring.split import Split

PLAIN = "plain"
# Precision -> least share of captions that are the same; None where it is only told.
SAME = {"float32": 1.0, "mixed": 0.97, "bfloat16": None}
CIDER_DIFFERENCE = 0.003
QUICK = 8  # photos


def bench(options: Options) -> Report:
    """Caption the split in every precision.

    Raises
    ------
    ValueError
        There is no data to caption, or none of that split.
    """
    if options.data is None:
        raise ValueError("the agreement is measured on captioned photos; name them with --data")
    plain = Captioner(*checkpoint.load(options.checkpoint))
    most = QUICK if options.quick else None
    split = Split.open(options.data, options.split, plain.network.config.image_size, most)
    decoding = DecodingOptions()
    texts = {PLAIN: [caption.text for caption in split.caption(plain, decoding)]}
    measured = [name for name in SAME if name == "float32" or has_bf16(plain.device)]
    if len(measured) < len(SAME):
        print("this machine has no fast bfloat16: only float32, which auto chooses, is looked at")
    for precision in measured:
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

    lines = []
    for name in measured:
        least, difference = SAME[name], abs(scores[name] - scores[PLAIN])
        lines += [
            Line(f"agreement, {name}", same[name], "of captions the same", least, digits=3),
            Line(
                f"agreement, {name}",
                difference,
                "CIDEr apart",
                at_most=None if least is None else CIDER_DIFFERENCE,
                digits=4,
            ),
        ]
    figures = {"photos": len(split.references), "beam": decoding.beam_size}
    return Report(figures | {"same": same, "CIDEr": scores}, lines)
