"""Reads a checkpoint of the PyTorch image-captioning tutorial and runs nothing that is in it.

The tutorial saves whole modules as pickles, and a pickle may call whatever it names. So
``torch.load`` is not used: here every name in the file stands for an inert `Record`, nothing it
names is imported or called, and what is no part of such a checkpoint is refused. Tensors are made
afterwards, those of the encoder and the decoder alone.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import torch

# All of these become records, so the patterns can afford to be wide.
KNOWN = re.compile(
    r"(\w+\.)+(Encoder|DecoderWithAttention|Attention)"  # the tutorial's, whatever their file
    r"|torch\.nn\.(modules|parallel)\.\w+\.\w+|torchvision\.models\.resnet\.\w+"
    r"|torch\.optim\.\w+\.\w+|torch\.nn\.backends\.thnn\._get_thnn_function_backend"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|parameter|parameter_with_state)"
    r"|torch\.nn\.parameter\.Parameter|torch\.(cuda\.)?\w+Storage"
    r"|collections\.(OrderedDict|defaultdict)|(builtins|__builtin__)\.(dict|set|object)"
    r"|(copyreg|copy_reg)\._reconstructor"
    r"|numpy\.(core|_core)\.multiarray\.scalar|numpy\.dtype|_codecs\.encode"  # of BLEU-4
)
PARAMETERS = ("_rebuild_parameter", "_rebuild_parameter_with_state", "Parameter")
DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
}
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # how torch.save began before it wrote zip files
WANTED = "give a file that the tutorial's train.py saved"


class Fault(ValueError):
    """What is wrong with the file: the rest of a sentence that begins with its name."""


@dataclass(frozen=True)
class TutorialCheckpoint:
    """What there is to convert. All but the tensors is as the file has it: of any type, or None."""

    encoder: dict[str, torch.Tensor]  # by the names of the tutorial's state dict, in float32
    decoder: dict[str, torch.Tensor]
    encoded_size: Any
    dropout: Any
    epoch: Any
    bleu4: Any


class Storage(NamedTuple):
    """Where the numbers of a tensor are; immutable, for a pickle can set attributes."""

    key: str
    dtype: torch.dtype
    size: int  # numbers, not bytes


Read = Callable[[Storage], bytes]


class Record:
    """What a pickle says of an object, in the place of the object; does nothing with it."""

    name = ""  # what the pickle calls the class or the function
    arguments: tuple[Any, ...]
    entries: dict[Any, Any]
    state: Any

    def __new__(cls, *arguments: Any) -> Record:
        record = super().__new__(cls)
        record.arguments, record.entries, record.state = arguments, {}, None
        return record

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Unpickler(pickle.Unpickler):
    """Makes records of the names it knows and refuses all others."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> type[Record]:
        path = f"{module}.{name}"
        if not KNOWN.fullmatch(path):
            # A terminal would obey control characters.
            shown = path[:100].encode("unicode_escape").decode()
            raise Fault(
                f"holds an object of class {shown}, which is not one of the tutorial's; it was not"
                " loaded. If the file is your own, save encoder.state_dict() and"
                " decoder.state_dict() in place of the modules"
            )
        return type("Record", (Record,), {"name": path})

    def persistent_load(self, saved: Any) -> Any:
        kind, what, *rest = saved
        if kind == "module":  # before zip files: a class with its source, which is not looked at
            return what
        key, _device, size, *view = rest
        dtype = DTYPES.get(what.name.rpartition(".")[2])
        if kind != "storage" or dtype is None or view not in ([], [None]):
            raise Fault(f"holds numbers in a {what.name}, which the tutorial's never do")
        return self.storages.setdefault(key, Storage(key, dtype, size))


def read(file: BinaryIO) -> TutorialCheckpoint:
    """From a file that can seek, in either format of ``torch.save``.

    Raises
    ------
    Fault
        It holds what is not the tutorial's, is damaged, or lacks the encoder or the decoder.
    """
    try:
        return _read(file)
    except Fault:
        raise
    except Exception as error:  # damaged pickles raise anything at all
        told = f"{type(error).__name__}: {error}"
        raise Fault(f"is damaged or was not written by torch.save ({told}); {WANTED}") from error


