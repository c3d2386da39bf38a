"""What the subcommands do: each a thin call into a package.

A job imports what it needs itself: torch and its like take seconds, and ``--help`` should not.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import os
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from captioner.cli.messages import complain

if TYPE_CHECKING:
    from pathlib import Path

    from captioner.operations.deploy import Place
    from captioner.operations.keys import Keys
    from captioner.operations.shadow import Shadowing
    from model import Captioner, DecodingOptions

Captions: TypeAlias = list[tuple[str, float]] | str  # with log-probabilities; or what is wrong
PHOTOS_AT_A_TIME = 32  # read and captioned before they are printed


def caption(options: argparse.Namespace) -> None:
    bad = 0
    if options.key_file and not options.server:
        raise ValueError("--key-file is the key file of a server; name that with --server")
    found = _captions_of_server(options) if options.server else _captions(options)
    for path, captions in zip(options.images, found, strict=True):
        if isinstance(captions, str):
            bad += 1
            complain(f"{path}: {captions}")
        else:
            for text, log_prob in captions:
                print(f"{path}: {text} ({log_prob:.2f})", flush=True)
    if bad:
        raise ValueError(f"{bad} of {len(options.images)} files could not be captioned")


def _captions(options: argparse.Namespace) -> Iterator[Captions]:
    from model import InvalidImage

    captioner = _captioner(options)
    decoding = _decoding(options, options.num_captions)
    for start in range(0, len(options.images), PHOTOS_AT_A_TIME):
        some = [_content_or_error(p) for p in options.images[start : start + PHOTOS_AT_A_TIME]]
        found = iter(captioner.caption_each([c for c in some if isinstance(c, bytes)], decoding))
        for content in some:
            if isinstance(content, str):
                yield content
            elif isinstance(captions := next(found), InvalidImage):
                yield str(captions)
            else:
                yield [(caption.text, caption.log_prob) for caption in captions]


def _content_or_error(path: Path) -> bytes | str:
    """Return the bytes of a file, or why it cannot be read."""
    try:
        return _content(path)
    except OSError as error:
        return error.strerror or str(error)


def _content(path: Path) -> bytes:
    # A pipe or a device might never end.
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return path.read_bytes()


def _captions_of_server(options: argparse.Namespace) -> Iterator[Captions]:
    from captioner.client import CaptionClient, CaptionError

    for name in ("device", "precision"):
        if getattr(options, name) != "auto":
            raise ValueError(f"--{name} is the server's to choose; leave it out with --server")
    keys = _keys(options)
    token = keys.inference if keys else None
    asked = {
        name: getattr(options, name)
        for name in ("beam_size", "num_captions", "max_length", "length_penalty", "consensus")
    }
    with CaptionClient(options.server, token=token) as client:
        for start in range(0, len(options.images), PHOTOS_AT_A_TIME):
            some = options.images[start : start + PHOTOS_AT_A_TIME]
            for answer in client.caption_many(some, **asked):
                if isinstance(answer, OSError):
                    yield answer.strerror or str(answer)
                elif isinstance(answer, CaptionError):
                    # Refused as this photo is, or a worker died under it; else none would do.
                    if answer.code != "invalid_image" and answer.status not in (413, 415, 500, 507):
                        raise answer
                    yield answer.message
                else:
                    others = [(other.caption, other.log_prob) for other in answer.alternatives]
                    yield [(answer.caption, answer.log_prob), *others]


def explain(options: argparse.Namespace) -> None:
    from captioner.explanation import check_ending, save_explanation
    from model import InvalidImage
    from model.files import check_new

    check_ending(options.out)
    check_new(options.out, options.overwrite)
    photo = _content(options.image)
    captioner = _captioner(options)
    try:
        caption = captioner.caption([photo], _decoding(options))[0][0]
    except InvalidImage as error:
        raise ValueError(f"{options.image}: {error.__cause__}") from error
    save_explanation(options.out, photo, caption, smooth=not options.blocky)
    print(f"{options.out}: {caption.text}")


def evaluate(options: argparse.Namespace) -> None:
    from model.calibration import CALIBRATION, Calibration
    from model.files import check_new
    from training.scoring import calibration
    from training.scoring.evaluation import assess, scores_path
    from training.scoring.split import Split

    written = [options.json, scores_path(options.json)] if options.json else []
    for picture in filter(None, (options.picture, options.samples)):
        _check_picture(picture)
        written.append(picture)
    decoding = _decoding(options)
    captioner = _captioner(options)
    if options.calibrate:
        written.append(options.checkpoint / CALIBRATION)
    for path in written:
        check_new(path, options.overwrite)
    stored = None if options.calibrate else Calibration.load(options.checkpoint)
    if options.picture and not options.calibrate and not stored:
        raise ValueError(
            f"{options.picture}: {options.checkpoint} has no confidence to draw; add --calibrate"
        )
    split = Split.open(options.data, options.split, captioner.network.config.image_size)
    captions = split.caption(captioner, decoding)
    texts = [caption.text for caption in captions]
    evaluation = assess(texts, split.references, split.names)
    if options.calibrate:
        fitted, reliability = calibration.calibrate(captions, evaluation)
    else:
        reliability = calibration.judge(captions, evaluation, stored)
    print(f"{len(split.names)} photos of {options.data}, split {options.split}")
    print(evaluation.table())
    print(evaluation.wording.table())
    print(reliability.table())
    if options.calibrate:
        print(fitted.save(options.checkpoint))
    if options.picture:
        calibration.write_picture(reliability, options.picture, evaluation.person.get("CIDEr"))
        print(options.picture)
    if options.samples:
        split.write_samples(captioner, options.samples, decoding, options.seed)
        print(options.samples)
    if options.json:
        about = {"checkpoint": str(options.checkpoint), "split": options.split}
        print(evaluation.write_json(options.json, about | dataclasses.asdict(decoding)))


def prepare(options: argparse.Namespace) -> None:
    from training.data.prepare import prepare

    prepared = prepare(
        options.source,
        options.out,
        options.image_size,
        format=options.format,
        seed=options.seed,
        val_share=options.val_share,
        max_problems=options.max_problems,
        max_words=options.max_words,
        overwrite=options.overwrite,
    )
    counts = ", ".join(f"{len(rows)} {split}" for split, rows in prepared.splits.items())
    print(f"{options.out}: {counts}")


def clear_grids(options: argparse.Namespace) -> None:
    from training.data.grid_cache import clear
    from training.data.prepared import Prepared

    Prepared.open(options.data)  # it is there
    for line in clear(options.data, options.all):
        print(line)


def import_tutorial(options: argparse.Namespace) -> None:
    from captioner.tutorial.convert import import_tutorial

    import_tutorial(options.weights, options.word_map, options.out, options.overwrite)
    print(options.out)


def train(options: argparse.Namespace) -> int | None:
    from training.options import parse_arguments
    from training.train import TrainingStopped, train

    config, resume, overwrite = parse_arguments(options.rest)
    command = shlex.join(["captioner", "train", *options.rest])
    try:
        scores = train(config, resume, command, overwrite)
    except TrainingStopped as stopped:
        complain(str(stopped))
        return 128 + stopped.number
    if os.environ.get("RANK", "0") == "0":  # under torchrun one speaks for all
        figures = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
        print(f"{config.out}: {figures}")
    return 0


def ablate(options: argparse.Namespace) -> None:
    from training.ablation import ablate

    print(ablate(options.plan, options.data, options.out))


def report(options: argparse.Namespace) -> None:
    from model.files import check_new
    from training.reporting.report import read_rows, write_report

    _check_picture(options.out)
    check_new(options.out, options.overwrite)
    write_report(read_rows(options.metrics), options.out)
    print(options.out)


def bench(options: argparse.Namespace) -> None:
    from benchmarks import command

    command.main(options.rest)


def package(options: argparse.Namespace) -> None:
    from captioner.operations.package import package
    from captioner.operations.store import archive_name
    from captioner.paths import shown

    out = shown(options.out or options.model_store / archive_name(options.version))
    print(f"{package(options.checkpoint, options.version, out, options.overwrite)}  {out}")


def serve(options: argparse.Namespace) -> None:
    from captioner.operations.serve import serve
    from captioner.operations.store import Store
    from captioner.operations.torchserve import Server

    server = Server(options.folder)
    if options.stop:
        server.record()
        if server.stop():
            print("stopped")
            return
        print("nothing was running")
        if elsewhere := Store(options.model_store).server():
            print(f"but {elsewhere}")
        return
    serve(
        server,
        options.checkpoint,
        options.version,
        options.model_store,
        options.port,
        options.detach,
        options.tokens,
        options.workers,
    )


def deploy(options: argparse.Namespace) -> None:
    from captioner.operations.deploy import deploy

    deploy(
        options.archive,
        _place(options),
        options.sha256,
        options.workers,
        keep=not options.remove_old,
        shadowing=_shadowing(options),
    )


def _shadowing(options: argparse.Namespace) -> Shadowing | None:
    from captioner.operations.shadow import Shadowing

    asked = {"minutes": options.shadow_minutes, "agreement": options.shadow_agreement}
    asked = {name: value for name, value in asked.items() if value is not None}
    if options.shadow is not None:
        return Shadowing(options.shadow, **asked)
    if asked:
        raise ValueError(f"--shadow-{next(iter(asked))} needs --shadow, such as --shadow 0.1")
    return None


def rollback(options: argparse.Namespace) -> None:
    from captioner.operations.deploy import rollback

    print(rollback(_place(options)))


def undeploy(options: argparse.Namespace) -> None:
    from captioner.operations.deploy import undeploy

    undeploy(options.version, _place(options))
    print(f"version {options.version} is removed")


def versions(options: argparse.Namespace) -> None:
    from captioner.operations.versions import versions

    print(versions(_place(options)))


def _place(options: argparse.Namespace) -> Place:
    from captioner.operations.deploy import Place

    return Place(options.url, options.management, options.model_store, _keys(options))


def _keys(options: argparse.Namespace) -> Keys | None:
    from captioner.operations.keys import Keys

    return Keys.read(options.key_file) if options.key_file else None


def health(options: argparse.Namespace) -> None:
    from captioner.operations.health import wait_until_ready

    ready = wait_until_ready(
        options.url, options.management, options.model, options.wait, key_file=options.key_file
    )
    print(ready)


def _captioner(options: argparse.Namespace) -> Captioner:
    from model import Captioner
    from model.inference.devices import choose_device

    return Captioner.load(options.checkpoint, choose_device(options.device), options.precision)


def _check_picture(path: Path) -> None:
    if path.suffix != ".png":
        raise ValueError(f"{path}: the picture must be named *.png")


def _decoding(options: argparse.Namespace, num_captions: int = 1) -> DecodingOptions:
    from model import DecodingOptions

    return DecodingOptions(
        beam_size=options.beam_size,
        num_captions=num_captions,
        max_length=options.max_length,
        length_penalty=options.length_penalty,
        consensus=options.consensus,
    )
