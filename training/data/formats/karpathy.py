"""The JSON files of Andrej Karpathy, of Flickr8k, Flickr30k and COCO.

``{"images": [{"filename", "split", "sentences": [{"raw" or "tokens"}]}]}``; ``filepath`` may name
the photo's folder. The photos lie in ``Images/`` or ``images/`` beside the file, or beside it.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from training.data.formats.folders import PhotoFolders, folders_beside
from training.data.formats.listing import (
    Listing,
    checked_photo,
    each_row,
    is_json,
    numbered,
    read_document,
)
from training.data.photo import Photo

LAYOUT = "a JSON file with the list images, and sentences in each image"


def recognised_by(source: Path) -> list[Path]:
    return [source] if is_json(source) and "annotations" not in read_document(source) else []


def read(source: Path) -> Listing:
    folders = PhotoFolders(folders_beside(source.parent))

    def photo(image: dict[str, Any]) -> Photo:
        name = str(PurePosixPath(image.get("filepath") or "", image["filename"]))
        texts = [s["raw"] if "raw" in s else _joined(s["tokens"]) for s in image["sentences"]]
        return checked_photo(name, texts, image.get("split"), folders)

    return each_row(numbered("images", read_document(source)["images"]), photo)


def _joined(tokens: Any) -> str:
    if not isinstance(tokens, list):
        raise TypeError(f"'tokens' is {type(tokens).__name__}, not a list")
    return " ".join(tokens)
