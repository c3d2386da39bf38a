from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from captioner.operations.archive import Archive
from captioner.operations.package import package
from captioner.paths import ROOT
from model import Captioner, checkpoint
from model.calibration import Calibration
from model.network import ShowAttendTell
from model.word_map import WordMap

# What a TorchServe worker does with an unpacked archive, with nothing of TorchServe.
WORKER = """
import importlib, json, pathlib, sys, types
folder = pathlib.Path(sys.argv[1])
manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())["model"]
module = importlib.import_module(manifest["handler"].removesuffix(".py"))
own = [c for c in vars(module).values() if getattr(c, "__module__", "") == module.__name__]
(handler_class,) = (c for c in own if isinstance(c, type))
handler = handler_class()
context = types.SimpleNamespace(
    system_properties={"model_dir": str(folder), "gpu_id": None},
    model_yaml_config={},
    model_name="captioner",
    manifest=json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text()),
    metrics=types.SimpleNamespace(cache={}),
    get_all_request_header=lambda i: {},
    get_request_id=lambda i: "r",
    set_response_content_type=lambda i, value: None,
)
handler.initialize(context)
(reply,) = handler.handle([{"body": bytearray(pathlib.Path(sys.argv[2]).read_bytes())}], context)
import model
print(json.dumps({"reply": json.loads(reply), "code": model.__file__}))
"""


@pytest.fixture
def folder(tmp_path: Path, network: ShowAttendTell, word_map: WordMap) -> Path:
    checkpoint.save(tmp_path / "tiny", network, word_map, "# Tiny\n")
    return tmp_path / "tiny"


def test_same_bytes_every_time(folder: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "captioner.mar", tmp_path / "two" / "captioner.mar"
    digest = package(folder, "1.0", one)
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    assert package(folder, "1.0", two) == digest
    assert one.read_bytes() == two.read_bytes()
    assert hashlib.sha256(one.read_bytes()).hexdigest() == digest
    assert package(folder, "1.1", two, overwrite=True) != digest
    assert list(one.parent.iterdir()) == [one]


def test_holds_a_calibration_if_there_is_one(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "captioner.mar"
    without = package(folder, "1.0", archive)
    (folder / "calibration.json").write_text("{}")
    with pytest.raises(ValueError, match=r"calibration\.json: it must be an object"):
        package(folder, "1.0", archive)
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == without
    Calibration(5.0, 5.5, 0.4).save(folder)
    package(folder, "1.0", archive, overwrite=True)
    with zipfile.ZipFile(archive) as opened:
        held = opened.read("calibration.json")
    assert held == (folder / "calibration.json").read_bytes()


def test_holds_everything(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "captioner.mar"
    package(folder, "2.5", archive)
    with zipfile.ZipFile(archive) as opened:
        names = set(opened.namelist())
        manifest = json.loads(opened.read("MAR-INF/MANIFEST.json"))
        assert all(info.compress_type == zipfile.ZIP_STORED for info in opened.infolist())
    assert {"model.safetensors", "config.json", "word_map.json", "README.md"} <= names
    assert {"captioner_handler.py", "model-config.yaml", "model/__init__.py"} <= names
    assert {f"model/{path.name}" for path in (ROOT / "model").glob("*.py")} <= names
    assert {"handler/__init__.py", "handler/parsing.py"} <= names
    assert not {"captioner/client/__init__.py", "handler/captioner_handler.py"} & names
    assert not any("__pycache__" in name for name in names)
    assert manifest["model"]["modelName"] == "captioner"
    assert manifest["model"]["modelVersion"] == "2.5"


@pytest.mark.parametrize("shadow", [False, True], ids=["clean", "checkout-on-pythonpath"])
def test_a_worker_runs_its_archives_code(
    folder: Path, tmp_path: Path, render, shadow: bool
) -> None:
    archive, unpacked, photo = tmp_path / "captioner.mar", tmp_path / "unpacked", tmp_path / "p.jpg"
    package(folder, "1.0", archive)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(unpacked)
    photo.write_bytes(render())
    with (unpacked / "model" / "word_map.py").open("a") as code:
        code.write(
            "\n_decode = WordMap.decode\n"
            "WordMap.decode = lambda self, ids: 'by the archive: ' + _decode(self, ids)\n"
        )
    path = [str(ROOT)] * shadow + [str(unpacked)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(unpacked), str(photo)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert Path(answer["code"]).is_relative_to(unpacked)
    wanted = Captioner.load(folder).caption([photo.read_bytes()])[0][0].text
    assert answer["reply"]["caption"] == f"by the archive: {wanted}"


def test_another_archive_is_replaced_only_if_asked_to(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "captioner.mar"
    digest = package(folder, "1.0", archive)
    with pytest.raises(ValueError, match=r"captioner\.mar is there already; .* --overwrite"):
        package(folder, "1.1", archive)
    assert package(folder, "1.0", archive) == digest  # the same bytes are no other archive
    assert package(folder, "1.1", archive, overwrite=True) != digest


@pytest.mark.parametrize(
    ("file", "model"),
    [("birds.mar", "birds"), ("birds-1.1.mar", "birds"), ("my-birds-1.1.mar", "my-birds")],
)
def test_the_name_is_the_models_without_the_version(
    folder: Path, tmp_path: Path, file: str, model: str
) -> None:
    package(folder, "1.1", tmp_path / file)
    assert Archive.open(tmp_path / file).model == model
    with pytest.raises(ValueError, match=r"must be like captioner\.mar or captioner-1\.1\.mar"):
        package(folder, "1.1", tmp_path / "captioner-1.0.mar")


@pytest.mark.parametrize("version", ["", "one", "1.0-beta", "1.2.3.4", "1/0"])
def test_version_must_be_one(folder: Path, tmp_path: Path, version: str) -> None:
    with pytest.raises(ValueError, match="version is"):
        package(folder, version, tmp_path / "captioner.mar")


def test_a_bad_checkpoint_leaves_the_old_archive(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    archive = store / "captioner.mar"
    digest = package(folder, "1.0", archive)
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(checkpoint.InvalidCheckpoint, match=r"model\.safetensors is damaged"):
        package(folder, "2.0", archive)
    with pytest.raises(ValueError, match="no checkpoint folder"):
        package(tmp_path, "2.0", archive)
    with pytest.raises(ValueError, match=r"must be like captioner\.mar"):
        package(folder, "2.0", store / "captioner.zip")
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == digest
    assert list(store.iterdir()) == [archive]


def test_full_disk_leaves_the_old_archive(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "store" / "captioner.mar"
    digest = package(folder, "1.0", archive)

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        package(folder, "2.0", archive, overwrite=True)
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == digest
    assert list(archive.parent.iterdir()) == [archive]
