"""The code that `benchmarks.start` and `benchmarks.threads` run in new processes.

``imports`` imports torch and torchvision; ``first CHECKPOINT PHOTOS`` captions one photo of the
folder; ``many CHECKPOINT PHOTOS BATCH`` all of them, in batches. These print their figures as JSON.
``on_demand CHECKPOINT PHOTOS`` reads lines, ``alone`` or ``batch``, captions all photos one by one
or together, and prints the seconds of each, until there are no more lines.
"""

# Nothing is imported up here that would not be free: the imports are what is timed.
from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from model.process import set_up_process  # imports no torch


def imports() -> dict[str, object]:
    start = time.perf_counter()
    import torch
    import torchvision

    assert torch.__version__
    assert torchvision.__version__
    return {"seconds": {"import": time.perf_counter() - start}}


def first(checkpoint: str, folder: str) -> dict[str, object]:
    photo = min(Path(folder).iterdir()).read_bytes()
    start = time.perf_counter()
    from model import Captioner

    imported = time.perf_counter()
    captioner = Captioner.load(checkpoint)
    loaded = time.perf_counter()
    captioner.caption([photo])
    done = time.perf_counter()
    return {
        "seconds": {
            "import": imported - start,
            "load": loaded - imported,
            "first caption": done - loaded,
        }
    }


def many(checkpoint: str, folder: str, batch: str) -> dict[str, object]:
    from model import Captioner, DecodingOptions

    captioner = Captioner.load(checkpoint)
    paths, lengths = sorted(Path(folder).iterdir()), []
    for i in range(0, len(paths), int(batch)):
        photos = [path.read_bytes() for path in paths[i : i + int(batch)]]
        found = captioner.caption(photos, DecodingOptions(beam_size=5, consensus=False))
        lengths += [len(captions[0].words) for captions in found]
    return {"caption_words": sum(lengths) / len(lengths)}


def on_demand(checkpoint: str, folder: str) -> dict[str, object]:
    from model import Captioner

    captioner = Captioner.load(checkpoint)
    photos = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    for line in sys.stdin:
        start = time.perf_counter()
        for together in [photos] if line.strip() == "batch" else [[photo] for photo in photos]:
            captioner.caption(together)
        print(time.perf_counter() - start, flush=True)
    return {}


def peak_megabytes() -> float:
    """Most resident memory so far; rusage would count the parent's before the program began."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status does not say how much memory was used")


RUNS: dict[str, Callable[..., dict[str, object]]] = {
    "imports": imports,
    "first": first,
    "many": many,
    "on_demand": on_demand,
}

if __name__ == "__main__":
    set_up_process()
    name, *arguments = sys.argv[1:]
    print(json.dumps(RUNS[name](*arguments) | {"megabytes": peak_megabytes()}))
