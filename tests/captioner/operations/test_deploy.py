"""Versions swapped on the real TorchServe, under load; deploys that must fail change nothing."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from captioner.operations import deploy as deploy_module
from captioner.operations import store as store_module
from captioner.operations.archive import Archive
from captioner.operations.deploy import DeployFailed, deploy, rollback, undeploy
from captioner.operations.http import Connection
from captioner.operations.management import Management, ManagementError, ServedVersion
from captioner.operations.ports import Ports
from captioner.operations.store import DEPLOY_LOCK, RECORD_FILE, SERVER_LOCK, UNFINISHED_FILE, Store
from captioner.operations.target import ServerTarget
from captioner.operations.torchserve import Server
from captioner.operations.versions import versions_table
from model import Captioner, DecodingOptions
from tests.captioner.operations.archives import with_handler, with_wrong_caption
from tests.captioner.operations.load import Load
from tests.captioner.operations.servers import Site, run

pytestmark = pytest.mark.slow


def test_versions_come_and_go_under_load(fresh: Site, render) -> None:
    """Every request is answered, and each reply has the caption of the version that it names."""
    photo = render("blue", "square")
    captions = {version: fresh.caption_by(version, photo) for version in ("1.0", "2.0", "3.0")}
    assert len(set(captions.values())) > 1
    with Load(fresh.url, photo) as load:
        done = run("deploy", fresh.archive("2.0"), *fresh.options)
        assert done.returncode == 0, done.stderr
        assert fresh.served() == ("2.0", ["1.0", "2.0"])
        load.wait_for("2.0")
        assert str(rollback(fresh.target)).startswith("version 1.0 is the default (2.0 is kept;")
        assert fresh.served() == ("1.0", ["1.0", "2.0"])
        deploy(fresh.archive("3.0"), fresh.target)
        assert fresh.served() == ("3.0", ["1.0", "3.0"])  # 2.0 is what no rollback leads to
        load.wait_for("3.0")
    assert not load.faults
    assert {status for status, _, _ in load.answers} == {200}
    assert {version for _, version, _ in load.answers} == {"1.0", "2.0", "3.0"}
    assert all(caption == captions[version] for _, version, caption in load.answers)

    table = versions_table(fresh.target).splitlines()
    assert [line.split()[:2] for line in table[1:]] == [["1.0", "rollback"], ["3.0", "default"]]
    names = {path.name for path in fresh.store.iterdir()}
    assert names == {
        "captioner-1.0.mar",
        "captioner-3.0.mar",
        RECORD_FILE,
        DEPLOY_LOCK,
        SERVER_LOCK,
    }

    # What was deployed is what a restart serves.
    Server(fresh.folder).stop()
    fresh.start()
    assert fresh.served() == ("3.0", ["1.0", "3.0"])
    reply = requests.post(fresh.url, data=photo, timeout=60)
    assert reply.json()["caption"] == captions["3.0"]
    assert rollback(fresh.target).default == "1.0"


def test_removing_the_old_version(fresh: Site) -> None:
    deploy(fresh.archive("2.0"), fresh.target, keep=False)
    assert fresh.served() == ("2.0", ["2.0"])
    with pytest.raises(ValueError, match="nothing to go back to"):
        rollback(fresh.target)
    assert {path.name for path in fresh.store.iterdir()} == {
        "captioner-2.0.mar",
        RECORD_FILE,
        DEPLOY_LOCK,
        SERVER_LOCK,
    }


def test_an_archive_that_was_packaged_into_the_store(fresh: Site) -> None:
    """It is deployed from there, and a deploy that fails leaves it there."""
    stored = fresh.store / "captioner-2.0.mar"
    content = with_wrong_caption(fresh.archive("2.0"), stored).read_bytes()
    for archive in (stored, fresh.archive("2.0")):  # it fails; another archive has its name
        with pytest.raises((ValueError, DeployFailed), match=r"golden photo|is another archive"):
            deploy(archive, fresh.target)
        assert stored.read_bytes() == content
    stored.write_bytes(fresh.archive("2.0").read_bytes())
    deploy(stored, fresh.target)
    assert fresh.served() == ("2.0", ["1.0", "2.0"])


def test_sigterm_from_the_switch_on(fresh: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server and the record agree, and a restart has all the archives that it needs."""
    interrupted_at = []

    def interrupted(kind: type, name: str) -> None:
        real = getattr(kind, name)

        def call(*arguments: Any) -> None:
            interrupted_at.append(name)
            signal.raise_signal(signal.SIGTERM)
            real(*arguments)

        monkeypatch.setattr(kind, name, call)

    interrupted(Store, "write_record")
    with pytest.raises(KeyboardInterrupt):
        deploy(fresh.archive("2.0"), fresh.target)
    assert interrupted_at == ["write_record"]  # and not by a signal from elsewhere
    assert fresh.served() == ("2.0", ["1.0", "2.0"])
    record = Store(fresh.store).read_record()
    assert record
    assert (record.default, record.previous) == ("2.0", "1.0")

    monkeypatch.undo()
    interrupted(Management, "unregister")
    with pytest.raises(KeyboardInterrupt):
        deploy(fresh.archive("3.0"), fresh.target)
    assert interrupted_at == ["write_record", "unregister"]
    assert fresh.served() == ("3.0", ["1.0", "2.0", "3.0"])  # 1.0 was on its way out
    record = Store(fresh.store).read_record()
    assert record
    assert (record.default, record.previous, set(record.versions)) == ("3.0", "2.0", {"2.0", "3.0"})
    assert {path.name for path in fresh.store.iterdir()} == {
        *("captioner-2.0.mar", "captioner-3.0.mar", RECORD_FILE, DEPLOY_LOCK, SERVER_LOCK)
    }


