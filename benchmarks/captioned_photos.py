"""Made photos with random captions, prepared for a training whose scores mean nothing.

python -m benchmarks.captioned_photos FOLDER DATA COUNT

writes COUNT photos with their captions to FOLDER and prepares them in DATA, both new.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.inputs import synthetic_photo
from benchmarks.train import captions
from training.data.prepare import prepare

IMAGE_SIZE = 224  # pixels, the side of the squares that the shipped encoder reads


def write(folder: Path, count: int) -> None:
    """Write an image folder with so many photos."""
    folder.mkdir()
    names = [f"{i:05}.jpg" for i in range(count)]
    with ThreadPoolExecutor() as pool:
        for name, photo in zip(names, pool.map(synthetic_photo, range(count)), strict=True):
            (folder / name).write_bytes(photo)
    rows = zip(names, captions(count), strict=True)
    lines = [json.dumps({"file_name": name, "text": texts}) for name, texts in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines))


def main(folder: str, data: str, count: str) -> None:
    """Write and prepare the photos."""
    write(Path(folder), int(count))
    prepare(Path(folder), Path(data), IMAGE_SIZE)
    print(f"{count} photos in {data}")


if __name__ == "__main__":
    main(*sys.argv[1:])
