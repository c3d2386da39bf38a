from __future__ import annotations

from typing import Any

import pytest

from model.config import ModelConfig


def test_round_trip_through_a_dictionary() -> None:
    notices = ("shapes: for research.", 'photos: ask "Ann".')
    config = ModelConfig(100, encoder="timm/tf_efficientnet_lite0", notices=notices)
    assert ModelConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "vgg16"}, "encoder is 'vgg16'"),
        ({"encoder": "timm/"}, "encoder is 'timm/'"),
        ({"vocabulary_size": 4}, "vocabulary_size is 4"),
        ({"hidden_size": 1.5}, "hidden_size is 1.5"),
        ({"encoded_size": 0}, "encoded_size is 0"),
        ({"image_size": True}, "image_size is True"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"image_mean": [0.5, 0.5]}, "image_mean is"),
        ({"image_std": [0.5, 0.5, 0]}, "image_std is"),
        ({"notices": "for research"}, "notices is 'for research'; it must be a list of lines"),
        ({"notices": ["for research", 3]}, r"notices is \['for research', 3\]"),
        ({"notices": ["for\nresearch"]}, "must be a list of lines of text"),
        ({"notices": ["\x1b[2J"]}, "must be a list of lines of text"),
        ({"notices": [" "]}, "must be a list of lines of text"),
        ({"notices": None}, "notices is None"),
        ({"beams": 3}, "unknown: beams"),
    ],
)
def test_values_out_of_range_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_dict(ModelConfig(100).to_dict() | change)


def test_names_missing_fields() -> None:
    values = ModelConfig(100).to_dict()
    del values["encoder"], values["dropout"]
    with pytest.raises(ValueError, match="missing: dropout, encoder"):
        ModelConfig.from_dict(values)