def damaged(site: Site, folder: Path) -> Path:
    content = bytearray(site.archive("2.0").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "captioner.mar").write_bytes(content)
    return folder / "captioner.mar"


def import_error(site: Site, folder: Path) -> Path:
    return with_handler(site.archive("2.0"), folder / "captioner.mar", "import no_such_module\n")


def wrong_caption(site: Site, folder: Path) -> Path:
    return with_wrong_caption(site.archive("2.0"), folder / "captioner.mar")


# Its module can be imported, as a dry run does, and its worker dies where TorchServe starts it.
DYING_HANDLER = """
import os
from shipped_handler import CaptionerHandler as ShippedHandler

class CaptionerHandler(ShippedHandler):
    def initialize(self, context):
        os._exit(1)
"""


def dying_worker(site: Site, folder: Path) -> Path:
    return with_handler(site.archive("2.0"), folder / "captioner.mar", DYING_HANDLER)


def same_version(site: Site, folder: Path) -> Path:
    return site.store / "captioner-1.0.mar"


def nothing(site: Site, folder: Path) -> Path:
    return folder / "captioner.mar"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (damaged, "is damaged"),
        (import_error, "does not run: ModuleNotFoundError: No module named 'no_such_module'"),
        (wrong_caption, "a golden photo of version 2.0 has the caption"),
        (dying_worker, "version 2.0 was not deployed"),
        (same_version, "version 1.0 is served already"),
        (nothing, "is no file"),
    ],
)
def test_a_deploy_that_fails_changes_nothing(
    site: Site, tmp_path: Path, make: Callable[[Site, Path], Path], message: str
) -> None:
    before, stored = site.served(), site.stored()
    done = run("deploy", make(site, tmp_path), *site.options)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("captioner: ")
    assert message in last
    assert site.served() == before
    assert site.stored() == stored


class SlowServer:
    """A server whose new version goes through these states, one at every look."""

    def __init__(self, *states: str) -> None:
        self.states = [None, *states]  # it is not there before
        self.scaled: list[tuple[str, int]] = []

    def scale(self, version: str, workers: int) -> None:
        self.scaled.append((version, workers))

    def register(self, archive: str, workers: int) -> None:
        pass

    def version(self, version: str) -> ServedVersion | None:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return ServedVersion(version, "captioner-2.0.mar", [state], 0) if state else None


