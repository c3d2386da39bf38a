"""The main program of the image without TorchServe: the web server, at all addresses.

Its arguments are those of ``captioner web``. SageMaker gives it the one argument ``serve``: it then
serves what SageMaker has put into ``/opt/ml/model``, or else the shipped captioner.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from captioner.cli.main import main

SAGEMAKER = "serve"  # the argument of docker run, as SageMaker runs a container
SAGEMAKER_MODEL = Path("/opt/ml/model")  # where SageMaker unpacks a model
SAGEMAKER_PORT = "SAGEMAKER_BIND_TO_PORT"  # a variable that it sets if the port is not 8080
ANY_ADDRESS = ("--host", "0.0.0.0")  # of the container; publishing a port is up to who runs it


def web_arguments(arguments: Sequence[str], model: Path = SAGEMAKER_MODEL) -> list[str]:
    """Return the arguments of ``captioner`` for those of the container.

    Parameters
    ----------
    model
        The folder that SageMaker unpacks a model into: the files of a checkpoint, or one archive.

    Raises
    ------
    ValueError
        The folder has several archives.
    """
    command = ["web", *ANY_ADDRESS]
    if not arguments or arguments[0] != SAGEMAKER:
        return [*command, *arguments]
    command += ["--port", os.environ.get(SAGEMAKER_PORT) or "8080"]
    return [*command, *_checkpoint(model), *arguments[1:]]


def _checkpoint(model: Path) -> list[str]:
    if not model.is_dir() or not any(model.iterdir()):
        return []
    archives = sorted(model.glob("*.mar"))
    if len(archives) > 1:
        names = ", ".join(each.name for each in archives)
        raise ValueError(f"{model} has several archives, {names}; leave one in the model's tar")
    return ["--checkpoint", str(archives[0] if archives else model)]


def run(arguments: Sequence[str], model: Path = SAGEMAKER_MODEL) -> int:
    """Serve until a signal ends it; return the exit status."""
    try:
        command = web_arguments(arguments, model)
    except ValueError as error:
        print(f"captioner: {error}", file=sys.stderr)
        return 1
    return main(command)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
