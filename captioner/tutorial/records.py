"""Unpickling that runs nothing: every object in the file becomes an inert record.

The tutorial saves whole modules as pickles, and a pickle may call whatever it names. So
``torch.load`` is not used. Here every name in the file stands for a `Record`; nothing it names is
imported or called, and a name that such a checkpoint does not hold is refused.
"""

from __future__ import annotations

import pickle
import re
from typing import Any, BinaryIO, NamedTuple

import torch

# All of these become records, so a wide pattern does no harm.
KNOWN_NAMES = re.compile(
    r"(\w+\.)+(Encoder|DecoderWithAttention|Attention)"  # the tutorial's, whatever their file
    r"|torch\.nn\.(modules|parallel)\.\w+\.\w+|torchvision\.models\.resnet\.\w+"
    r"|torch\.optim\.\w+\.\w+|torch\.nn\.backends\.thnn\._get_thnn_function_backend"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|parameter|parameter_with_state)"
    r"|torch\.nn\.parameter\.Parameter|torch\.(cuda\.)?\w+Storage"
    r"|collections\.(OrderedDict|defaultdict)|(builtins|__builtin__)\.(dict|set|object)"
    r"|(copyreg|copy_reg)\._reconstructor"
    r"|numpy\.(core|_core)\.multiarray\.scalar|numpy\.dtype|_codecs\.encode"  # the BLEU-4
)
DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
}


class InvalidTutorialCheckpoint(ValueError):
    """A file that cannot be converted; the message goes on after the file's name."""


class Storage(NamedTuple):
    """A run of numbers in the file; immutable, as a pickle can set attributes."""

    key: str
    dtype: torch.dtype
    size: int  # in numbers, not bytes


class Record:
    """An object as a pickle describes it; stands in its place and does nothing."""

    name = ""  # the pickle's name for the class or the function
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


class RecordUnpickler(pickle.Unpickler):
    """Makes records of known names and refuses all others."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> type[Record]:
        path = f"{module}.{name}"
        if not KNOWN_NAMES.fullmatch(path):
            # Escaped, as a terminal would obey control characters.
            shown = path[:100].encode("unicode_escape").decode()
            raise InvalidTutorialCheckpoint(
                f"holds an object of class {shown}, which is not one of the tutorial's; it was not"
                " loaded. If the file is your own, save encoder.state_dict() and"
                " decoder.state_dict() in place of the modules"
            )
        return type("Record", (Record,), {"name": path})

    def persistent_load(self, saved: Any) -> Any:
        kind, what, *rest = saved
        if kind == "module":  # before zip files: a class with its source, which is ignored
            return what
        key, _device, size, *view = rest
        dtype = DTYPES.get(what.name.rpartition(".")[2])
        if kind != "storage" or dtype is None or view not in ([], [None]):
            raise InvalidTutorialCheckpoint(
                f"holds numbers in a {what.name}, which the tutorial's never do"
            )
        return self.storages.setdefault(key, Storage(key, dtype, size))


def entries(holder: Any) -> dict[Any, Any]:
    """Return the entries of a dict, or of the record of an ``OrderedDict``."""
    found: dict[Any, Any] = holder if type(holder) is dict else getattr(holder, "entries", {})
    return found


def attributes(record: Any) -> dict[Any, Any]:
    """Return the attributes of the object that a record stands for."""
    state = getattr(record, "state", None)
    return state if type(state) is dict else {}


def submodules(record: Any) -> dict[Any, Any]:
    """Return the records of a module's children, by their names."""
    return entries(attributes(record).get("_modules"))
