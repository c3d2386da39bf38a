"""Whether a faster precision writes the same captions, and what they score.

The reference is the network as a training leaves it: float32, nothing folded or rearranged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import Line, Options, Report, columns
from model import Captioner, DecodingOptions, checkpoint
from model.device import has_bf16
from training import datasets, engine
from training.datasets import TarMember
from training.metrics import Corpus, cider
from training.prepared import DESCRIPTION, Prepared
from training.processes import Processes

PLAIN = "plain"
# Precision -> least share of captions that are the same; None where it is only told.
SAME = {"float32": 1.0, "mixed": 0.97, "bfloat16": None}
CIDER_DIFFERENCE = 0.003
QUICK = 8  # photos


@dataclass(frozen=True)
class Split:
    """A split of captioned photos, prepared or as `captioner prepare` reads them."""

    references: list[Sequence[str]]
    photos: np.ndarray | None  # uint8, shape = (all, 3, S, S)
    rows: list[int]  # those of the split
    files: list[Path | TarMember]

    @classmethod
    def open(cls, data: Path, split: str, image_size: int, most: int | None = None) -> Split:
        """Its first photos, or all."""
        if (data / DESCRIPTION).is_file():
            prepared = Prepared.open(data)
            prepared.require_size(image_size)
            rows = list(prepared.rows(split))[:most]
            return cls([prepared.captions[row] for row in rows], prepared.photos, rows, [])
        examples = datasets.of_split(datasets.read(data).examples, split)[:most]
        return cls([e.captions for e in examples], None, [], [e.photo for e in examples])

    def caption(self, captioner: Captioner, decoding: DecodingOptions) -> list[str]:
        """As `captioner evaluate` does."""
        if self.photos is None:
            return engine.caption_files(captioner, self.files, decoding)
        here = Processes(0, 1, torch.device("cpu"))
        return engine.write_captions(captioner, self.photos, self.rows, decoding, here)


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
    decoding = DecodingOptions(beam_size=options.beam_size)
    texts = {PLAIN: split.caption(plain, decoding)}
    measured = [name for name in SAME if name == "float32" or has_bf16(plain.device)]
    if len(measured) < len(SAME):
        print("this machine has no fast bfloat16: only float32, which auto chooses, is looked at")
    for precision in measured:
        captioner = Captioner.load(options.checkpoint, precision=precision)
        texts[precision] = split.caption(captioner, decoding)

    same = {
        name: sum(a == b for a, b in zip(each, texts[PLAIN], strict=True)) / len(each)
        for name, each in texts.items()
    }
    scores = {
        name: cider(Corpus.of(each, split.references)).scores["CIDEr"]
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
    figures = {"photos": len(split.references), "beam": options.beam_size}
    return Report(figures | {"same": same, "CIDEr": scores}, lines)
