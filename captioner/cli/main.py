"""The ``captioner`` command: one subcommand for each of `captioner.cli.jobs`."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from captioner.cli import jobs
from captioner.cli.messages import complain, described, without_passwords
from captioner.paths import MODEL_STORE, ROOT, SHIPPED
from captioner.threads import limit_spinning
from model.process import set_up_process
from training.data.formats import READERS

HEALTH_WITH_CURL = """\
The same for a container's or a load balancer's probe, without Python:

  curl -fsS http://127.0.0.1:8081/models/captioner | grep -q '"status": "READY"' &&
  curl -fsS -m 10 -T photo.jpg http://127.0.0.1:8080/predictions/captioner

Who cannot reach the management asks for a caption alone. /ping is no probe: it says Healthy
while models load and for minutes after a worker died.
"""


BROKEN_PIPE = 141  # the status that a shell gives a program which SIGPIPE ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; what a user did wrong is one line on standard error and status 1."""
    limit_spinning(os.environ)
    set_up_process()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files that are no UTF-8 are printed as they are; what a narrower encoding lacks
        # is better escaped than fatal.
        unicode = sys.stdout.encoding.lower() == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if unicode else "backslashreplace")
    options, rest = _parser().parse_known_args(arguments)
    options.rest = rest
    if rest and options.run not in (jobs.train, jobs.bench):
        _parser().parse_args(arguments)  # says which are not known
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.WARNING, format="%(message)s"
    )
    logging.getLogger("captioner").setLevel(logging.INFO)
    logging.getLogger("httpcore2").setLevel(logging.INFO)  # headers, cookies among them, are DEBUG
    try:
        status: int | None = options.run(options)
        print(end="", flush=True)  # what cannot be written is said here, not at Python's end
    except BrokenPipeError:  # whoever read what is printed, such as `head -1`, has enough
        _drop_output()
        return BROKEN_PIPE
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        if options.debug:
            raise
        complain(described(error))
        _drop_output()
        return 1
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    return status or 0


def _drop_output() -> None:
    """Drop what standard output cannot take, so that Python's end does not fail on it."""
    try:
        print(end="", flush=True)
    except OSError:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())