def _read(file: BinaryIO) -> TutorialCheckpoint:
    begins = file.read(4)
    file.seek(0)
    saved, load = (_open_zip if begins == b"PK\x03\x04" else _open_legacy)(file)
    content = _entries(saved)
    for part in ("encoder", "decoder"):
        if content.get(part) is None:
            raise Fault(f"lacks the {part}; {WANTED}")
    encoder, decoder = (_without_data_parallel(content[part]) for part in ("encoder", "decoder"))
    return TutorialCheckpoint(
        encoder={name: _tensor(name, record, load) for name, record in _named(encoder)},
        decoder={name: _tensor(name, record, load) for name, record in _named(decoder)},
        encoded_size=_attributes(encoder).get("enc_image_size"),
        dropout=_attributes(_modules(decoder).get("dropout")).get("p"),
        epoch=content.get("epoch"),
        bleu4=content.get("bleu-4"),
    )


def _open_zip(file: BinaryIO) -> tuple[Any, Read]:
    archive = zipfile.ZipFile(file)
    members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    if "constants.pkl" in members:
        raise Fault(f"is a TorchScript archive; {WANTED}")

    def member(name: str) -> bytes:
        if members[name].compress_type != zipfile.ZIP_STORED:  # a small file could fill the memory
            raise Fault("is a compressed zip file, which torch.save does not write")
        return archive.read(members[name])

    if "byteorder" in members:
        _check_byte_order(member("byteorder").decode())
    saved = Unpickler(io.BytesIO(member("data.pkl"))).load()
    return saved, lambda storage: member(f"data/{storage.key}")


def _open_legacy(file: BinaryIO) -> tuple[Any, Read]:
    """As torch before 1.6 wrote it: five pickles, then of each storage its size and numbers."""
    if Unpickler(file).load() != MAGIC or Unpickler(file).load() != PROTOCOL:
        raise Fault(f"was not written by torch.save; {WANTED}")
    _check_byte_order("little" if Unpickler(file).load()["little_endian"] else "big")
    unpickler = Unpickler(file)
    saved = unpickler.load()
    places = {}
    for key in Unpickler(file).load():
        (size,) = struct.unpack("<q", file.read(8))
        storage = unpickler.storages[key]
        if size != storage.size:
            raise Fault(f"is damaged: storage {key!r} has {size} numbers, not {storage.size}")
        places[key] = file.tell()
        file.seek(size * storage.dtype.itemsize, os.SEEK_CUR)

    def load(storage: Storage) -> bytes:
        file.seek(places[storage.key])
        return file.read(storage.size * storage.dtype.itemsize)

    return saved, load


def _check_byte_order(order: str) -> None:
    if order != sys.byteorder:
        raise Fault(f"has its bytes in {order} order; save it again on a machine like this one")


def _entries(holder: Any) -> dict[Any, Any]:
    """Of a dict or of an ``OrderedDict``'s record."""
    entries: dict[Any, Any] = holder if type(holder) is dict else getattr(holder, "entries", {})
    return entries


def _attributes(record: Any) -> dict[Any, Any]:
    state = getattr(record, "state", None)
    return state if type(state) is dict else {}


def _modules(record: Any) -> dict[Any, Any]:
    return _entries(_attributes(record).get("_modules"))


def _without_data_parallel(part: Any) -> Any:
    return _modules(part).get("module", part)


def _named(holder: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors' records of a module, as its state dict would name them, or of a state dict."""
    attributes = _attributes(holder)
    if "_modules" not in attributes:
        for name, record in _entries(holder).items():
            yield prefix + name.removeprefix("module."), record
    for kind in ("_parameters", "_buffers"):
        for name, record in _entries(attributes.get(kind)).items():
            if record is not None:  # such as the bias of a layer without
                yield prefix + name, record
    for name, module in _modules(holder).items():
        yield from _named(module, f"{prefix}{name}.")


def _tensor(name: str, record: Any, load: Read) -> torch.Tensor:
    if getattr(record, "name", "").rpartition(".")[2] in PARAMETERS:
        record = record.arguments[0]
    if "._rebuild_tensor" not in getattr(record, "name", ""):
        raise Fault(f"has no tensor at {name!r}")
    storage, offset, size, stride = record.arguments[:4]
    flat = torch.frombuffer(bytearray(load(storage)), dtype=storage.dtype)
    if flat.numel() != storage.size or math.prod(size) > storage.size:
        raise Fault(f"is damaged: it has too few numbers for {name!r}")
    tensor = flat.as_strided(size, stride, offset)  # refuses what reaches outside the storage
    return tensor.float() if tensor.is_floating_point() else tensor
