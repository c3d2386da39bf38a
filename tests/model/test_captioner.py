from __future__ import annotations

import itertools
import math
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model import Captioner, DecodingOptions, InvalidImage, captioner, checkpoint, image
from model.captioner import Timings
from model.inference.devices import choose_precision
from model.network import ShowAttendTell
from model.word_map import WordMap

SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints" / "flickr8k"


def test_load_and_caption(
    tmp_path: Path, network: ShowAttendTell, word_map: WordMap, render, monkeypatch
) -> None:
    checkpoint.save(tmp_path / "tiny", network, word_map, "")

    def no_network(*arguments: object) -> None:
        raise AssertionError("loading a checkpoint touched the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    loaded = Captioner.load(tmp_path / "tiny", device="cpu")
    photos = [render("red"), render("blue", "square", (64, 200), "PNG")]
    options = DecodingOptions(4, 3, length_penalty=0.0, consensus=False)  # by log-probability
    for captions in loaded.caption(photos, options):
        assert 1 <= len(captions) <= 3
        assert [c.log_prob for c in captions] == sorted(
            (c.log_prob for c in captions), reverse=True
        )
        for caption in captions:
            assert caption.text == " ".join(caption.words)
            assert len(caption.word_log_probs) == len(caption.words)
            assert sum(caption.word_log_probs) >= caption.log_prob
            assert caption.attention.shape == (len(caption.words), 3, 3)
            torch.testing.assert_close(
                caption.attention.sum(dim=(1, 2)), torch.ones(len(caption.words))
            )


def test_any_number_of_photos_in_order(
    network: ShowAttendTell, word_map: WordMap, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioner, "BATCH_SIZE", 3)
    network.double()
    facade = Captioner(network, word_map)
    photos = [render(color) for color in ("red", "blue", "green", "yellow", "white", "grey", "red")]
    together = facade.caption(photos)
    assert [c[0].text for c in together] == [facade.caption([p])[0][0].text for p in photos]
    assert together[0][0].text == together[6][0].text
    assert facade.caption([]) == []


def test_a_bad_image_is_named(network: ShowAttendTell, word_map: WordMap, render) -> None:
    facade = Captioner(network, word_map)
    good = render("red")
    with pytest.raises(InvalidImage, match="image 1: not an image"):
        facade.caption([good, b"not one", b""])


def test_a_bad_image_leaves_its_neighbours_alone(
    network: ShowAttendTell, word_map: WordMap, render
) -> None:
    facade = Captioner(network, word_map)
    red, blue = render("red"), render("blue")
    found = facade.caption_each([b"", red, b"x", blue])
    assert [isinstance(f, InvalidImage) for f in found] == [True, False, True, False]
    assert [found[1][0].text, found[3][0].text] == [c[0].text for c in facade.caption([red, blue])]
    assert all(isinstance(f, InvalidImage) for f in facade.caption_each([b"", b"x"]))


def test_a_stream_holds_few_images_and_keeps_their_batches(
    network: ShowAttendTell, word_map: WordMap, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioner, "BATCH_SIZE", 3)
    facade = Captioner(network.double(), word_map)
    kinds = [render("red"), InvalidImage("it could not be read"), b"not one", render("blue")]
    taken: list[int] = []

    def endless() -> Iterator[bytes | InvalidImage]:
        for i in itertools.count():
            taken.append(i)
            yield kinds[i % 4]

    found = list(itertools.islice(facade.caption_stream(endless()), 12))
    assert len(taken) <= 12 + 3
    wanted = facade.caption_each([b"" if isinstance(k, InvalidImage) else k for k in kinds * 3])
    for got, each in zip(found, wanted, strict=True):
        assert isinstance(got, InvalidImage) == isinstance(each, InvalidImage)
        if isinstance(got, list):
            assert [c.log_prob for c in got] == [c.log_prob for c in each]
    assert str(found[1]) == "it could not be read"
    assert list(facade.caption_stream([])) == []


def test_after_the_deadline_no_photo_is_begun(
    network: ShowAttendTell, word_map: WordMap, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch is always captioned; bad images count as any others."""
    monkeypatch.setattr(captioner, "BATCH_SIZE", 3)
    facade = Captioner(network.double(), word_map)
    photos = [render("red"), b"not one", render("blue"), *[render("green")] * 20]
    decoded: list[bytes] = []
    decode = image.decode
    monkeypatch.setattr(
        image, "decode", lambda data, size: decoded.append(data) or decode(data, size)
    )
    found = facade.caption_each(photos, deadline=0.0)
    assert [isinstance(f, InvalidImage) for f in found] == [False, True, False]
    assert len(decoded) <= 3 + 3 + 1  # those that were decoded meanwhile, at most
    assert [c[0].text for c in (found[0], found[2])] == [
        c[0].text for c in facade.caption([photos[0], photos[2]])
    ]
    assert len(facade.caption_each(photos, deadline=math.inf)) == len(photos)


def test_each_photo_has_its_own_options(
    network: ShowAttendTell, word_map: WordMap, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioner, "BATCH_SIZE", 4)
    facade = Captioner(network.double(), word_map)
    photos = [render(color) for color in ("red", "blue", "green", "yellow", "white", "grey")]
    photos.insert(2, b"not one")
    options = [DecodingOptions(k, n) for k, n in ((1, 1), (5, 3), (9, 1), (5, 3), (2, 2), (1, 1))]
    options.insert(2, DecodingOptions(7))
    timings = Timings()
    together = facade.caption_each(photos, options, timings)
    assert min(timings.decoding, timings.encoding, timings.search) > 0
    for photo, asked, found in zip(photos, options, together, strict=True):
        (alone,) = facade.caption_each([photo], asked)
        if isinstance(alone, InvalidImage):
            assert str(found) == str(alone)
            continue
        assert [c.text for c in found] == [c.text for c in alone]
        assert [c.log_prob for c in found] == pytest.approx([c.log_prob for c in alone])


def test_a_network_in_training_mode_is_put_into_evaluation_mode(
    network: ShowAttendTell, word_map: WordMap
) -> None:
    Captioner(network.train(), word_map)
    assert not any(module.training for module in network.modules())


def test_a_grid_of_any_type_is_captioned(network: ShowAttendTell, word_map: WordMap) -> None:
    facade = Captioner(network.double(), word_map)
    grid = torch.rand(2, 9, network.encoder.feature_size).half()
    found, wanted = (facade.caption_grid(each) for each in (grid, grid.double()))
    assert [c[0].log_prob for c in found] == [c[0].log_prob for c in wanted]


def test_confidence_follows_the_calibration_of_the_checkpoint(
    tmp_path: Path, tiny_checkpoint: Path, render
) -> None:
    loaded = Captioner.load(tiny_checkpoint)
    calibration = loaded.calibration
    assert calibration is not None
    for caption in loaded.caption([render()], DecodingOptions(3, 3))[0]:
        assert caption.confidence == calibration.confidence(caption.log_prob, len(caption.words))
    loaded.calibration = None
    assert loaded.caption([render()])[0][0].confidence is None


@pytest.mark.parametrize(
    ("precision", "encoder", "decoder"),
    [
        ("float32", torch.float32, torch.float32),
        ("mixed", torch.float32, torch.bfloat16),
        ("bfloat16", torch.bfloat16, torch.bfloat16),
    ],
)
def test_precisions(
    precision: str, encoder: torch.dtype, decoder: torch.dtype, render, device: torch.device
) -> None:
    loaded = Captioner.load(SHIPPED, device, precision)
    dtypes = {p.dtype for p in loaded.network.encoder.backbone.parameters()}
    assert dtypes == {torch.float32, encoder}  # the first layers are always in float32
    grid = loaded.encode(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))
    assert grid.dtype == torch.float32
    assert grid.device.type == device.type
    assert loaded.network.decoder.memory(grid).products.dtype == decoder
    assert loaded.caption([render()])[0][0].text


def test_auto_is_bfloat16_where_it_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for fast, rounded, name in (
        (True, True, "bfloat16"),
        (True, False, "mixed"),
        (False, True, "float32"),
        (False, False, "float32"),
    ):
        monkeypatch.setattr("model.inference.devices.has_bf16", lambda device, fast=fast: fast)
        assert choose_precision("auto", cpu, rounded) == choose_precision(name, cpu)
    with pytest.raises(ValueError, match="precision is 'half'; it must be one of auto, float32"):
        Captioner.load(SHIPPED, precision="half")


def test_warm_up_changes_nothing(network: ShowAttendTell, word_map: WordMap, render) -> None:
    facade = Captioner(network, word_map)
    before = facade.caption([render("red")])[0][0]
    facade.warm_up()
    assert facade.caption([render("red")])[0][0].log_prob == before.log_prob
