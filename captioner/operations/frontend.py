"""The command line, configuration and environment of TorchServe's frontend, a Java program.

TorchServe's own launcher is not used: it does not pass signals on.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from captioner.operations.record import StoreRecord
from captioner.operations.store import Store
from captioner.paths import PACKAGES, ROOT
from captioner.properties import read_properties
from captioner.threads import limit_spinning
from handler import shadow

# A shell that becomes its arguments once a line arrives on its standard input, and ends if the
# input ends before.
START_ON_SIGNAL = ["/bin/sh", "-c", 'read -r go && exec "$@" < /dev/null', "captioner"]


def configuration(store: Store, record: StoreRecord, tokens: bool) -> str:
    """Return the content of the config.properties of a server.

    Parameters
    ----------
    record
        The versions to load.
    tokens
        Whether TorchServe asks every caller for a token.
    """
    lines = [(ROOT / "config.properties").read_text()]
    if tokens:
        lines.append("disable_token_authorization=false")
    lines.append(f"model_snapshot={json.dumps(store.torchserve_snapshot(record))}")
    return "\n".join(lines) + "\n"


def java_options(config: str) -> list[str]:
    """Return the options for Java that the line ``vmargs`` of a config.properties has.

    TorchServe's launcher reads that line; the frontend itself does not.
    """
    return read_properties(config).get("vmargs", "").split()


def command(java: Path, config: Path, store: Store, temp: Path) -> list[str]:
    """Return the command that runs the frontend, in whichever directory.

    Parameters
    ----------
    config
        The file with `configuration`.
    temp
        The folder for sockets and unpacked archives.
    """
    home, frontend = _torchserve_folders()
    return [
        *(str(java), f"-Dmodel_server_home={home}", f"-Djava.io.tmpdir={temp}"),
        *java_options(config.read_text()),
        *("-cp", f"{frontend}/*", "org.pytorch.serve.ModelServer"),
        *("--python", sys.executable, "-f", str(config.resolve())),
        *("-s", str(store.folder.resolve()), "-ncs"),
    ]


def environment(
    addresses: Mapping[str, str],
    overrides: Mapping[str, str],
    *,
    store: Store,
    logs: Path,
    temp: Path,
    tokens: bool,
) -> dict[str, str]:
    """Return the environment of the frontend, which its workers inherit.

    Parameters
    ----------
    addresses
        The variables that say where to listen; they come before those of this process.
    overrides
        Variables that come before those.
    """
    variables = {**os.environ, **addresses, **overrides}
    variables |= {"TEMP": str(temp), "LOG_LOCATION": str(logs.resolve())}
    variables.setdefault("LOG4J_CONFIGURATION_FILE", str(ROOT / "deploy" / "log4j2.xml"))
    variables["TS_METRICS_CONFIG"] = str(PACKAGES / "handler" / "metrics.yaml")
    # Where a worker finds out that a deploy wants copies of its answers.
    variables[shadow.VARIABLE] = str(store.folder.resolve() / shadow.FOLDER)
    # Bodies reach the handler as they are: a worker dies of text that is not UTF-8.
    variables["TS_DECODE_INPUT_REQUEST"] = "false"
    # A setting of the caller's environment would come before that of the file.
    variables["TS_DISABLE_TOKEN_AUTHORIZATION"] = str(not tokens).lower()
    limit_spinning(variables)
    # TorchServe puts PYTHONPATH before the archive of a worker.
    variables.pop("PYTHONPATH", None)
    return variables


def _torchserve_folders() -> tuple[Path, Path]:
    """Return the folder of TorchServe's package and that of its frontend, without importing it."""
    spec = importlib.util.find_spec("ts")
    assert spec
    assert spec.origin
    package = Path(spec.origin).parent
    return package.parent, package / "frontend"
