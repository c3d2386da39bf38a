"""The ``captioner`` command: one subcommand a job, each a thin call into a package."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from training.formats import READERS

if TYPE_CHECKING:
    from model import DecodingOptions

# Jobs import what they need themselves: torch and its like take seconds.
ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "checkpoints" / "flickr8k"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; what a user did wrong is one line on standard error and status 1."""
    options, rest = _parser().parse_known_args(arguments)
    options.rest = rest
    if rest and options.run not in (_train, _bench):
        _parser().parse_args(arguments)  # says which are not known
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.WARNING, format="%(message)s"
    )
    logging.getLogger("captioner").setLevel(logging.INFO)
    try:
        status: int | None = options.run(options)
    except (ValueError, OSError, RuntimeError) as error:
        if options.debug:
            raise
        print(f"captioner: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("captioner: interrupted", file=sys.stderr)
        return 130
    return status or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="captioner", description="Train, score, package and serve a captioner of photos."
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks and all logs")
    jobs = parser.add_subparsers(title="jobs", required=True, metavar="JOB")

    caption = _job(jobs, "caption", _caption, "Write captions for photos.")
    caption.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files")
    caption.add_argument(
        "--checkpoint", type=Path, default=SHIPPED, help="checkpoint folder (the shipped one)"
    )
    caption.add_argument("--num-captions", type=int, default=1, help="captions a photo (1)")
    _search_options(caption)

    explain = _job(jobs, "explain", _explain, "Show where each word of a caption looked.")
    explain.add_argument("image", type=Path, metavar="IMAGE", help="image file")
    explain.add_argument(
        "-o", "--out", type=Path, required=True, help="picture (.png) or figures (.json) to write"
    )
    explain.add_argument(
        "--checkpoint", type=Path, default=SHIPPED, help="checkpoint folder (the shipped one)"
    )
    explain.add_argument(
        "--blocky", action="store_true", help="the grid's cells as they are, not smoothed"
    )
    _search_options(explain)

    prepare = _job(
        jobs, "prepare", _prepare, "Decode captioned photos once, into a folder to train on."
    )
    prepare.add_argument(
        "source", type=Path, help="folder, JSON file or tar; see the README for the forms"
    )
    prepare.add_argument("--out", type=Path, required=True, help="folder to write")
    prepare.add_argument("--format", default="auto", help=f"{', '.join(READERS)} (auto)")
    prepare.add_argument(
        "--image-size", type=int, default=224, help="side of the square photos, pixels (224)"
    )
    prepare.add_argument(
        "--val-share", type=float, default=0.1, help="for validation, without a split (0.1)"
    )
    prepare.add_argument("--seed", type=int, default=1, help="of that split (1)")
    prepare.add_argument(
        "--max-problems", type=float, default=0.05, help="share of photos that may fail (0.05)"
    )
    prepare.add_argument(
        "--max-words", type=int, default=50, help="longer captions are left out (50)"
    )

    tutorial = _job(
        jobs,
        "import-tutorial",
        _import_tutorial,
        "Convert a checkpoint of the image-captioning tutorial, running none of its code.",
    )
    tutorial.add_argument("weights", type=Path, help="BEST_checkpoint_....pth.tar")
    tutorial.add_argument("word_map", type=Path, help="WORDMAP_....json")
    tutorial.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")

    evaluate = _job(
        jobs, "evaluate", _evaluate, "Caption a split by beam search and print its scores."
    )
    evaluate.add_argument("checkpoint", type=Path, help="checkpoint folder")
    evaluate.add_argument(
        "--data", type=Path, required=True, help="folder or JSON file of captioned photos"
    )
    evaluate.add_argument("--split", default="val", help="train, val or test (val)")
    evaluate.add_argument(
        "--json", type=Path, help="write captions here (COCO's results) and scores beside them"
    )
    _search_options(evaluate)

    jobs.add_parser(
        "train", help="Train a captioner; write a checkpoint folder.", add_help=False
    ).set_defaults(run=_train)

    bench = jobs.add_parser(
        "bench", help="Measure speed and memory against a baseline.", add_help=False
    )
    bench.add_argument("what", choices=["train"], help="train: captions a second, memory")
    bench.set_defaults(run=_bench)

    pack = _job(jobs, "package", _package, "Write the TorchServe archive of a checkpoint.")
    pack.add_argument("checkpoint", type=Path, help="checkpoint folder")
    pack.add_argument("--version", required=True, help="version it is served as, such as 1.0")
    pack.add_argument(
        "--out",
        type=Path,
        default=Path("model_store/captioner.mar"),
        help="archive to write; its name is the model's (model_store/captioner.mar)",
    )

    serve = _job(jobs, "serve", _serve, "Package a checkpoint and serve it on loopback.")
    what = serve.add_mutually_exclusive_group()
    what.add_argument(
        "--detach", action="store_true", help="return once a caption has come back; it serves on"
    )
    what.add_argument("--stop", action="store_true", help="stop what serves from this folder")
    serve.add_argument(
        "--checkpoint", type=Path, default=SHIPPED, help="checkpoint folder (the shipped one)"
    )
    serve.add_argument("--version", default="1.0", help="version it is served as (1.0)")
    serve.add_argument(
        "--port",
        type=int,
        default=8080,
        help="for predictions; management and metrics take the next two (8080)",
    )
    serve.add_argument(
        "--model-store",
        type=Path,
        default=ROOT / "model_store",
        help="where the archive is written and served from (model_store)",
    )
    serve.add_argument(
        "--folder", type=Path, default=ROOT / ".serve", help="for the log and the pid (.serve)"
    )
    return parser


def _job(
    jobs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    text: str,
) -> argparse.ArgumentParser:
    parser = jobs.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _search_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--beam-size", type=int, default=3, help="hypotheses kept, 1 is greedy (3)")
    parser.add_argument("--max-length", type=int, default=30, help="words at most (30)")
    parser.add_argument(
        "--length-penalty", type=float, default=0.0, help="more favours longer captions (0)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (auto)")


def _caption(options: argparse.Namespace) -> None:
    from model import Captioner, InvalidImage

    captioner = Captioner.load(options.checkpoint, _device(options))
    decoding = _decoding(options, options.num_captions)
    found = captioner.caption_each([path.read_bytes() for path in options.images], decoding)
    bad = 0
    for path, captions in zip(options.images, found, strict=True):
        if isinstance(captions, InvalidImage):
            bad += 1
            print(f"captioner: {path}: {captions}", file=sys.stderr)
        else:
            for caption in captions:
                print(f"{path}: {caption.text} ({caption.log_prob:.2f})")
    if bad:
        raise ValueError(f"{bad} of {len(found)} files could not be captioned")


def _explain(options: argparse.Namespace) -> None:
    from model import Captioner
    from scripts.explain import check_ending, save_explanation

    check_ending(options.out)
    captioner = Captioner.load(options.checkpoint, _device(options))
    photo = options.image.read_bytes()
    caption = captioner.caption([photo], _decoding(options))[0][0]
    save_explanation(options.out, photo, caption, smooth=not options.blocky)
    print(f"{options.out}: {caption.text}")


def _evaluate(options: argparse.Namespace) -> None:
    from model import Captioner
    from training import datasets, engine
    from training.evaluation import assess

    decoding = _decoding(options)
    captioner = Captioner.load(options.checkpoint, _device(options))
    examples = datasets.of_split(datasets.read(options.data).examples, options.split)
    texts = engine.caption_files(captioner, [example.photo for example in examples], decoding)
    references = [example.captions for example in examples]
    evaluation = assess(texts, references, [example.name for example in examples])
    print(f"{len(examples)} photos of {options.data}, split {options.split}")
    print(evaluation.table())
    if options.json:
        about = {"checkpoint": str(options.checkpoint), "split": options.split}
        print(evaluation.write_json(options.json, about | dataclasses.asdict(decoding)))


def _prepare(options: argparse.Namespace) -> None:
    from training.prepare import prepare

    prepared = prepare(
        options.source,
        options.out,
        options.image_size,
        format=options.format,
        seed=options.seed,
        val_share=options.val_share,
        max_problems=options.max_problems,
        max_words=options.max_words,
    )
    counts = ", ".join(f"{len(rows)} {split}" for split, rows in prepared.splits.items())
    print(f"{options.out}: {counts}")


def _import_tutorial(options: argparse.Namespace) -> None:
    from scripts.import_tutorial import import_tutorial

    import_tutorial(options.weights, options.word_map, options.out)
    print(options.out)


def _train(options: argparse.Namespace) -> int | None:
    from scripts.training_options import parse
    from training.train import TrainingStopped, train

    config, resume = parse(options.rest)
    try:
        scores = train(config, resume, shlex.join(["captioner", "train", *options.rest]))
    except TrainingStopped as stopped:
        print(f"captioner: {stopped}", file=sys.stderr)
        return 128 + stopped.number
    if os.environ.get("RANK", "0") == "0":  # under torchrun one speaks for all
        figures = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
        print(f"{config.out}: {figures}")
    return 0


def _bench(options: argparse.Namespace) -> None:
    from benchmarks import train

    {"train": train.main}[options.what](options.rest)


def _package(options: argparse.Namespace) -> None:
    from scripts.package import package

    print(f"{package(options.checkpoint, options.version, options.out)}  {options.out}")


def _serve(options: argparse.Namespace) -> None:
    from scripts.serve import serve
    from scripts.torchserve import Server

    server = Server(options.folder)
    if options.stop:
        print("stopped" if server.stop() else "nothing was running")
        return
    serve(
        server,
        options.checkpoint,
        options.version,
        options.model_store,
        options.port,
        options.detach,
    )


def _device(options: argparse.Namespace) -> str:
    from model.device import choose_device

    return str(choose_device(options.device))


def _decoding(options: argparse.Namespace, num_captions: int = 1) -> DecodingOptions:
    from model import DecodingOptions

    return DecodingOptions(
        beam_size=options.beam_size,
        num_captions=num_captions,
        max_length=options.max_length,
        length_penalty=options.length_penalty,
    )


if __name__ == "__main__":
    sys.exit(main())
