"""What a TorchServe archive holds, read and tried before a server is given it."""

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
DRY_RUN_SECONDS = 300.0

# What a captioner needs besides, as `model.checkpoint` names it. That is not imported: who only
# reads an archive, as aws-deploy does, shall not wait for torch.
CHECKPOINT = ("model.safetensors", "config.json", "word_map.json")
AT_START = ("batchSize", "maxBatchDelay", "responseTimeout")  # settings that TorchServe needs

# Run with the archive's own packages alone, as a worker does; reads photos, prints their captions.
DRY_RUN = """
import base64, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(folder))
import captioner_handler
from model import Captioner, DecodingOptions
asked = json.load(sys.stdin)
captioner = Captioner.load(folder, precision="float32")
photos = [base64.b64decode(photo) for photo in asked["photos"]]
found = captioner.caption(photos, DecodingOptions(**asked["decoding"]))
print(json.dumps([captions[0].text for captions in found]))
"""


class Golden(NamedTuple):
    """A photo and the caption that this archive's captioner has for it."""

    photo: bytes
    caption: str


def golden_to_json(golden: Iterable[Golden]) -> bytes:
    """Return the content of an archive's golden.json."""
    told = [{"photo": base64.b64encode(g.photo).decode(), "caption": g.caption} for g in golden]
    return (json.dumps(told, indent=1) + "\n").encode()


def golden_from_json(content: bytes) -> list[Golden]:
    """Read an archive's golden.json; raises `ValueError`, `LookupError` or `TypeError` if bad."""
    golden = [
        Golden(base64.b64decode(each["photo"], validate=True), str(each["caption"]))
        for each in json.loads(content)
    ]
    if not golden:
        raise ValueError("it has no golden photos")
    return golden


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
                needed = {manifest["handler"], MODEL_CONFIG, GOLDEN, *CHECKPOINT}
                if lacking := needed - set(archive.namelist()):
                    raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
                settings = yaml.safe_load(archive.read(MODEL_CONFIG))
                golden = golden_from_json(archive.read(GOLDEN))
            name, version = str(manifest["modelName"]), str(manifest["modelVersion"])
            for setting in AT_START:
                int(settings[setting])
        except (zipfile.BadZipFile, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
            raise ValueError(
                f"{path} is damaged or no archive of `captioner package`: {error}"
            ) from error
        return cls(path, found, name, version, settings, golden)

    def check_served_as(self, model: str) -> None:
        """Raise `ValueError` if TorchServe would know it by another name."""
        if self.model != model:
            raise ValueError(f"{self.path} is an archive of {self.model!r}, not of {model!r}")

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
        asked = {
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
                    input=json.dumps(asked),
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
