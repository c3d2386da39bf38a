"""EfficientNet-Lite against timm's, for which the published weights were made."""

from __future__ import annotations

import pytest
import timm
import torch

from model.inference.efficientnet_lite import VARIANTS, EfficientNetLite


@pytest.fixture(params=VARIANTS)
def both(request: pytest.FixtureRequest) -> tuple[EfficientNetLite, torch.nn.Module]:
    torch.manual_seed(0)
    theirs = timm.create_model(request.param, num_classes=0, global_pool="").double()
    return EfficientNetLite(request.param).double(), theirs


def test_parameters_have_timms_names_and_spread(
    both: tuple[EfficientNetLite, torch.nn.Module],
) -> None:
    ours, theirs = (network.state_dict() for network in both)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].shape == tensor.shape
        if tensor.numel() > 1000:
            torch.testing.assert_close(ours[name].std(), tensor.std(), rtol=0.1, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_features_equal_timms(
    both: tuple[EfficientNetLite, torch.nn.Module], training: bool
) -> None:
    """Sides that are no multiples of 32 are padded in the same way too."""
    ours, theirs = (network.train(training) for network in both)
    ours.load_state_dict(theirs.state_dict())
    photos = torch.randn(2, 3, 65, 90, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(photos), theirs.forward_features(photos))
    for name, tensor in theirs.state_dict().items():  # statistics of a BatchNorm that trains
        torch.testing.assert_close(ours.state_dict()[name], tensor)


def test_fine_tunes_what_timm_groups(both: tuple[EfficientNetLite, torch.nn.Module]) -> None:
    ours, theirs = both
    groups = timm.models.group_parameters(theirs, theirs.group_matcher(coarse=True))
    upper = {name for group in sorted(groups)[3:] for name in groups[group]}
    assert ours.upper() == upper
