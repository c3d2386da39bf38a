from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch

from model import Captioner, DecodingOptions, InvalidImage, captioner, checkpoint
from model.network import ShowAttendTell
from model.word_map import WordMap


def test_load_and_caption(
    tmp_path: Path, network: ShowAttendTell, word_map: WordMap, render, monkeypatch
) -> None:
    checkpoint.save(tmp_path / "tiny", network, word_map, "")

    def no_network(*arguments: object) -> None:
        raise AssertionError("loading a checkpoint touched the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    loaded = Captioner.load(tmp_path / "tiny", device="cpu")
    photos = [render("red"), render("blue", "square", (64, 200), "PNG")]
    for captions in loaded.caption(photos, DecodingOptions(beam_size=4, num_captions=3)):
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


def test_warm_up_changes_nothing(network: ShowAttendTell, word_map: WordMap, render) -> None:
    facade = Captioner(network, word_map)
    before = facade.caption([render("red")])[0][0]
    facade.warm_up()
    assert facade.caption([render("red")])[0][0].log_prob == before.log_prob
