"""The program that benchmarks run in new processes.

    python -m benchmarks.child_process imports
    python -m benchmarks.child_process first CHECKPOINT PHOTOS
    python -m benchmarks.child_process many CHECKPOINT PHOTOS BATCH
    python -m benchmarks.child_process on_demand CHECKPOINT PHOTOS
    python -m benchmarks.child_process bulk CHECKPOINT PHOTOS TABLE [OPTION...]

Each prints its figures and its peak memory as JSON, in one line.
"""

# Only what costs next to nothing is imported here: the imports are timed.
from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from model.process import set_up_process  # imports no torch


def imports() -> dict[str, object]:
    """Import torch and torchvision; return the seconds."""
    start = time.perf_counter()
    import torch
    import torchvision

    assert torch.__version__
    assert torchvision.__version__
    return {"seconds": {"import": time.perf_counter() - start}}


def first(checkpoint: str, folder: str) -> dict[str, object]:
    """Caption one photo of a folder; return the seconds of importing, loading and captioning."""
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
    """Caption all photos of a folder in batches of this size; return the words of a caption."""
    from model import Captioner, DecodingOptions

    captioner = Captioner.load(checkpoint)
    paths, lengths = sorted(Path(folder).iterdir()), []
    for i in range(0, len(paths), int(batch)):
        photos = [path.read_bytes() for path in paths[i : i + int(batch)]]
        found = captioner.caption(photos, DecodingOptions(beam_size=5, consensus=False))
        lengths += [len(captions[0].words) for captions in found]
    return {"caption_words": sum(lengths) / len(lengths)}


def on_demand(checkpoint: str, folder: str) -> dict[str, object]:
    """Caption photos of a folder for each line that is read, and print the seconds it took.

    A line says how many photos, and how many of them together, such as ``8 1``.
    """
    from model import Captioner

    captioner = Captioner.load(checkpoint)
    photos = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    for line in sys.stdin:
        count, together = map(int, line.split())
        start = time.perf_counter()
        for first in range(0, count, together):
            captioner.caption(photos[first : first + together])
        print(time.perf_counter() - start, flush=True)
    return {}


def bulk(checkpoint: str, folder: str, table: str, *options: str) -> dict[str, object]:
    """Caption a folder into a table, as the command does; return its exit status."""
    from captioner.cli.main import main

    command = ["caption", folder, "--checkpoint", checkpoint, "--device", "cpu", "--out", table]
    command += options
    if status := main(command):
        sys.exit(status)
    return {"status": status}


def peak_megabytes() -> float:
    """Return the peak resident memory of this process.

    The peak that ``resource.getrusage`` returns may be that of the parent process.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status does not say how much memory was used")


PROGRAMS: dict[str, Callable[..., dict[str, object]]] = {
    "imports": imports,
    "first": first,
    "many": many,
    "on_demand": on_demand,
    "bulk": bulk,
}

if __name__ == "__main__":
    set_up_process()
    name, *arguments = sys.argv[1:]
    print(json.dumps(PROGRAMS[name](*arguments) | {"megabytes": peak_megabytes()}))
