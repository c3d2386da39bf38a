"""The model store: what is listed stays, what was served is remembered, one server at a time."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from captioner.cli.main import main
from captioner.operations import serve as serve_module
from captioner.operations.package import package
from captioner.operations.record import RecordedVersion, StoreRecord
from captioner.operations.serve import prepare_store
from captioner.operations.store import (
    DEPLOY_LOCK,
    RECORD_FILE,
    UNVERSIONED_ARCHIVE,
    WORK_FOLDER,
    Store,
)
from model import checkpoint


@pytest.fixture
def other(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """Another checkpoint."""
    network, word_map = checkpoint.load(tiny_checkpoint)
    with torch.no_grad():
        network.decoder.fc.weight.mul_(0.5)
    checkpoint.save(tmp_path / "other", network, word_map, "# Another\n")
    return tmp_path / "other"


@pytest.fixture
def shipped(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny checkpoint, as if it had come with the checkout."""
    monkeypatch.setattr(serve_module, "SHIPPED", tiny_checkpoint)
    return tiny_checkpoint


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "store").mkdir()
    return Store(tmp_path / "store")


def served(store: Store) -> tuple[str, str]:
    """The version that a start serves by default, and the digest of its checkpoint."""
    record = store.read_record()
    assert record
    store.torchserve_snapshot(record)  # which a start needs
    digest = serve_module._checkpoint_digest(store.archive_path(record.versions[record.default]))
    assert digest
    return record.default, digest


def deploy(store: Store, folder: Path, version: str) -> None:
    """StoreRecord a version as a deploy does."""
    path = store.folder / f"captioner-{version}.mar"
    stored = RecordedVersion(path.name, package(folder, version, path))
    record = store.read_record()
    assert record
    store.write_record(record.with_version(version, stored).with_default(version))


def contents(store: Store) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in store.folder.iterdir() if path.name != DEPLOY_LOCK
    }


# What is listed stays.