def test_a_worker_that_is_registered_may_not_be_ready_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy_module, "POLL_SECONDS", 0)
    server = SlowServer("UNLOADING", "UNLOADING", "READY")
    deploy_module._load(server, "2.0", "captioner-2.0.mar", 1)
    assert not server.scaled
    monkeypatch.setattr(deploy_module, "READY_SECONDS", 0)
    with pytest.raises(ManagementError, match=r"its workers are \['UNLOADING'\]"):
        deploy_module._load(SlowServer("UNLOADING"), "2.0", "captioner-2.0.mar", 1)


def test_another_digest_is_refused(site: Site) -> None:
    before, stored = site.served(), site.stored()
    with pytest.raises(ValueError, match=f"has sha256 [0-9a-f]+, not {'0' * 64}"):
        deploy(site.archive("2.0"), site.target, sha256="0" * 64)
    assert (site.served(), site.stored()) == (before, stored)


def test_of_two_deploys_at_once_the_second_is_refused(site: Site) -> None:
    with Store(site.store).lock_for_deploy():
        done = run("deploy", site.archive("2.0"), *site.options)
        assert done.returncode == 1
        assert "another deploy or rollback is at work" in done.stderr
        with pytest.raises(ValueError, match="another deploy or rollback"):
            rollback(site.target)


def test_a_full_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before, stored = site.served(), site.stored()

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store_module, "write_whole", full)
    with pytest.raises(DeployFailed, match=r"No space left on device; version 1\.0 serves on"):
        deploy(site.archive("2.0"), site.target)
    assert (site.served(), site.stored()) == (before, stored)


@pytest.mark.parametrize("moment", ["register", "set_default"])
def test_management_that_goes_away_half_way(
    site: Site, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be undone then; the default is the version before all the same."""
    before, stored = site.served(), site.stored()
    call, request = getattr(Management, moment), Connection.request
    nobody = f"http://127.0.0.1:{Ports.find_free().inference}"

    def ask_nobody(self: Connection, *arguments: Any, **options: Any) -> requests.Response:
        self.url = nobody
        return request(self, *arguments, **options)

    with monkeypatch.context() as patch:

        def call_after_it_went(self: Management, *arguments: object) -> None:
            patch.setattr(Connection, "request", ask_nobody)
            call(self, *arguments)

        patch.setattr(Management, moment, call_after_it_went)
        with pytest.raises(DeployFailed, match=r"does not answer .* version 1\.0 serves on"):
            deploy(site.archive("2.0"), site.target)
    assert site.served()[0] == before[0]
    # The new version may be loaded still: that is written down, and the message says what to do.
    left = {name: content for name, content in site.stored().items() if name not in stored}
    assert set(left) <= {UNFINISHED_FILE, "captioner-2.0.mar"}
    assert "captioner undeploy 2.0 removes it" in versions_table(site.target)
    undeploy("2.0", site.target)
    assert (site.served(), site.stored()) == (before, stored)


def test_a_store_that_is_not_the_servers(site: Site, tmp_path: Path) -> None:
    elsewhere = ServerTarget(site.inference, site.management, tmp_path)
    with pytest.raises(ValueError, match=r"is no file.*name that with --model-store"):
        deploy(site.archive("2.0"), elsewhere)
    with pytest.raises(ValueError, match="is no folder"):
        deploy(site.archive("2.0"), ServerTarget(model_store=tmp_path / "none"))


def test_golden_photos_are_captioned_as_they_are_served(site: Site) -> None:
    archive = Archive.open(site.archive("2.0"))
    captioner = Captioner.load(site.checkpoints["2.0"])
    decoding = DecodingOptions(**archive.settings["handler"]["decoding"])
    found = captioner.caption([golden.photo for golden in archive.golden], decoding)
    assert [captions[0].text for captions in found] == [g.caption for g in archive.golden]
    assert 1 <= len(archive.golden) <= 4
