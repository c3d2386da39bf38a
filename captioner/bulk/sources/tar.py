"""The photos in a tar, such as WebDataset's shards."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from functools import partial

from captioner.bulk.photo import Photo, reason_of
from captioner.bulk.sources.stores import Store
from model.photo_names import is_photo_name
from model.tar_members import tar_members

ENDING = ".tar"
COMPRESSED_ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def photos_in(store: Store, path: str) -> Iterator[Photo]:
    """Yield the photos of a tar in its own order; ``photos.tar/0001.jpg`` is the name of one.

    What cannot be listed any further ends with a photo of the tar's own name, with the reason.
    """
    if path.lower().endswith(COMPRESSED_ENDINGS):
        yield Photo.unreadable(path, "It is compressed; decompress it first")
        return
    try:
        with store.open(path) as file:
            for member in tar_members(file):
                name = f"{path}/{member.name}"
                if not is_photo_name(member.name):
                    continue
                if member.is_link:
                    reason = "It is a link; put the file itself into the tar (tar --dereference)"
                    yield Photo.unreadable(name, reason)
                else:
                    read = partial(store.read_range, path, member.offset, member.size)
                    yield Photo(name, read)
    except OSError as error:
        yield Photo.unreadable(path, reason_of(error))
    except tarfile.TarError as error:
        reason = f"It is no whole tar that is not compressed: {reason_of(error)}"
        yield Photo.unreadable(path, reason)
