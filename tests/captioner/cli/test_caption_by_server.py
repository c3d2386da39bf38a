"""``captioner caption --server``, against a scripted server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from captioner.cli.main import main
from captioner.client import retries
from model import DecodingOptions

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "MAX_WAIT_SECONDS", 0)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.jpg" for name in ("dog", "cat", "cow", "hen", "pig")]
    for path in paths:
        path.write_bytes(path.stem.encode())
    return paths


def caption_by_content(asked: Any) -> tuple[int, Any]:
    text = asked.body.decode()
    others = [{"caption": f"no {text}", "log_prob": -2.0, "confidence": 0.25}]
    figures = {"log_prob": -1.256, "confidence": 0.714}
    return 200, {"caption": f"a {text}", "alternatives": others, **figures}


def test_output_and_request_have_all_options(
    scripted, photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.answer = caption_by_content
    options = ["--num-captions", "2", "--beam-size", "5", "--length-penalty", "0.5", "--verbose"]
    assert main(["caption", *map(str, photos), "--server", scripted.url, *options]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        line
        for path in photos
        for line in (
            f"{path}: a {path.stem} (confidence 0.71, log-probability -1.26)",
            f"{path}: no {path.stem} (confidence 0.25, log-probability -2.00)",
        )
    ]
    for asked in scripted.asked:
        sent = {name: text for name, text in asked.headers.items() if name.startswith("x-caption")}
        assert sent == {
            "x-caption-num-captions": "2",
            "x-caption-beam-size": "5",
            "x-caption-length-penalty": "0.5",
            "x-caption-max-length": str(DecodingOptions().max_length),
            "x-caption-consensus": "true",
        }


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((400, {"error": {"code": "invalid_image", "message": "no image"}}), "no image"),
        ((415, {"error": {"code": "unsupported_media_type", "message": "a PDF"}}), "a PDF"),
        ((413, {"code": 413, "type": "TooLarge", "message": "too large"}), "too large"),
        ((507, {"code": 507, "type": "OutOfMemory", "message": "worker died"}), "worker died"),
        (None, "No such file or directory"),
    ],
)
def test_an_error_of_one_photo_does_not_stop_the_others(
    scripted,
    photos: list[Path],
    answer: Any,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted.answer = lambda asked: answer if asked.body == b"cat" else caption_by_content(asked)
    if answer is None:
        photos[1].unlink()
    assert main(["caption", *map(str, photos), "--server", scripted.url]) == 1
    out, err = capsys.readouterr()
    assert [line.split(": ")[0] for line in out.splitlines()] == [
        str(path) for path in photos if path.stem != "cat"
    ]
    assert err.splitlines() == [
        f"captioner: {photos[1]}: {message}",
        "captioner: 1 of 5 photos could not be captioned",
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            (400, {"error": {"code": "invalid_option", "message": "beam_size is 99"}}),
            "captioner: beam_size is 99 (400)",
        ),
        (
            (404, {"code": 404, "type": "NotFound", "message": "no model"}),
            "captioner: no model (404)",
        ),
        (
            (503, {"code": 503, "type": "Busy", "message": "queue full"}),
            "captioner: queue full (503)",
        ),
        (None, "captioner: http://127.0.0.1"),
    ],
)
def test_an_error_of_all_photos_ends_the_command(
    scripted,
    photos: list[Path],
    answer: Any,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted.answer = lambda asked: answer
    assert main(["caption", *map(str, photos), "--server", scripted.url]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(message)


@pytest.mark.parametrize("option", ["--device", "--precision"])
def test_device_and_precision_are_for_the_server_to_choose(
    scripted, photos: list[Path], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["caption", str(photos[0]), "--server", scripted.url, option, "cpu"]
    assert main(arguments) == 1
    assert capsys.readouterr().err == (
        f"captioner: {option} is the server's to choose; leave it out with --server\n"
    )
    assert not scripted.asked


def test_checkpoint_and_server_exclude_one_another(
    photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["caption", str(photos[0]), "--server", "http://x", "--checkpoint", "y"])
    assert exit.value.code == 2
    assert "--checkpoint: not allowed with argument --server" in capsys.readouterr().err


def test_captioning_by_a_server_needs_no_torch(scripted, photos: list[Path]) -> None:
    scripted.answer = caption_by_content
    code = (
        "import sys; from captioner.cli.main import main;"
        f" main(['caption', {str(photos[0])!r}, '--server', {scripted.url!r}]);"
        " sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
