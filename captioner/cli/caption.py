"""The command ``captioner caption``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from captioner.cli import arguments as shared
from captioner.cli.messages import print_error
from captioner.photo_files import read_photo

SUMMARY = "Write captions for photos."
DESCRIPTION = """\
Write captions for photos, each with its log-probability.

A file that cannot be captioned is an error of its own; the others are captioned."""
EXAMPLES = """\
  captioner caption photo.jpg
  captioner caption *.jpg --num-captions 3 --beam-size 10
  captioner caption photo.jpg --checkpoint CHECKPOINT --device cuda
  captioner caption photo.jpg --server http://127.0.0.1:8080"""

Captions: TypeAlias = list[tuple[str, float]]  # texts and their log-probabilities, best first
PHOTOS_AT_A_TIME = 32  # read and captioned before their captions are printed
# Replies that are about one photo: it was refused, or a worker died of it.
STATUSES_OF_ONE_PHOTO = (413, 415, 500, 507)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files")
    captioner = parser.add_mutually_exclusive_group()
    shared.add_checkpoint_argument(captioner)
    captioner.add_argument(
        "--server",
        metavar="URL",
        help="ask a served captioner, such as http://127.0.0.1:8080; its operator has chosen"
        " checkpoint, device and precision",
    )
    shared.add_key_file_argument(parser)
    shared.add_decoding_arguments(parser)
    shared.add_device_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    if arguments.key_file and not arguments.server:
        raise ValueError("--key-file is the key file of a server; name that with --server")
    results = captions_by_server(arguments) if arguments.server else captions(arguments)
    failures = 0
    for path, result in zip(arguments.images, results, strict=True):
        if isinstance(result, str):
            failures += 1
            print_error(f"{path}: {result}")
        else:
            for text, log_prob in result:
                print(f"{path}: {text} ({log_prob:.2f})", flush=True)
    if failures:
        raise ValueError(f"{failures} of {len(arguments.images)} files could not be captioned")


def captions(arguments: argparse.Namespace) -> Iterator[Captions | str]:
    """Yield the captions of each file, or why it has none."""
    from model import InvalidImage

    captioner = shared.load_captioner(arguments)
    decoding = shared.decoding_options(arguments)
    for paths in _batches(arguments.images):
        contents = [_content_or_error(path) for path in paths]
        photos = [content for content in contents if isinstance(content, bytes)]
        results = iter(captioner.caption_each(photos, decoding))
        for content in contents:
            if isinstance(content, str):
                yield content
            elif isinstance(result := next(results), InvalidImage):
                yield str(result)
            else:
                yield [(caption.text, caption.log_prob) for caption in result]


def captions_by_server(arguments: argparse.Namespace) -> Iterator[Captions | str]:
    """Yield what `captions` does, asking a served captioner."""
    from captioner.client import CaptionClient, CaptionError

    for name in ("device", "precision"):
        if getattr(arguments, name) != "auto":
            raise ValueError(f"--{name} is the server's to choose; leave it out with --server")
    keys = shared.read_keys(arguments)
    decoding = shared.decoding_values(arguments)  # the server checks them
    with CaptionClient(arguments.server, token=keys.inference if keys else None) as client:
        for paths in _batches(arguments.images):
            for reply in client.caption_many(paths, **decoding):
                if isinstance(reply, OSError):
                    yield reply.strerror or str(reply)
                elif isinstance(reply, CaptionError):
                    if reply.code != "invalid_image" and reply.status not in STATUSES_OF_ONE_PHOTO:
                        raise reply  # any other photo would meet the same error
                    yield reply.message
                else:
                    others = [(other.caption, other.log_prob) for other in reply.alternatives]
                    yield [(reply.caption, reply.log_prob), *others]


def _batches(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    for start in range(0, len(paths), PHOTOS_AT_A_TIME):
        yield paths[start : start + PHOTOS_AT_A_TIME]


def _content_or_error(path: Path) -> bytes | str:
    """Return the bytes of a file, or why it cannot be read."""
    try:
        return read_photo(path)
    except OSError as error:
        return error.strerror or str(error)
