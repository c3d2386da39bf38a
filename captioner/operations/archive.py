"""Reads a TorchServe archive and tries it, before a server is given it."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

MANIFEST = "MAR-INF/MANIFEST.json"
MODEL_CONFIG = "model-config.yaml"
GOLDEN = "golden.json"
VERSION = r"\d+(\.\d+){0,2}"  # a regular expression
DRY_RUN_SECONDS = 300.0

# The files that a checkpoint must have. `model.checkpoint` has their names too, but importing it
# imports torch, which takes seconds that a program such as aws-deploy need not wait.
CHECKPOINT = ("model.safetensors", "config.json", "word_map.json")
REQUIRED_SETTINGS = ("batchSize", "maxBatchDelay", "responseTimeout")  # of model-config.yaml

# This program runs in a process of its own and imports the archive's packages only, as a worker
# does. It reads photos from standard input and prints their captions.
DRY_RUN = """
import base64, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(folder))
import captioner_handler
from model import Captioner, DecodingOptions
task = json.load(sys.stdin)
captioner = Captioner.load(folder, precision="float32")
photos = [base64.b64decode(photo) for photo in task["photos"]]
captions = captioner.caption(photos, DecodingOptions(**task["decoding"]))
print(json.dumps([ranked[0].text for ranked in captions]))
"""


class Golden(NamedTuple):
    """A photo in an archive and the caption that the archive's captioner gives it."""

    photo: bytes
    caption: str


def golden_to_json(golden: Iterable[Golden]) -> bytes:
    """Return the content of an archive's golden.json."""
    entries = [{"photo": base64.b64encode(g.photo).decode(), "caption": g.caption} for g in golden]
    return (json.dumps(entries, indent=1) + "\n").encode()


def golden_from_json(content: bytes) -> list[Golden]:
    """Read the content of an archive's golden.json.

    Raises
    ------
    ValueError, LookupError, TypeError
        The content is damaged or has no photos.
    """
    golden = [
        Golden(base64.b64decode(each["photo"], validate=True), str(each["caption"]))
        for each in json.loads(content)
    ]
    if not golden:
        raise ValueError("it has no golden photos")
    return golden


@dataclass(frozen=True)
class Archive:
    """An archive whose files were all read and checked."""

    path: Path
    sha256: str
    model: str
    version: str
    settings: dict[str, Any]  # model-config.yaml
    golden: list[Golden]

    @classmethod
    def open(cls, path: Path, sha256: str | None = None) -> Archive:
        """Read and check an archive.

        Parameters
        ----------
        path
            The ``.mar`` file.
        sha256
            The digest that it must have, in hexadecimal digits; None accepts any.

        Raises
        ------
        ValueError
            The file is missing, is damaged, has another digest or is not a captioner's archive.
        """
        if not path.is_file():
            raise ValueError(f"{path} is no file; captioner package writes one")
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 and found != sha256.lower():
            raise ValueError(f"{path} has sha256 {found}, not {sha256}")
        try:
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} in it is damaged")
                manifest = json.loads(archive.read(MANIFEST))["model"]
                needed = {manifest["handler"], MODEL_CONFIG, GOLDEN, *CHECKPOINT}
                if lacking := needed - set(archive.namelist()):
                    raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
                settings = yaml.safe_load(archive.read(MODEL_CONFIG))
                golden = golden_from_json(archive.read(GOLDEN))
            name, version = str(manifest["modelName"]), str(manifest["modelVersion"])
            for setting in REQUIRED_SETTINGS:
                int(settings[setting])
        except (zipfile.BadZipFile, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
            raise ValueError(
                f"{path} is damaged or no archive of `captioner package`: {error}"
            ) from error
        return cls(path, found, name, version, settings, golden)

    def check_served_as(self, model: str) -> None:
        """Raise `ValueError` if TorchServe would serve this archive under another model name."""
        if self.model != model:
            raise ValueError(f"{self.path} is an archive of {self.model!r}, not of {model!r}")

    def dry_run(self, work: Path) -> None:
        """Caption the golden photos with the archive's own code, in a process of its own.

        Parameters
        ----------
        work
            The folder in which the archive is unpacked for that time; it is made if it is missing.

        Raises
        ------
        ValueError
            The code fails or takes too long, or a caption is not the golden one.
        """
        task = {
            "photos": [base64.b64encode(golden.photo).decode() for golden in self.golden],
            "decoding": self.settings.get("handler", {}).get("decoding", {}),
        }
        work.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="dry-run-", dir=work) as name:
            with zipfile.ZipFile(self.path) as archive:
                archive.extractall(name)
            try:
                done = subprocess.run(
                    [sys.executable, "-I", "-c", DRY_RUN, name],
                    input=json.dumps(task),
                    capture_output=True,
                    text=True,
                    timeout=DRY_RUN_SECONDS,
                )
            except subprocess.TimeoutExpired as error:
                raise ValueError(
                    f"{self.path} captions nothing within {DRY_RUN_SECONDS:.0f} s"
                ) from error
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
            raise ValueError(f"{self.path} does not run: {lines[-1]}")
        self.compare(json.loads(done.stdout.splitlines()[-1]))

    def compare(self, captions: list[str]) -> None:
        """Raise `ValueError` unless the given captions are those of the golden photos, in order."""
        for golden, caption in zip(self.golden, captions, strict=True):
            if caption != golden.caption:
                raise ValueError(
                    f"a golden photo of version {self.version} has the caption {caption!r}, not"
                    f" {golden.caption!r}"
                )
