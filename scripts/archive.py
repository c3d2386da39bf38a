"""What a TorchServe archive holds, read and tried before a server is given it."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from model.files import write_whole

MANIFEST = "MAR-INF/MANIFEST.json"
MODEL_CONFIG = "model-config.yaml"
GOLDEN = "golden.json"
DRY_RUN_SECONDS = 300.0

# Run with the archive's own packages alone, as a worker does; prints the captions.
DRY_RUN = """
import base64, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(folder))
import captioner_handler, yaml
from model import Captioner, DecodingOptions
settings = yaml.safe_load((folder / "model-config.yaml").read_text())["handler"]
captioner = Captioner.load(folder, precision="float32")
golden = json.loads((folder / "golden.json").read_text())
photos = [base64.b64decode(each["photo"]) for each in golden]
found = captioner.caption(photos, DecodingOptions(**settings["decoding"]))
print(json.dumps([captions[0].text for captions in found]))
"""


class Golden(NamedTuple):
    """A photo and the caption that this archive's captioner has for it."""

    photo: bytes
    caption: str


@dataclass(frozen=True)
class Archive:
    """An archive that was read through."""

    path: Path
    sha256: str
    model: str
    version: str
    settings: dict[str, Any]  # model-config.yaml
    golden: list[Golden]

    @classmethod
    def open(cls, path: Path, sha256: str | None = None) -> Archive:
        """Read it.

        Parameters
        ----------
        sha256
            What it must have.

        Raises
        ------
        ValueError
            It has not, or it is damaged, or no archive of a captioner.
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
                settings = yaml.safe_load(archive.read(MODEL_CONFIG))
                golden = [
                    Golden(base64.b64decode(each["photo"], validate=True), str(each["caption"]))
                    for each in json.loads(archive.read(GOLDEN))
                ]
            name, version = str(manifest["modelName"]), str(manifest["modelVersion"])
            int(settings["batchSize"])
        except (zipfile.BadZipFile, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
            raise ValueError(
                f"{path} is damaged or no archive of `captioner package`: {error}"
            ) from error
        return cls(path, found, name, version, settings, golden)

    def dry_run(self, work: Path) -> None:
        """Import its code and caption its golden photos in a process of its own.

        Parameters
        ----------
        work
            A folder for what it unpacks; it is made if it is missing.

        Raises
        ------
        ValueError
            That fails, or the captions are not the golden ones.
        """
        work.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="dry-run-", dir=work) as name:
            with zipfile.ZipFile(self.path) as archive:
                archive.extractall(name)
            try:
                done = subprocess.run(
                    [sys.executable, "-I", "-c", DRY_RUN, name],
                    capture_output=True,
                    text=True,
                    timeout=DRY_RUN_SECONDS,
                )
            except subprocess.TimeoutExpired as error:
                raise ValueError(
                    f"{self.path} captions nothing within {DRY_RUN_SECONDS:.0f} s"
                ) from error
        if done.returncode:
            told = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
            raise ValueError(f"{self.path} does not run: {told[-1]}")
        self.compare(json.loads(done.stdout.splitlines()[-1]))

    def compare(self, captions: list[str]) -> None:
        """Raise `ValueError` unless these are the golden photos' captions."""
        for golden, caption in zip(self.golden, captions, strict=True):
            if caption != golden.caption:
                raise ValueError(
                    f"a golden photo of version {self.version} has the caption {caption!r}, not"
                    f" {golden.caption!r}"
                )

    def copy_to(self, place: Path) -> None:
        """Write it elsewhere, whole or not at all."""
        write_whole(place, self.path.read_bytes())
