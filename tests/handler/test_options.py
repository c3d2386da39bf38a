from __future__ import annotations

from typing import Any

import pytest

from handler.errors import RequestError
from handler.options import RequestOptions, described, from_headers
from model import DecodingOptions


@pytest.mark.parametrize(
    ("asked", "name", "value"),
    [
        ({"beam_size": "5"}, "beam_size", 5),
        ({"beam_size": 10}, "beam_size", 10),
        ({"max_length": "1"}, "max_length", 1),
        ({"length_penalty": "0.7"}, "length_penalty", 0.7),
        ({"length_penalty": 2}, "length_penalty", 2.0),
        ({"consensus": "false"}, "consensus", False),
        ({"return_tokens": "TRUE"}, "return_tokens", True),
        ({"return_tokens": "0"}, "return_tokens", False),
        ({"return_image": True}, "return_image", True),
        ({"num_captions": 3}, "num_captions", 3),
    ],
)
def test_reads(asked: dict[str, Any], name: str, value: object) -> None:
    found = getattr(RequestOptions().changed(asked), name)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"beam_size": "11"}, r"beam_size is '11'; it must be a whole number in 1\.\.10"),
        ({"beam_size": 0}, r"beam_size is 0; .* 1\.\.10"),
        ({"beam_size": 2.0}, r"beam_size is 2\.0; .* whole number"),
        ({"beam_size": True}, "beam_size is True"),
        ({"beam_size": None}, "beam_size is None"),
        ({"beam_size": "5.0"}, r"beam_size is '5\.0'"),
        ({"max_length": 51}, r"max_length is 51; .* 1\.\.50"),
        ({"length_penalty": "nan"}, r"length_penalty is 'nan'; it must be a number in 0\.\.2"),
        ({"length_penalty": -0.1}, "length_penalty is -0.1"),
        ({"length_penalty": "inf"}, "length_penalty is 'inf'"),
        ({"consensus": "maybe"}, "consensus is 'maybe'; it must be true or false"),
        ({"return_tokens": "yes"}, "return_tokens is 'yes'; it must be true or false"),
        ({"return_tokens": 1}, "return_tokens is 1; it must be true or false"),
        ({"num_captions": 6, "beam_size": 5}, r"num_captions is 6; .* 1\.\.beam_size, 5"),
        ({"num_captions": 4, "beam_size": 2}, "beam_size, 2"),
        ({"beams": 4}, r"there is no option 'beams'; there are beam_size, .*return_image"),
        ({"beam_size": "9" * 5000}, r"beam_size is '9+\.\.\.; it must"),
        ({"beam_size": [1] * 5000}, r"beam_size is \[1.*\.\.\.; it must"),
    ],
)
def test_says_what_is_allowed(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as raised:
        RequestOptions().changed(asked)
    assert (raised.value.status, raised.value.code) == (400, "invalid_option")
    assert len(str(raised.value)) < 300


def test_a_narrower_beam_gives_fewer_captions() -> None:
    """Who asks for a width alone does not collide with a default of which nothing is known."""
    defaults = RequestOptions(beam_size=5, num_captions=5)
    assert defaults.changed({"beam_size": 2}).decoding == DecodingOptions(2, 2)


def test_headers_in_any_spelling() -> None:
    headers = {"X-CAPTION-Beam-Size": "4", "x-caption-return-tokens": "1", "Accept": "image/png"}
    assert from_headers(headers) == {"beam_size": "4", "return_tokens": "1"}


def test_what_is_described_is_what_is_accepted() -> None:
    for name, told in described().items():
        if told["type"] == "boolean":
            values: list[Any] = [True, False]
            wrong: list[Any] = [2, "maybe"]
        else:
            most = RequestOptions().beam_size if name == "num_captions" else told["maximum"]
            values, wrong = [told["minimum"], most], [told["minimum"] - 1, most + 1, "many"]
        for value in values:
            assert getattr(RequestOptions().changed({name: value}), name) == value
        for value in wrong:
            with pytest.raises(RequestError, match=name):
                RequestOptions().changed({name: value})
