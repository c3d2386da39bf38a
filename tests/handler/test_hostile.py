"""Hostile files are decoded or refused, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice

import pytest

from captioner.paths import ROOT
from model import image
from model.image import InvalidImage, UnsupportedFormat
from tests.hostile import crafted, hostile_photos, valid_photos

# It runs in a process of its own: a crash is seen, its memory is measured alone, and warnings are
# as a worker has them.
DECODE = """
import collections, json, resource, sys
from model import image
from model.process import set_up_process
from tests.hostile import hostile_photos

set_up_process()

def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # bytes, on Linux

photos = list(hostile_photos(6000, int(sys.argv[1])))
before, outcomes = memory(), collections.Counter()
for place, photo in enumerate(photos):
    try:
        pixels = image.decode(photo, 32)
        assert tuple(pixels.shape) == (3, 32, 32) and str(pixels.dtype) == "torch.uint8"
        outcomes["decoded"] += 1
    except image.InvalidImage as error:
        assert str(error)
        outcomes["refused"] += 1
    except BaseException as error:
        outcomes[f"photo {place}: {error!r}"] += 1
print(json.dumps([memory() - before, outcomes]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
@pytest.mark.parametrize("seed", [1])
def test_decoded_or_refused_without_a_warning_in_bounded_memory(seed: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DECODE, str(seed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    grown, outcomes = json.loads(done.stdout)
    assert outcomes.keys() == {"decoded", "refused"}
    assert sum(outcomes.values()) == 6000
    assert min(outcomes.values()) > 500  # neither all are decoded nor all refused
    assert grown < 2**30


@pytest.mark.parametrize("name", valid_photos())
def test_the_undamaged_files_are_decoded(name: str) -> None:
    assert image.decode(valid_photos()[name], 32).shape == (3, 32, 32)


@pytest.mark.parametrize("name", valid_photos())
def test_a_file_cut_anywhere_is_decoded_or_invalid(name: str) -> None:
    data = valid_photos()[name]
    for end in range(0, len(data), max(1, len(data) // 50)):
        try:
            image.decode(data[:end], 8)
        except UnsupportedFormat as error:
            pytest.fail(f"the first {end} bytes: {error}")
        except InvalidImage:
            pass


@pytest.mark.parametrize("name", crafted())
def test_a_crafted_file_is_described_or_refused(name: str) -> None:
    try:
        info = image.describe(crafted()[name])
    except InvalidImage:
        return
    assert info.format in image.accepted()
    assert 1 <= info.width * info.height <= image.MAX_PIXELS


def test_a_seed_gives_the_same_files() -> None:
    first, again, other = (list(hostile_photos(400, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first[:100] == other[:100]
    assert list(islice(hostile_photos(10, 1), 20)) == first[:10]
