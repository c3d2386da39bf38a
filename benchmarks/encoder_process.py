"""The program that encodes photos by one engine, in a process of its own.

    python -m benchmarks.encoder_process ENGINE CHECKPOINT PHOTOS GRIDS

PHOTOS holds decoded photos, uint8, shape = (B, 3, H, W), as numpy saves them. The program encodes
the first and prints a line. For each line that it reads, ``batch`` or ``alone``, it encodes all
photos together or one by one, and prints the seconds. At the end of its input it saves the grids in
GRIDS and prints its peak memory in MB.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.child_process import peak_megabytes
from model import checkpoint
from model.encoder import Encoder, feature_map
from model.inference.lanes import Lanes
from model.inference.prepared import prepare_encoder

Encode = Callable[[torch.Tensor], torch.Tensor]  # photos (B, 3, H, W) to grids (B, P, D)
COMPILED_BATCH = 4  # of torch.compile, which compiles for each number of photos anew


@dataclass(frozen=True)
class Engine:
    """A way to compute an encoder on a CPU.

    Parameters
    ----------
    build
        From an encoder as it was trained, in evaluation mode, to a function that encodes.
    baseline
        The engine that its speed is compared with, by its name.
    packages
        What has to be installed beside the captioner's own requirements.
    quick
        Whether it starts within seconds.
    """

    build: Callable[[Encoder], Encode]
    baseline: str
    packages: tuple[str, ...] = ()
    quick: bool = True


def _prepared(encoder: Encoder, dtype: torch.dtype) -> Encode:
    """Encode in lanes, as `model.Captioner` does."""
    prepared, lanes = prepare_encoder(encoder, dtype), Lanes(torch.device("cpu"))

    @torch.inference_mode()
    def encode_part(photos: list[torch.Tensor], *_: object) -> torch.Tensor:
        return prepared.in_micro_batches(torch.stack(photos))

    return lambda photos: torch.cat(lanes.run(encode_part, list(photos), list(photos)))


def _trained(encoder: Encoder) -> Encode:
    return encoder.in_micro_batches


def _compiled(encoder: Encoder) -> Encode:
    encoder.backbone = torch.compile(encoder.backbone, dynamic=False)  # type: ignore[assignment]
    return partial(encoder.in_micro_batches, size=COMPILED_BATCH)


def _onnxruntime(encoder: Encoder) -> Encode:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    with _exported(encoder) as file:
        session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    encoder.backbone = _Backbone(lambda photos: session.run(None, {"photos": photos})[0])
    return encoder.in_micro_batches


def _openvino(encoder: Encoder, precision: str) -> Encode:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # it reports to Google
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_HYPER_THREADING": True,  # otherwise it may take fewer threads
        "NUM_STREAMS": 1,
    }
    core = openvino.Core()
    with _exported(encoder) as file:
        request = core.compile_model(file, "CPU", settings).create_infer_request()
    encoder.backbone = _Backbone(lambda photos: request.infer([photos]).to_tuple()[0])
    return encoder.in_micro_batches


@contextmanager
def _exported(encoder: Encoder) -> Iterator[str]:
    """Yield the file of the backbone in ONNX's form, for any number of photos."""
    photos = torch.zeros(2, 3, encoder.image_size, encoder.image_size)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how torch exports in the future
        torch.onnx.export(
            _FeatureMap(encoder.backbone),
            (photos,),
            file := f"{folder}/encoder.onnx",
            dynamo=False,
            input_names=["photos"],
            dynamic_axes={"photos": {0: "batch"}},
        )
        yield file


class _FeatureMap(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        return feature_map(self.backbone, photos)


class _Backbone(nn.Module):
    """A backbone that a function computes, on float32 arrays."""

    def __init__(self, compute: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        super().__init__()
        self._compute = compute
        self.dtype = nn.Parameter(torch.empty(0), requires_grad=False)  # of its photos

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._compute(photos.numpy()))


OPENVINO = ("openvino", "onnx")
OURS, OURS_BF16 = "torch, prepared, float32", "torch, prepared, bfloat16"
ENGINES = {
    OURS: Engine(partial(_prepared, dtype=torch.float32), OURS),
    "OpenVINO, float32": Engine(partial(_openvino, precision="f32"), OURS, OPENVINO),
    "ONNX Runtime, float32": Engine(_onnxruntime, OURS, ("onnxruntime", "onnx")),
    "torch.compile, float32": Engine(_compiled, OURS, quick=False),
    "torch, as trained, float32": Engine(_trained, OURS),
    OURS_BF16: Engine(partial(_prepared, dtype=torch.bfloat16), OURS_BF16),
    "OpenVINO, bfloat16": Engine(partial(_openvino, precision="bf16"), OURS_BF16, OPENVINO),
}


@torch.inference_mode()
def main(name: str, folder: str, photos_file: str, grids_file: str) -> None:
    """Run the program."""
    photos = torch.from_numpy(np.load(photos_file))
    network, _ = checkpoint.load(folder)
    encode = ENGINES[name].build(network.encoder.eval())
    del network
    encode(photos[:1])
    print("ready", flush=True)
    grids = encode(photos)
    for line in sys.stdin:
        together = len(photos) if line.strip() == "batch" else 1
        start = time.perf_counter()
        for first in range(0, len(photos), together):
            encode(photos[first : first + together])
        print(time.perf_counter() - start, flush=True)
    np.save(Path(grids_file), grids.numpy())
    print(peak_megabytes(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
