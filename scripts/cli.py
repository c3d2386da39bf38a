"""The ``captioner`` command: one subcommand a job, each a thin call into a package."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from training.config import TrainingConfig

if TYPE_CHECKING:
    from model import DecodingOptions

# Jobs import what they need themselves: torch and its like take seconds.
ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "checkpoints" / "flickr8k"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; what a user did wrong is one line on standard error and status 1."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.WARNING, format="%(message)s"
    )
    logging.getLogger("captioner").setLevel(logging.INFO)
    try:
        options.run(options)
    except (ValueError, OSError, RuntimeError) as error:
        if options.debug:
            raise
        print(f"captioner: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("captioner: interrupted", file=sys.stderr)
        return 130
    return 0


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

    evaluate = _job(
        jobs, "evaluate", _evaluate, "Caption a split by beam search and print its scores."
    )
    evaluate.add_argument("checkpoint", type=Path, help="checkpoint folder")
    evaluate.add_argument(
        "--data", type=Path, required=True, help="folder or JSON file of captioned photos"
    )
    evaluate.add_argument("--split", default="val", help="train, val or test (val)")
    _search_options(evaluate)

    _train_options(_job(jobs, "train", _train, "Train a captioner; write a checkpoint folder."))

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
    run: Callable[[argparse.Namespace], None],
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


def _train_options(parser: argparse.ArgumentParser) -> None:
    types = {"Path": Path, "int": int, "float": float, "str": str}
    for field in dataclasses.fields(TrainingConfig):
        name = field.name.replace("_", "-")
        kind, text = types[str(field.type)], field.metadata["help"]
        if field.name == "data":
            parser.add_argument("data", type=kind, help=text)
        elif field.default is dataclasses.MISSING:
            parser.add_argument(f"--{name}", type=kind, required=True, help=text)
        else:
            shown = field.default if field.default != "" else "empty"
            parser.add_argument(
                f"--{name}", type=kind, default=field.default, help=f"{text} ({shown})"
            )


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


def _evaluate(options: argparse.Namespace) -> None:
    from model import Captioner
    from training import datasets, engine

    captioner = Captioner.load(options.checkpoint, _device(options))
    examples = datasets.of_split(datasets.read(options.data), options.split)
    scores = engine.evaluate_photos(captioner, examples, _decoding(options))
    print(f"{len(examples)} photos of {options.data}, split {options.split}")
    for name, value in scores.items():
        print(f"{name:8} {value:.4f}")


def _train(options: argparse.Namespace) -> None:
    from training.train import train

    names = (field.name for field in dataclasses.fields(TrainingConfig))
    scores = train(TrainingConfig(**{name: getattr(options, name) for name in names}))
    figures = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
    print(f"{options.out}: {figures}")


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
