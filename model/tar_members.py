"""The members of a tar, found one after another and read later, in any order."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple, cast


class Member(NamedTuple):
    """A file within a tar that is not compressed."""

    name: str
    offset: int  # bytes from the start of the tar to the start of the file
    size: int  # bytes
    is_link: bool  # a link has no bytes of its own


def tar_members(tar: BinaryIO) -> Iterator[Member]:
    """Yield the files and links of a tar, without folders and hidden files, in their order.

    Raises
    ------
    tarfile.TarError
        It is compressed, no tar, or damaged.
    """
    # Mode "r:" refuses compressed tars, in which no member could be read by its offset.
    with tarfile.open(fileobj=tar, mode="r:") as opened:
        while (info := opened.next()) is not None:
            cast(Any, opened).members.clear()  # or the tar's whole listing would be kept
            if info.isdir() or PurePosixPath(info.name).name.startswith("."):
                continue
            yield Member(info.name, info.offset_data, info.size, not info.isfile())
        # tarfile takes a damaged header for the end, which is a block of zeros.
        tar.seek(opened.offset)
        if any(tar.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError(f"damaged at byte {opened.offset}")