@pytest.mark.slow
def test_an_archive_that_is_listed_is_never_written_over(
    store: Store, shipped: Path, other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_store(store, None, None)
    deploy(store, other, "2.0")
    before = contents(store)
    for wrong, version in ((other, "1.0"), (shipped, "2.0")):
        by_hand = ["--out", store.folder / f"captioner-{version}.mar", "--overwrite"]
        for where in (["--model-store", store.folder], by_hand):
            assert main([*map(str, ["package", wrong, "--version", version, *where])]) == 1
            printed = capsys.readouterr().err
            assert f"captioner-{version}.mar is version {version}" in printed
            assert "package another --version" in printed
    assert contents(store) == before


def test_an_archive_that_is_being_deployed_is_not_written_over(
    store: Store, shipped: Path, other: Path
) -> None:
    prepare_store(store, None, None)
    path = store.folder / "captioner-2.0.mar"
    package(other, "2.0", path)
    with (
        store.lock_for_deploy(),
        pytest.raises(ValueError, match="another deploy or rollback is at work"),
    ):
        package(shipped, "2.0", path, overwrite=True)
    package(shipped, "2.0", path, overwrite=True)


def test_an_archive_that_is_listed_can_be_put_back(store: Store, shipped: Path) -> None:
    prepare_store(store, None, None)
    path = store.folder / "captioner-1.0.mar"
    content = path.read_bytes()
    for spoil in (lambda: path.write_bytes(content[:-1]), path.unlink):
        spoil()
        with pytest.raises(ValueError, match="put "):
            store.torchserve_snapshot(store.read_record() or StoreRecord(""))
        package(shipped, "1.0", path)
        assert path.read_bytes() == content


def test_an_archive_with_another_digest_says_what_to_do(
    store: Store, shipped: Path, other: Path
) -> None:
    prepare_store(store, None, None)
    deploy(store, shipped, "2.0")
    package(other, "1.0", store.folder / "x" / UNVERSIONED_ARCHIVE)
    (store.folder / "x" / UNVERSIONED_ARCHIVE).replace(store.folder / "captioner-1.0.mar")
    with pytest.raises(
        ValueError, match=r"captioner-1\.0\.mar has sha256 .* lists as version 1\.0"
    ):
        served(store)
    with pytest.raises(ValueError, match=r"captioner package makes the same bytes.*--checkpoint"):
        served(store)
    prepare_store(store, other, None)  # as it says
    assert served(store)[1] == checkpoint.digest(other)


@pytest.mark.slow
def test_archives_are_written_where_they_are_served_from(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    """The archive has the version's name, whatever the working directory is."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [
        sys.executable,
        "-m",
        "captioner.cli.main",
        "package",
        tiny_checkpoint,
        "--version",
        "1.1",
    ]
    environment = os.environ | {"CAPTIONER_MODEL_STORE": str(tmp_path / "store")}
    for _ in range(2):  # the same bytes are no reason to refuse
        done = subprocess.run(
            command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        digest, path = done.stdout.split()
    assert Path(path) == tmp_path / "store" / "captioner-1.1.mar"
    assert [each.name for each in Path(path).parent.iterdir()] == ["captioner-1.1.mar"]
    assert list(elsewhere.iterdir()) == []
    assert Store(tmp_path / "store").open_archive(
        "1.1", RecordedVersion("captioner-1.1.mar", digest)
    ).model == ("captioner")


# What was served is remembered.


def test_the_checkpoint_that_was_served_last_is_served_again(
    store: Store, shipped: Path, other: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "captioner")
    ours, theirs = checkpoint.digest(shipped), checkpoint.digest(other)
    prepare_store(store, None, None)
    assert served(store) == ("1.0", ours)
    prepare_store(store, other, None)
    assert served(store) == ("2.0", theirs)  # no two checkpoints have one version
    caplog.clear()
    prepare_store(store, None, None)
    assert served(store) == ("2.0", theirs)
    assert f"it is {other}, which was served last" in caplog.text
    assert f"the shipped one is served by: scripts/serve --checkpoint {shipped}" in caplog.text
    prepare_store(store, shipped, None)
    assert served(store) == ("1.0", ours)  # as before
    prepare_store(store, None, None)
    assert served(store) == ("1.0", ours)


@pytest.mark.parametrize("gone", [False, True])
def test_a_checkpoint_that_has_changed_is_served_only_when_it_is_named(
    store: Store, shipped: Path, other: Path, gone: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "captioner")
    prepare_store(store, other, None)
    before = served(store)
    (other / "word_map.json").unlink()
    if not gone:
        (other / "word_map.json").write_bytes((shipped / "word_map.json").read_bytes() + b"\n")
    prepare_store(store, None, None)
    assert served(store) == before
    assert f"{other} has changed or is gone since" in caplog.text
    if not gone:
        prepare_store(store, other, None)
        assert served(store) == ("2.0", checkpoint.digest(other))


def test_a_version_is_one_checkpoint(store: Store, shipped: Path, other: Path) -> None:
    prepare_store(store, shipped, "1.0")
    package(other, "4.1", store.folder / "captioner-4.1.mar")
    before = contents(store)
    for wanted, folder in (("1.0", other), ("4.1", shipped)):
        with pytest.raises(ValueError, match=rf"{wanted} .* is another checkpoint.*such as 5\.0"):
            prepare_store(store, folder, wanted)
    with pytest.raises(ValueError, match=r"holds version 1\.0 to serve; name the --checkpoint"):
        prepare_store(store, None, "3.0")
    assert contents(store) == before
    prepare_store(store, other, None)
    assert served(store) == ("4.1", checkpoint.digest(other))  # which it was packaged as


def test_naming_a_checkpoint_keeps_deployed_archives(
    store: Store, shipped: Path, other: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "captioner")
    prepare_store(store, None, None)
    deploy(store, other, "2.0")
    prepare_store(store, None, None)
    assert served(store) == ("2.0", checkpoint.digest(other))
    prepare_store(store, shipped, None)
    assert served(store) == ("1.0", checkpoint.digest(shipped))
    assert (store.folder / "captioner-2.0.mar").is_file()
    assert f"captioner deploy {store.folder}/captioner-2.0.mar brings it back" in caplog.text


@pytest.mark.parametrize("which", ["shipped", "other"])
def test_an_archive_that_was_put_there_is_served_and_stays(
    store: Store, which: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(which)
    package(folder, "7.0", store.folder / UNVERSIONED_ARCHIVE)
    before = (
        store.folder / UNVERSIONED_ARCHIVE
    ).read_bytes() + b"by an earlier release"  # zip ignores it
    (store.folder / UNVERSIONED_ARCHIVE).write_bytes(before)
    prepare_store(store, None, None)
    assert served(store) == ("7.0", checkpoint.digest(folder))
    assert contents(store) == {UNVERSIONED_ARCHIVE: before}
    prepare_store(store, folder, None)
    assert (store.folder / UNVERSIONED_ARCHIVE).read_bytes() == before


def test_a_record_of_an_earlier_release(store: Store, shipped: Path, other: Path) -> None:
    """Such a record does not name the checkpoint that was packaged."""
    for folder, version in ((shipped, "1.0"), (other, "1.0")):
        for path in store.folder.iterdir():
            path.unlink()
        digest = package(folder, version, store.folder / UNVERSIONED_ARCHIVE)
        versions = {version: {"archive": UNVERSIONED_ARCHIVE, "sha256": digest}}
        record = {"default": version, "previous": None, "deployed": False, "versions": versions}
        (store.folder / RECORD_FILE).write_text(json.dumps(record))
        prepare_store(store, None, None)
        assert served(store) == (version, checkpoint.digest(folder))
        assert sorted(path.name for path in store.folder.iterdir()) == [
            UNVERSIONED_ARCHIVE,
            RECORD_FILE,
        ]


# One server at a time.


def test_a_store_is_one_servers_until_that_ends(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    with store.lock_for_server() as reservation:
        server = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=reservation.descriptors)
        with (
            pytest.raises(ValueError, match="another server is being started"),
            store.lock_for_server(),
        ):
            pass
        reservation.name_server(folder, server.pid)
    try:
        match = f"process {server.pid} serves from {store.folder}; .* --stop --folder {folder}, or"
        with pytest.raises(ValueError, match=match), Store(store.folder).lock_for_server():
            pass
        with store.lock_for_deploy():  # a deploy works beside it
            pass
        folder.rmdir()
        assert f"started from {folder}, which is not here" in (store.describe_server() or "")
    finally:
        server.communicate()
    assert store.describe_server() is None
    with store.lock_for_server():
        pass


def test_the_served_archive_of_a_store_without_a_record_stays(
    store: Store, tiny_checkpoint: Path, other: Path
) -> None:
    path = store.folder / UNVERSIONED_ARCHIVE
    package(tiny_checkpoint, "1.0", path)
    with store.lock_for_server(), pytest.raises(ValueError, match="is never replaced"):
        package(other, "1.1", path, overwrite=True)
    with pytest.raises(ValueError, match="--overwrite"):
        package(other, "1.1", path)
    package(other, "1.1", path, overwrite=True)


def test_a_store_that_cannot_be_written_needs_no_lock(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with store.lock_for_server() as reservation:
        assert reservation.descriptors == ()
    assert list(store.folder.iterdir()) == []


def test_a_failure_leaves_no_store_behind(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    with pytest.raises(ValueError, match="is no checkpoint"), store.lock_for_server():
        prepare_store(store, tmp_path, None)
    assert not store.folder.exists()


@pytest.mark.parametrize("who", ["lock_for_deploy", "lock_for_server"])
def test_what_a_killed_deploy_left_goes(store: Store, who: str) -> None:
    (store.folder / WORK_FOLDER / "dry-run-x").mkdir(parents=True)
    (store.folder / WORK_FOLDER / "dry-run-x" / "model.safetensors").write_bytes(b"large")
    with getattr(store, who)():
        assert not store.work.exists()
        store.work.mkdir()
    assert store.work.exists() == (who == "lock_for_server")


def test_a_deploy_at_work_keeps_its_files(store: Store) -> None:
    with store.lock_for_deploy():
        store.work.mkdir()
        with Store(store.folder).lock_for_server():
            assert store.work.exists()