class Parser(argparse.ArgumentParser):
    """One that leaves passwords out of what it says of arguments."""

    def error(self, message: str) -> NoReturn:
        super().error(without_passwords(message))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="captioner", description="Train, score, package and serve a captioner of photos."
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks and all logs")
    parsers = parser.add_subparsers(title="jobs", required=True, metavar="JOB")

    caption = _job(parsers, "caption", jobs.caption, "Write captions for photos.")
    caption.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files")
    who = caption.add_mutually_exclusive_group()
    who.add_argument(
        "--checkpoint", type=Path, default=SHIPPED, help="checkpoint folder (the shipped one)"
    )
    who.add_argument(
        "--server",
        metavar="URL",
        help="ask a served captioner, such as http://127.0.0.1:8080; its operator has chosen"
        " checkpoint, device and precision",
    )
    _key_file_option(caption)
    caption.add_argument("--num-captions", type=int, default=1, help="captions a photo (1)")
    _search_options(caption)

    explain = _job(parsers, "explain", jobs.explain, "Show where each word of a caption looked.")
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
    _overwrite_option(explain, "a file that is there")
    _search_options(explain)

    prepare = _job(
        parsers, "prepare", jobs.prepare, "Decode captioned photos once, into a folder to train on."
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

    _overwrite_option(prepare, "what was prepared there from something else, or otherwise")

    clear = _job(
        parsers,
        "clear-grids",
        jobs.clear_grids,
        "Delete the grids that trainings have kept beside prepared photos and that no checkpoint"
        " uses: neither the checkpoint nor the run folder of a training that used them is there."
        " A training that wants them again computes them again.",
    )
    clear.add_argument("data", type=Path, help="folder that prepare has written")
    clear.add_argument(
        "--all", action="store_true", help="those that are used, or were by whom nobody knows, too"
    )

    tutorial = _job(
        parsers,
        "import-tutorial",
        jobs.import_tutorial,
        "Convert a checkpoint of the image-captioning tutorial, running none of its code.",
    )
    tutorial.add_argument("weights", type=Path, help="BEST_checkpoint_....pth.tar")
    tutorial.add_argument("word_map", type=Path, help="WORDMAP_....json")
    tutorial.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    _overwrite_option(tutorial, "a checkpoint that is there")

    evaluate = _job(
        parsers, "evaluate", jobs.evaluate, "Caption a split by beam search and print its scores."
    )
    evaluate.add_argument("checkpoint", type=Path, help="checkpoint folder")
    evaluate.add_argument(
        "--data",
        type=Path,
        required=True,
        help="captioned photos, prepared or as prepare reads them",
    )
    evaluate.add_argument("--split", default="val", help="train, val or test (val)")
    evaluate.add_argument(
        "--json", type=Path, help="write captions here (COCO's results) and scores beside them"
    )
    evaluate.add_argument(
        "--calibrate",
        action="store_true",
        help="fit the confidence of captions and write it into the checkpoint folder; with the"
        " search that is served",
    )
    evaluate.add_argument(
        "--picture", type=Path, help="draw here how far confidences can be relied on (.png)"
    )
    evaluate.add_argument(
        "--samples", type=Path, help="draw here photos chosen at random with their captions (.png)"
    )
    evaluate.add_argument("--seed", type=int, default=1, help="chooses those photos (1)")
    _overwrite_option(evaluate, "files, or a calibration, that are there")
    _search_options(evaluate)

    parsers.add_parser(
        "train", help="Train a captioner; write a checkpoint folder.", add_help=False
    ).set_defaults(run=jobs.train)

    ablate = _job(
        parsers,
        "ablate",
        jobs.ablate,
        "Train variants of a recipe with several seeds, and print their scores in one table. What"
        " was trained before is not trained again; what was killed goes on.",
    )
    ablate.add_argument(
        "plan", type=Path, help="variants and seeds, such as training/recipes/ablations-*.yaml"
    )
    ablate.add_argument("--data", type=Path, required=True, help="prepared photos")
    ablate.add_argument("--out", type=Path, required=True, help="folder of all the trainings")

    report = _job(
        parsers,
        "report",
        jobs.report,
        "Draw the curves of a training: loss, reward, validation scores, learning rates. Of several"
        " that went on from one another, the one after the other.",
    )
    report.add_argument(
        "metrics", nargs="+", type=Path, help="metrics.jsonl of each, in their order"
    )
    report.add_argument("--out", type=Path, required=True, help="picture to draw (.png)")
    _overwrite_option(report, "a picture that is there")

    parsers.add_parser(
        "bench", help="Measure speed, memory and agreement against a baseline.", add_help=False
    ).set_defaults(run=jobs.bench)

    pack = _job(parsers, "package", jobs.package, "Write the TorchServe archive of a checkpoint.")
    pack.add_argument("checkpoint", type=Path, help="checkpoint folder")
    pack.add_argument("--version", required=True, help="version it is served as, such as 1.0")
    where = pack.add_mutually_exclusive_group()
    _model_store_option(where, "where captioner-VERSION.mar is written")
    where.add_argument(
        "--out",
        type=Path,
        help="archive to write instead, NAME.mar or NAME-VERSION.mar; NAME is the model's",
    )
    pack.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a file that is there, but never a version that is served",
    )

    serve = _job(parsers, "serve", jobs.serve, "Package a checkpoint and serve it on loopback.")
    what = serve.add_mutually_exclusive_group()
    what.add_argument(
        "--detach", action="store_true", help="return once a caption has come back; it serves on"
    )
    what.add_argument("--stop", action="store_true", help="stop what serves from this folder")
    serve.add_argument(
        "--checkpoint",
        type=Path,
        help="checkpoint folder (what was deployed or served last, or else the shipped one)",
    )
    serve.add_argument(
        "--version",
        help="version it is served as (the one it had, or one that none has had: 1.0, 2.0, ...)",
    )
    serve.add_argument(
        "--workers",
        type=int,
        help="processes that answer, of the default version (as many as it had, or 1)",
    )
    serve.add_argument(
        "--port",
        type=_first_port,
        default=8080,
        help="for predictions; management, metrics and gRPC take the next four (8080)",
    )
    _model_store_option(serve, "where the archive is written and served from")
    serve.add_argument(
        "--tokens",
        action="store_true",
        help="let TorchServe ask everyone for a token; it writes the keys into key_file.json in the"
        " folder below",
    )
    serve.add_argument(
        "--folder", type=Path, default=ROOT / ".serve", help="for the log and the pid (.serve)"
    )

    deploy = _job(
        parsers,
        "deploy",
        jobs.deploy,
        "Put an archive's version behind live traffic: verify it, load it beside what is served,"
        " ask it for known captions, make it the default, and keep the version before for a"
        " rollback. Whatever fails, the version before serves on.",
    )
    deploy.add_argument("archive", type=Path, help="archive that captioner package wrote")
    deploy.add_argument("--sha256", help="refuse the archive unless it has this digest")
    deploy.add_argument("--workers", type=int, default=1, help="processes of the new version (1)")
    deploy.add_argument(
        "--remove-old",
        action="store_true",
        help="remove the version before once it has answered everything; no rollback then",
    )
    deploy.add_argument(
        "--shadow",
        type=float,
        metavar="SHARE",
        help="before it is the default, ask it this share (above 0, at most 1) of the photos that"
        " callers ask the version before, and print how captions and times differ; callers get the"
        " version before's answers and wait for nothing. An error of the new version fails the"
        " deploy",
    )
    deploy.add_argument("--shadow-minutes", type=float, metavar="MINUTES", help="for so long (5)")
    deploy.add_argument(
        "--shadow-agreement",
        type=float,
        metavar="SHARE",
        help="fail unless at least this share of the captions is the same (nothing is demanded)",
    )
    rollback = _job(
        parsers,
        "rollback",
        jobs.rollback,
        "Make the version before the default one the default again, at once; a second time, the one"
        " after it.",
    )
    undeploy = _job(
        parsers,
        "undeploy",
        jobs.undeploy,
        "Remove a version that is not the default once it has answered what it was asked: from the"
        " server, from the record and from the model store.",
    )
    undeploy.add_argument("version", help="such as 1.0; captioner versions lists them")
    versions = _job(
        parsers, "versions", jobs.versions, "List the versions that are served, and their workers."
    )
    for job in (deploy, rollback, undeploy, versions):
        _address_options(job)
        _model_store_option(job, "where the server loads archives from")
        _key_file_option(job)

    health = _job(
        parsers,
        "health",
        jobs.health,
        "Say whether a served captioner is ready: its workers are, and a photo comes back"
        " captioned. Status 0 if so, else 1.",
    )
    _address_options(health)
    health.add_argument("--model", default="captioner", help="name it is served as (captioner)")
    health.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="check until it is ready or this long has passed (0: check once)",
    )
    _key_file_option(health)
    health.formatter_class = argparse.RawDescriptionHelpFormatter
    health.epilog = HEALTH_WITH_CURL
    return parser


