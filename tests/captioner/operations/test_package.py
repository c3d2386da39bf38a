from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from model_archiver import ModelArchiver, ModelArchiverConfig
from model_archiver.model_packaging_utils import ModelExportUtils

from captioner.cli.main import main
from captioner.cli.package import NO_NOTICE
from captioner.operations.archive import MANIFEST, Archive
from captioner.operations.package import CREATED_ON, EPOCH, package
from captioner.paths import ROOT
from model import Captioner, checkpoint
from model.calibration import Calibration
from model.network import ShowAttendTell
from model.word_map import WordMap

# Loads an unpacked archive with the loader of TorchServe's workers and captions a photo with it.
WORKER = """
import json, pathlib, sys
from ts.context import RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from ts.model_loader import TsModelLoader
folder, metrics, photo = map(pathlib.Path, sys.argv[1:])
manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())["model"]
cache = MetricsCacheYamlImpl(str(metrics))
cache.initialize_cache()
service = TsModelLoader().load(
    manifest["modelName"], str(folder), manifest["handler"], None, 1, metrics_cache=cache
)
service.context.request_ids = {0: "r"}
service.context.request_processor = [RequestProcessor({})]
(reply,) = service._entry_point([{"body": bytearray(photo.read_bytes())}], service.context)
ours = [m.__file__ for name, m in sys.modules.items() if name.split(".")[0] in ("model", "handler")]
print(json.dumps({"reply": json.loads(reply), "code": ours}))
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


def test_the_command_prints_the_notices_beside_the_digest(
    tmp_path: Path,
    network: ShowAttendTell,
    word_map: WordMap,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = dataclasses.replace(network.config, notices=("Shapes: for research.", "Mine: ask me."))
    for name, config, wanted in [
        ("known", known, ["notice: Shapes: for research.", "notice: Mine: ask me."]),
        ("unknown", network.config, [f"notice: {NO_NOTICE}"]),
    ]:
        network.config = config
        checkpoint.save(tmp_path / name, network, word_map, "")
        archive = tmp_path / f"{name}.mar"
        caplog.clear()
        arguments = ["package", str(tmp_path / name), "--version", "1.0", "--out", str(archive)]
        assert main(arguments) == 0
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        assert capsys.readouterr().out == f"{digest}  {archive}\n"
        assert caplog.messages == wanted


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
    code = {path for part in ("model", "handler") for path in (ROOT / part).rglob("*.py")}
    code.remove(ROOT / "handler" / "captioner_handler.py")
    assert {path.relative_to(ROOT).as_posix() for path in code} <= names
    assert {"handler/__init__.py", "model/inference/__init__.py"} <= names
    assert not {"captioner/client/__init__.py", "handler/captioner_handler.py"} & names
    assert not any("__pycache__" in name for name in names)
    assert manifest["model"]["modelName"] == "captioner"
    assert manifest["model"]["modelVersion"] == "2.5"


def test_equals_what_the_archiver_alone_makes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own command line, fed with the parts, makes the same but for dates and order."""
    archive, parts = tmp_path / "captioner.mar", tmp_path / "parts"
    package(folder, "1.0", archive)
    with zipfile.ZipFile(archive) as ours:
        ours.extractall(parts)
    shutil.rmtree(parts / "MAR-INF")
    temporary = tmp_path / "temporary"  # the archiver deletes a folder in the temporary one
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    ModelArchiver.generate_model_archive(
        ModelArchiverConfig(
            model_name="captioner",
            version="1.0",
            handler=str(parts / "captioner_handler.py"),
            config_file=str(parts / "model-config.yaml"),
            extra_files=str(parts),
            export_path=str(temporary),
            archive_format="zip-store",
        )
    )
    with (
        zipfile.ZipFile(archive) as ours,
        zipfile.ZipFile(temporary / "captioner.mar") as theirs,
    ):
        assert ours.namelist() == sorted(theirs.namelist())
        assert {info.date_time for info in ours.infolist()} == {EPOCH}
        for name in ours.namelist():
            if name == MANIFEST:
                wanted = json.loads(theirs.read(name)) | {"createdOn": CREATED_ON}
                assert json.loads(ours.read(name)) == wanted
            else:
                assert ours.read(name) == theirs.read(name), name


def test_a_failed_packaging_leaves_no_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archiver fails when it has written half of its file."""

    def broken(path: str, archive: zipfile.ZipFile, *_: object) -> None:
        archive.write(Path(path) / "config.json", "config.json")
        raise OSError(28, "No space left on device")

    temporary, store = tmp_path / "temporary", tmp_path / "store"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(ModelExportUtils, "archive_dir", broken)
    with pytest.raises(OSError, match="No space"):
        package(folder, "1.0", store / "captioner.mar")
    assert not store.exists()
    assert not list(temporary.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("shadow", [False, True], ids=["clean", "checkout-on-pythonpath"])
def test_a_worker_runs_its_archives_code(
    folder: Path, tmp_path: Path, render, shadow: bool
) -> None:
    archive, unpacked, photo = tmp_path / "captioner.mar", tmp_path / "unpacked", tmp_path / "p.jpg"
    package(folder, "1.0", archive)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(unpacked)
    photo.write_bytes(render())
    path = [str(ROOT)] * shadow + [str(unpacked)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(
        [sys.executable, "-c", WORKER, unpacked, ROOT / "handler" / "metrics.yaml", photo],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert len(answer["code"]) > 10
    assert all(Path(file).is_relative_to(unpacked) for file in answer["code"])
    wanted = Captioner.load(folder).caption([photo.read_bytes()])[0][0].text
    assert answer["reply"]["caption"] == wanted


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
