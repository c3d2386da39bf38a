"""The record of one request for captions, whichever server and protocol it came by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from handler.errors import RequestError
from handler.options import RequestOptions

MAX_PHOTOS = 32  # in one request
MAX_PHOTO_BYTES = 32 * 2**20


class WireFormat(Enum):
    """The format of a request's body, in which it is answered as well."""

    PLAIN = "plain"  # one photo, in the captioner's own format
    KSERVE_V1 = "kserve-v1"
    KSERVE_V2 = "kserve-v2"


@dataclass(frozen=True)
class CaptionRequest:
    """The photos of one request and how they are to be captioned."""

    photos: list[bytes]  # image files
    options: list[RequestOptions]  # of each photo
    format: WireFormat = WireFormat.PLAIN
    id: str | None = None  # given by the client, in KServe V2 only
    explain: bool = False  # the reply shows where each word looked
    picture: bool = False  # the reply is a picture of that
    cost: float = 0.0  # estimated seconds of one core to decode the photos


def check_photo_size(size: int, name: str) -> None:
    """Refuse a photo that is too large.

    Parameters
    ----------
    size
        Bytes.
    name
        The part of the request that holds the photo, for the message.

    Raises
    ------
    RequestError
        The photo has more than `MAX_PHOTO_BYTES`.
    """
    if size > MAX_PHOTO_BYTES:
        raise RequestError(
            "too_large", f"{name} is over {MAX_PHOTO_BYTES // 2**20} MiB; send a smaller photo"
        )
