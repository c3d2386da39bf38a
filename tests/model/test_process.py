from __future__ import annotations

import ctypes
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from captioner.paths import ROOT
from model import Captioner
from model.process import ignore_pillow_warnings, set_up_process


def test_warnings_of_pillow_are_ignored_and_no_others() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ignore_pillow_warnings()
        warnings.warn_explicit("corrupt EXIF data", UserWarning, "file", 1, "PIL.TiffImagePlugin")
        with pytest.raises(UserWarning):
            warnings.warn_explicit("something else", UserWarning, "file", 1, "torch.nn")


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with warnings.catch_warnings():
        set_up_process()


def test_loading_a_captioner_sets_nothing_of_the_process(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: object) -> None:
        raise AssertionError("the allocator was set")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    before = list(warnings.filters)
    Captioner.load(tiny_checkpoint)
    assert list(warnings.filters) == before


def test_importing_the_model_adds_no_warning_filter() -> None:
    """Filters that torch and Pillow add on their own account do not count."""
    code = (
        "import warnings, torch, PIL.Image; before = list(warnings.filters);"
        " import model.captioner, model.checkpoint, model.image;"
        " assert warnings.filters == before, warnings.filters"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
