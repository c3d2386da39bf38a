"""The modules of pyarrow, which reads and writes Parquet and reads object stores."""

from __future__ import annotations

import importlib
from typing import Any


def arrow_module(name: str) -> Any:
    """Import and return a module of pyarrow.

    Raises
    ------
    ModuleNotFoundError
        It is not installed; the command line says which extra brings it.
    """
    return importlib.import_module(name)
