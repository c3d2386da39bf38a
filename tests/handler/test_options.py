from __future__ import annotations

import math
from typing import Any

import pytest

from handler.errors import RequestError
from handler.options import RequestOptions, from_headers, option_schemas
from model import DecodingOptions

DEEP: list[Any] = []
for _ in range(900):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("asked", "name", "value"),
    [
        ({"beam_size": "5"}, "beam_size", 5),
        ({"beam_size": 10}, "beam_size", 10),
        ({"beam_size": 10.0}, "beam_size", 10),  # JSON has one type for numbers
        ({"beam_size": " 7\t"}, "beam_size", 7),
        ({"length_penalty": ".7"}, "length_penalty", 0.7),
        ({"length_penalty": "7e-1"}, "length_penalty", 0.7),
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
def test_values_are_read_from_texts_and_json(
    asked: dict[str, Any], name: str, value: object
) -> None:
    found = getattr(RequestOptions().changed(asked), name)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"beam_size": "21"}, r"beam_size is '21'; it must be a whole number in 1\.\.20"),
        ({"beam_size": 0}, r"beam_size is 0; .* 1\.\.20"),
        ({"beam_size": 2.5}, r"beam_size is 2\.5; .* whole number"),
        ({"beam_size": "1_0"}, "beam_size is '1_0'"),
        ({"beam_size": "\uff15"}, "beam_size is '\uff15'"),  # a fullwidth 5
        ({"beam_size": "\u0665"}, "beam_size is '\u0665'"),  # an Arabic one
        ({"beam_size": "\xa05"}, "beam_size is .*5'"),
        ({"beam_size": "+5"}, r"beam_size is '\+5'"),
        ({"beam_size": "0x5"}, "beam_size is '0x5'"),
        ({"beam_size": math.nan}, "beam_size is nan"),
        ({"beam_size": math.inf}, "beam_size is inf"),
        ({"beam_size": 10**4000}, r"beam_size is 10+\.\.\.; it must"),
        ({"beam_size": DEEP}, "beam_size is .*; it must"),
        ({"num_captions": {"beam_size": 1}}, "num_captions is .*; it must"),
        ({"length_penalty": "1_0"}, "length_penalty is '1_0'"),
        ({"length_penalty": "\uff11"}, "length_penalty is '\uff11'"),
        ({"length_penalty": "1e400"}, "length_penalty is '1e400'"),
        ({"length_penalty": 1e400}, "length_penalty is inf"),
        ({"length_penalty": math.nan}, "length_penalty is nan"),
        ({"length_penalty": True}, "length_penalty is True"),
        ({"length_penalty": "0." + "9" * 5000}, r"length_penalty is '0\.9+\.\.\.; it must"),
        ({"consensus": "\uff11"}, "consensus is '\uff11'"),
        ({"consensus": None}, "consensus is None"),
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
def test_the_error_says_what_is_allowed(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as raised:
        RequestOptions().changed(asked)
    assert (raised.value.status, raised.value.code) == (400, "invalid_option")
    assert len(str(raised.value)) < 300


def test_a_narrower_beam_gives_fewer_captions() -> None:
    """A client that asks for few beams need not know the default number of captions."""
    defaults = RequestOptions(beam_size=5, num_captions=5)
    assert defaults.changed({"beam_size": 2}).decoding == DecodingOptions(2, 2)


@pytest.mark.parametrize(
    "places",
    [
        [{"num_captions": "3"}, {"beam_size": "1"}],
        [{"num_captions": "3"}, {"beam_size": 1}],
        [{}, {"num_captions": 3}, {"beam_size": 1}],
        [{"beam_size": "1"}, {"num_captions": 3}],
    ],
)
def test_a_requested_number_of_captions_is_never_lowered(
    places: list[dict[str, Any]],
) -> None:
    with pytest.raises(RequestError, match=r"num_captions is 3; .* 1\.\.beam_size, 1"):
        RequestOptions().changed(*places)
    kept = RequestOptions().changed(*places, {"beam_size": 4})
    assert (kept.num_captions, kept.beam_size) == (3, 4)


def test_an_overridden_value_must_be_valid_too() -> None:
    with pytest.raises(RequestError, match="beam_size is '99'"):
        RequestOptions().changed({"beam_size": "99"}, {"beam_size": 2})


def test_two_spellings_of_a_header_must_agree() -> None:
    same = {"X-Caption-Beam-Size": "4", "x-caption-beam-size": "4"}
    assert from_headers(same) == {"beam_size": "4"}
    with pytest.raises(RequestError, match="'beam_size' twice: '4' and '5'"):
        from_headers({"X-Caption-Beam-Size": "4", "x-caption-beam_size": "5"})


def test_headers_are_read_in_any_spelling() -> None:
    headers = {"X-CAPTION-Beam-Size": "4", "x-caption-return-tokens": "1", "Accept": "image/png"}
    assert from_headers(headers) == {"beam_size": "4", "return_tokens": "1"}


def test_the_values_that_a_schema_allows_are_accepted() -> None:
    for name, schema in option_schemas().items():
        if schema["type"] == "boolean":
            values: list[Any] = [True, False]
            wrong: list[Any] = [2, "maybe"]
        else:
            least, most = schema["minimum"], schema["maximum"]
            if name == "num_captions":
                most = RequestOptions().beam_size
            values, wrong = [least, most], [least - 1, most + 1, "many"]
        for value in values:
            assert getattr(RequestOptions().changed({name: value}), name) == value
        for value in wrong:
            with pytest.raises(RequestError, match=name):
                RequestOptions().changed({name: value})
