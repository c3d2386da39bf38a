"""Users, passwords and tokens are in nothing that is printed, logged, raised or shown by repr."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
import sys
import traceback
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from captioner.cli.main import main
from captioner.client import AsyncCaptionClient, CaptionClient, retries
from captioner.operations.health import wait_until_ready
from captioner.operations.keys import Keys
from captioner.operations.management import Management
from captioner.operations.package import package
from captioner.operations.record import RecordedVersion, StoreRecord
from captioner.operations.store import Store
from captioner.operations.target import ServerTarget

ROOT = Path(__file__).resolve().parents[1]
USER, PASSWORD, TOKEN = "us3r-n4me", "p4ss-w0rd", "t0k-3n"
SECRETS = (USER, PASSWORD, TOKEN, b64encode(f"{USER}:{PASSWORD}".encode()).decode())
WHO = f"{USER}:{PASSWORD}"

# Wrong spellings of the address of a server.
MALFORMED = [
    f"http://{WHO}@127.0.0.1:eighty",
    f"http://{WHO}@127.0.0.1:1/?key={PASSWORD}",
    f"http://127.0.0.1:1/?key={PASSWORD}",
    f"http://127.0.0.1:1#{PASSWORD}",
    f"http://{WHO}@",
    f"http://{WHO}",
    f"{WHO}@127.0.0.1:1",
    WHO,
    f"ftp://{WHO}@127.0.0.1:1",
    f"http:/{WHO}@127.0.0.1:1",
    f"http://{WHO} @127.0.0.1 :1",
    f"http://{WHO}@127.0.0.1\n:1",
    *(
        f"http://{USER}{signs}{PASSWORD}@127.0.0.1:1"
        for signs in (":/", ":#", ":?", ":@", "/", "@", "#", "?")
    ),
    *(f"http://{USER}:{PASSWORD}{sign}x@127.0.0.1:1" for sign in "/#?@[%"),
]
# Answers of servers; an echo repeats the request, as debugging servers do.
ANSWERS: dict[str, Callable[[Any], Any]] = {
    "no answer": lambda asked: None,
    "unauthorized": lambda asked: (401, b"<h1>who are you?</h1>"),
    "another page": lambda asked: (200, b"<h1>Welcome</h1>"),
    "echo": lambda asked: (200, asked.headers),
    "refused with an echo": lambda asked: (400, str(asked.headers).encode()),
    "error with an echo": lambda asked: (
        500,
        {"code": 500, "type": "Broken", "message": str(asked.headers)},
    ),
    "password in plain": lambda asked: (401, decoded(asked.headers["authorization"]).encode()),
    "redirected": lambda asked: (302, b"", {"Location": f"http://{WHO}@127.0.0.1:1/"}),
    "redirected to nowhere": lambda asked: (302, b"", {"Location": f"http://{WHO}@x:port"}),
    "header that is none": lambda asked: (200, b"", {"Content-Encoding": "gzip"}),
}


def decoded(header: str) -> str:
    """Return the answer of a careless proxy that shows the password it refuses."""
    kind, _, sent = header.partition(" ")
    _, _, password = b64decode(sent).decode().partition(":") if kind == "Basic" else ("", "", "")
    return f"no such password: {password}"


JOBS = ("caption", "health", "versions", "rollback", "deploy")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    path = tmp_path_factory.mktemp("archive") / "captioner.mar"
    package(tiny_checkpoint, "1.0", path)
    return path


@pytest.fixture(params=JOBS)
def command(
    request: pytest.FixtureRequest, tmp_path: Path, archive: Path
) -> Callable[[str], list[str]]:
    """Return a function that gives the arguments of a command for an address."""
    photo, key_file, store = tmp_path / "photo.jpg", tmp_path / "key_file.json", tmp_path / "store"
    photo.write_bytes(b"a photo")
    store.mkdir()
    (store / "captioner.mar").write_bytes(archive.read_bytes())
    Store(store).write_record(
        StoreRecord("1.0", versions={"1.0": RecordedVersion("captioner.mar", "")})
    )
    keys = {api: {"key": TOKEN} for api in ("management", "inference")}
    key_file.write_text(json.dumps(keys))

    def arguments(url: str) -> list[str]:
        if request.param == "caption":
            own = ["caption", str(photo), "--server", url]
        else:
            own = [request.param, "--url", url, "--management", url]
        if request.param == "deploy":
            own.append(str(archive))
        if request.param in ("versions", "rollback", "deploy"):
            own += ["--model-store", str(store)]
        # A request has either a password or a token.
        return own if "@" in url else [*own, "--key-file", str(key_file)]

    return arguments


@pytest.fixture(autouse=True)
def _all_is_logged_and_nothing_waited(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retries, "MAX_WAIT_SECONDS", 0)
    caplog.set_level(logging.DEBUG)


@pytest.fixture
def said(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Callable[[list[str]], str]:
    """Return a function that runs a command twice, with ``--debug`` too, and returns all output."""

    def run(arguments: list[str]) -> str:
        seen = []
        try:
            main(arguments)
            main(["--debug", *arguments])
        except SystemExit:
            pass
        except Exception as error:
            seen.append("".join(traceback.format_exception(error)))
        out, err = capsys.readouterr()
        return "\n".join([*seen, out, err, caplog.text])

    return run


def check(seen: str, secrets: Sequence[str] = SECRETS) -> None:
    found = [secret for secret in secrets if secret in seen]
    assert not found, seen


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_address(command, said, url: str) -> None:
    seen = said(command(url))
    # Ambiguous addresses are refused; unambiguous ones are used as they are written.
    assert "it must be like http" in seen or "does not answer" in seen
    # Without an @ the user is taken for a host, and shown.
    check(seen, SECRETS if "@" in url else SECRETS[1:])


@pytest.mark.parametrize("who", [f"{WHO}@", f"{USER}@", ""])
def test_a_server_that_is_not_there(command, said, who: str) -> None:
    with socket.socket() as taken:  # bound, but not listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        seen = said(command(f"http://{who}127.0.0.1:{taken.getsockname()[1]}"))
    assert "does not answer" in seen
    check(seen)


@pytest.mark.parametrize("who", [f"{WHO}@", ""], ids=["password", "token"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_an_unexpected_answer(command, said, scripted, who: str, answer: str) -> None:
    scripted.answer = ANSWERS[answer]
    seen = said(command(scripted.url.replace("//", f"//{who}")))
    assert scripted.asked[0].headers["authorization"].split()[0] == ("Basic" if who else "Bearer")
    check(seen)


def test_a_server_without_tls(command, said, scripted) -> None:
    seen = said(command(scripted.url.replace("http://", f"https://{WHO}@")))
    assert "does not answer" in seen
    check(seen)


@pytest.mark.parametrize(
    "proxy", [f"http://{WHO}/@127.0.0.1:1", f"ftp://{WHO}@127.0.0.1", f"http://{WHO}@127.0.0.1:1"]
)
def test_a_proxy_of_the_environment(
    command, said, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, proxy)
    seen = said(command("http://captioner.invalid"))
    assert "HTTP_PROXY" in seen or "does not answer" in seen
    check(seen)


@pytest.mark.parametrize(
    "arguments",
    [
        ["caption", f"https://{WHO}@captioner.example"],
        ["caption", "photo.jpg", f"--sever=https://{WHO}@captioner.example"],
        ["health", "--wait", f"https://{WHO}@captioner.example"],
        ["versions", f"https://{WHO}@captioner.example"],
        ["explain", f"https://{WHO}@captioner.example", "-o", "x.png"],
        ["package", f"https://{WHO}@captioner.example", "--version", "1"],
        ["deploy", f"https://{WHO}@captioner.example", "--model-store", "."],
        ["bench", f"https://{WHO}@captioner.example"],
        [f"https://{WHO}@captioner.example"],
    ],
)
def test_an_address_in_the_place_of_another_argument(
    arguments: list[str],
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "caption":
        arguments = [*arguments, "--checkpoint", str(tiny_checkpoint)]
    with suppress(SystemExit):
        assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert "captioner.example" in err
    check(out + err)


@pytest.mark.parametrize(
    "content",
    [
        "",
        TOKEN,
        f'{{"management": {{"key": "{TOKEN}"}}, "inference": {{"key": "{TOKEN}"}}',
        f'{{"management": "{TOKEN}", "inference": "{TOKEN}"}}',
        f'{{"management": {{"key": "{TOKEN}"}}, "inference": {{"key": "{TOKEN}\\n"}}}}',
        f'{{"management": {{"key": "{TOKEN}"}}, "inference": {{"key": ["{TOKEN}"]}}}}',
        f'["{TOKEN}"]',
        f"\udcff{TOKEN}",
    ],
)
def test_an_invalid_key_file(content: str, tmp_path: Path, said) -> None:
    path = tmp_path / "key_file.json"
    path.write_text(content, errors="surrogateescape")
    seen = said(["health", "--key-file", str(path)])
    assert "key_file.json" in seen
    check(seen)


@pytest.mark.parametrize("kind", [CaptionClient, AsyncCaptionClient])
@pytest.mark.parametrize("value", [f"Bearer {TOKEN}\n", f"Bearer {TOKEN}\u00e9"])
def test_a_header_that_cannot_be_sent(kind: Any, value: str) -> None:
    with pytest.raises(ValueError, match="the header Authorization has a value") as raised:
        kind(headers={"Authorization": value})
    check("".join(traceback.format_exception(raised.value)))


def test_the_repr_of_objects(scripted) -> None:
    url = scripted.url.replace("//", f"//{WHO}@")
    keys = Keys(TOKEN, TOKEN)
    shown: list[object] = [
        keys,
        ServerTarget(url, url, keys=keys),
        vars(Management(url, "dogs", TOKEN)),
    ]
    for kind in (CaptionClient, AsyncCaptionClient):
        made: Any = kind(url)
        shown += [made, vars(made), made._http.headers]
        made = kind(scripted.url, token=TOKEN)
        shown += [made, vars(made), made._http.headers]
    check(repr(shown))


def failures(url: str) -> Iterator[Exception]:
    """Yield the error that each Python function for requests raises."""

    async def later() -> None:
        async with AsyncCaptionClient(url, retries=0) as asked:
            await asked.caption(b"a photo")

    with CaptionClient(url, retries=0) as asked, Management(url, "captioner") as management:
        for way in (
            lambda: asked.caption(b"a photo"),
            lambda: asked.explanation_picture(b"a photo"),
            lambda: asyncio.run(later()),
            management.versions,
            lambda: management.set_default("1.0"),
            lambda: wait_until_ready(url, url, "captioner", 0),
        ):
            try:
                way()
            except (ValueError, RuntimeError) as error:
                yield error


@pytest.mark.parametrize("answer", ANSWERS)
def test_errors_of_code(scripted, answer: str, caplog: pytest.LogCaptureFixture) -> None:
    scripted.answer = ANSWERS[answer]
    errors = list(failures(scripted.url.replace("//", f"//{WHO}@")))
    assert len(errors) >= 4
    for error in errors:
        check("".join(traceback.format_exception(error)))
        check(repr(error))
    check(caplog.text)


def test_percent_encoded_passwords_are_sent_decoded(scripted) -> None:
    scripted.answer = lambda asked: (200, {"caption": "a dog", "log_prob": -1})
    url = scripted.url.replace("//", "//team:a%2Fb%40c@")
    with CaptionClient(url) as asked:
        asked.caption(b"a photo")
    sent = scripted.asked[0].headers["authorization"]
    assert sent == f"Basic {b64encode(b'team:a/b@c').decode()}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["ready.py", "--predictions"],
        ["ready.py", "--management"],
        ["metrics.py", "--stack", "x", "--state", "x", "--metrics"],
    ],
)
def test_scripts_for_aws(arguments: list[str], tmp_path: Path) -> None:
    script, *options = [*arguments, f"http://{WHO}@127.0.0.1:1"]
    command = [sys.executable, str(ROOT / "deploy" / "aws" / script), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "a URL may hold no password" in done.stderr
    check(done.stdout + done.stderr)
