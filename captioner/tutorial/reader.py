"""The tensors and settings in a checkpoint of the tutorial, in either format of ``torch.save``.

Tensors are made from `records`, and only those of the encoder and the decoder.
"""

from __future__ import annotations

import io
import math
import os
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch

from captioner.tutorial.records import (
    InvalidTutorialCheckpoint,
    RecordUnpickler,
    Storage,
    attributes,
    entries,
    submodules,
)

# The first two pickles of a file in the format from before zip files.
LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
PARAMETERS = ("_rebuild_parameter", "_rebuild_parameter_with_state", "Parameter")
ADVICE = "give a file that the tutorial's train.py saved"

LoadStorage = Callable[[Storage], bytes]


@dataclass(frozen=True)
class TutorialCheckpoint:
    """The content that is converted; all but the tensors has any type, or is None, as in the file.

    Attributes
    ----------
    encoder, decoder
        Tensors by the names of the tutorial's state dicts, in float32.
    encoded_size
        Rows and columns of the encoder's grid.
    dropout
        Probability, of the decoder.
    epoch, bleu4
        The training's last epoch, and its BLEU-4.
    """

    encoder: dict[str, torch.Tensor]
    decoder: dict[str, torch.Tensor]
    encoded_size: Any
    dropout: Any
    epoch: Any
    bleu4: Any


def read_checkpoint(file: BinaryIO) -> TutorialCheckpoint:
    """Read a checkpoint from a file that can seek, running nothing in it.

    Raises
    ------
    InvalidTutorialCheckpoint
        The file holds something that is not the tutorial's, is damaged, or lacks the encoder or
        the decoder.
    """
    try:
        return _read(file)
    except InvalidTutorialCheckpoint:
        raise
    except Exception as error:  # unpickling damaged bytes raises any exception
        reason = f"{type(error).__name__}: {error}"
        raise InvalidTutorialCheckpoint(
            f"is damaged or was not written by torch.save ({reason}); {ADVICE}"
        ) from error


def _read(file: BinaryIO) -> TutorialCheckpoint:
    beginning = file.read(4)
    file.seek(0)
    saved, load = (_open_zip if beginning == b"PK\x03\x04" else _open_legacy)(file)
    content = entries(saved)
    for part in ("encoder", "decoder"):
        if content.get(part) is None:
            raise InvalidTutorialCheckpoint(f"lacks the {part}; {ADVICE}")
    encoder, decoder = (_without_data_parallel(content[part]) for part in ("encoder", "decoder"))
    return TutorialCheckpoint(
        encoder={name: _tensor(name, record, load) for name, record in _tensor_records(encoder)},
        decoder={name: _tensor(name, record, load) for name, record in _tensor_records(decoder)},
        encoded_size=attributes(encoder).get("enc_image_size"),
        dropout=attributes(submodules(decoder).get("dropout")).get("p"),
        epoch=content.get("epoch"),
        bleu4=content.get("bleu-4"),
    )


def _open_zip(file: BinaryIO) -> tuple[Any, LoadStorage]:
    """Return the saved object, as records, and a function that loads the numbers of a storage."""
    archive = zipfile.ZipFile(file)
    members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    if "constants.pkl" in members:
        raise InvalidTutorialCheckpoint(f"is a TorchScript archive; {ADVICE}")

    def member(name: str) -> bytes:
        if members[name].compress_type != zipfile.ZIP_STORED:  # a small file could fill the memory
            raise InvalidTutorialCheckpoint(
                "is a compressed zip file, which torch.save does not write"
            )
        return archive.read(members[name])

    if "byteorder" in members:
        _check_byte_order(member("byteorder").decode())
    saved = RecordUnpickler(io.BytesIO(member("data.pkl"))).load()
    return saved, lambda storage: member(f"data/{storage.key}")


def _open_legacy(file: BinaryIO) -> tuple[Any, LoadStorage]:
    """Open the format of torch before 1.6: five pickles, then each storage's size and numbers."""
    magic = RecordUnpickler(file).load()
    if magic != LEGACY_MAGIC or RecordUnpickler(file).load() != LEGACY_PROTOCOL:
        raise InvalidTutorialCheckpoint(f"was not written by torch.save; {ADVICE}")
    _check_byte_order("little" if RecordUnpickler(file).load()["little_endian"] else "big")
    unpickler = RecordUnpickler(file)
    saved = unpickler.load()
    positions = {}
    for key in RecordUnpickler(file).load():
        (size,) = struct.unpack("<q", file.read(8))
        storage = unpickler.storages[key]
        if size != storage.size:
            raise InvalidTutorialCheckpoint(
                f"is damaged: storage {key!r} has {size} numbers, not {storage.size}"
            )
        positions[key] = file.tell()
        file.seek(size * storage.dtype.itemsize, os.SEEK_CUR)

    def load(storage: Storage) -> bytes:
        file.seek(positions[storage.key])
        return file.read(storage.size * storage.dtype.itemsize)

    return saved, load


def _check_byte_order(order: str) -> None:
    if order != sys.byteorder:
        raise InvalidTutorialCheckpoint(
            f"has its bytes in {order} order; save it again on a machine like this one"
        )


def _without_data_parallel(part: Any) -> Any:
    return submodules(part).get("module", part)


def _tensor_records(holder: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the tensors' records in a module or a state dict, with their names in a state dict."""
    found = attributes(holder)
    if "_modules" not in found:
        for name, record in entries(holder).items():
            yield prefix + name.removeprefix("module."), record
    for kind in ("_parameters", "_buffers"):
        for name, record in entries(found.get(kind)).items():
            if record is not None:  # such as the bias of a layer that has none
                yield prefix + name, record
    for name, module in submodules(holder).items():
        yield from _tensor_records(module, f"{prefix}{name}.")


def _tensor(name: str, record: Any, load: LoadStorage) -> torch.Tensor:
    """Make the tensor that a record describes; floating point becomes float32."""
    if getattr(record, "name", "").rpartition(".")[2] in PARAMETERS:
        record = record.arguments[0]
    if "._rebuild_tensor" not in getattr(record, "name", ""):
        raise InvalidTutorialCheckpoint(f"has no tensor at {name!r}")
    storage, offset, size, stride = record.arguments[:4]
    flat = torch.frombuffer(bytearray(load(storage)), dtype=storage.dtype)
    if flat.numel() != storage.size or math.prod(size) > storage.size:
        raise InvalidTutorialCheckpoint(f"is damaged: it has too few numbers for {name!r}")
    tensor = flat.as_strided(size, stride, offset)  # refuses to reach outside the storage
    return tensor.float() if tensor.is_floating_point() else tensor