def _job(
    parsers: argparse._SubParsersAction[Parser],
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    text: str,
) -> argparse.ArgumentParser:
    parser = parsers.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _first_port(text: str) -> int:
    """One of five ports in a row, from an option's value."""
    last = 2**16 - 5
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= last:
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be in 1..{last}")
    return int(text)


def _overwrite_option(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--overwrite", action="store_true", help=f"replace {what}")


def _address_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", default="http://127.0.0.1:8080", help="of predictions (http://127.0.0.1:8080)"
    )
    parser.add_argument(
        "--management",
        default="http://127.0.0.1:8081",
        metavar="URL",
        help="of TorchServe's management (http://127.0.0.1:8081)",
    )


def _key_file_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key-file",
        type=Path,
        help="key_file.json of a server that wants tokens, such as .serve/key_file.json",
    )


def _model_store_option(parser: argparse._ActionsContainer, what: str) -> None:
    parser.add_argument(
        "--model-store",
        type=Path,
        default=MODEL_STORE,
        help=f"{what} (CAPTIONER_MODEL_STORE, or the checkout's model_store)",
    )


def _search_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--beam-size", type=int, default=5, help="hypotheses kept (5)")
    parser.add_argument("--max-length", type=int, default=18, help="words at most (18)")
    parser.add_argument(
        "--length-penalty", type=float, default=0.7, help="more favours longer captions (0.7)"
    )
    parser.add_argument(
        "--consensus",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="tell the caption that has most in common with all that was held likely, not the"
        " likeliest (on)",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (auto)")
    parser.add_argument(
        "--precision",
        default="auto",
        help="float32; mixed: the decoder in bfloat16; bfloat16: the encoder too; auto: mixed where"
        " bfloat16 is fast (auto)",
    )


if __name__ == "__main__":
    sys.exit(main())
