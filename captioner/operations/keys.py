"""The keys that TorchServe asks for where it is started with tokens, one for each of its APIs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

REFUSED = "Token Authorization failed"  # in the error of either API


@dataclass(frozen=True)
class Keys:
    """The keys of one server; they are valid until they expire, are renewed, or the server ends."""

    management: str = field(repr=False)
    inference: str = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read TorchServe's ``key_file.json``.

        Raises
        ------
        ValueError
            The file cannot be read, or lacks a key.
        """
        try:
            content = json.loads(path.read_text())
            management, inference = (content[api]["key"] for api in ("management", "inference"))
            if not all(re.fullmatch(r"[!-~]+", key) for key in (management, inference)):
                raise ValueError("a key that cannot be sent in a header")
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


def bearer(key: str | None) -> dict[str, str]:
    """Return the header that sends a key; no header for None."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def with_key_hint(message: str) -> str:
    """Add to an error message what to do about a key, if the message says that one was refused."""
    if REFUSED not in message:
        return message
    return (
        f"{message}; name the server's key_file.json with --key-file, or renew a key that expired"
    )
