"""The keys that TorchServe writes down where it wants tokens, one for each of its APIs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

REFUSED = "Token Authorization failed"  # so say both of TorchServe's APIs


@dataclass(frozen=True)
class Keys:
    """Those of one server, until it ends or they are renewed or expire."""

    management: str = field(repr=False)
    inference: str = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """From ``key_file.json``; raises `ValueError` if it cannot be read or lacks a key."""
        try:
            told = json.loads(path.read_text())
            management, inference = (told[api]["key"] for api in ("management", "inference"))
            if not all(re.fullmatch(r"[!-~]+", key) for key in (management, inference)):
                raise ValueError("a key that cannot be sent")
            return cls(management, inference)
        except OSError as error:
            raise ValueError(
                f"{path}: {error.strerror}; a key file is the key_file.json that TorchServe writes"
                " when it starts with tokens"
            ) from error
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(
                f"{path} lacks the keys of management and inference; name the key_file.json that"
                " TorchServe wrote when it started"
            ) from error


def advised(message: str) -> str:
    """What went wrong, and what to do if it is for want of a key."""
    if REFUSED not in message:
        return message
    return f"{message}; name the server's key_file.json with --key-file, renew a key that expired"
