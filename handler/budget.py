"""Limits on how much decoding a request and a batch may take, so that no client delays the others.

A batch is answered as a whole: all its requests, and those that wait for the next batch, wait for
its most expensive photo. The cost of a photo is estimated from its header before it is decoded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from handler.caption_request import CaptionRequest
from handler.errors import RequestError
from model import InvalidImage
from model.image.cost import DecodingCost, estimate

# For all photos of a request together; a single valid photo is always within both.
MAX_PIXELS = 400_000_000
MAX_SECONDS = 8.0  # of one core, estimated by `model.image.cost`
MAX_BATCH_SECONDS = 8.0  # estimated, of each core that decodes: so long a batch's requests wait
# No photo is begun after this share of TorchServe's responseTimeout, when it replaces the worker.
TIMEOUT_SHARE = 0.5


def with_cost(request: CaptionRequest) -> CaptionRequest:
    """Return the request with the estimated cost of decoding its photos.

    Raises
    ------
    RequestError
        Its photos together have too many pixels or take too long; the message has the numbers.
    """
    costs = [_cost(photo) for photo in request.photos]
    pixels, seconds = sum(cost.pixels for cost in costs), sum(cost.seconds for cost in costs)
    photos = "photo has" if len(costs) == 1 else f"{len(costs)} photos together have"
    advice = "send fewer photos in a request, or smaller ones"
    if pixels > MAX_PIXELS:
        raise RequestError(
            "too_large",
            f"the request's {photos} {pixels:,} pixels; at most {MAX_PIXELS:,} are accepted:"
            f" {advice}",
        )
    if seconds > MAX_SECONDS:
        raise RequestError(
            "too_large",
            f"the request's {photos} {pixels:,} pixels, which would take about {seconds:.1f} s to"
            f" decode in their formats; at most {MAX_SECONDS:g} s are accepted: {advice}",
        )
    # A picture of the attention is drawn on the photo, which is decoded again for it.
    return dataclasses.replace(request, cost=2 * seconds if request.picture else seconds)


def admitted(requests: Mapping[int, CaptionRequest], threads: int) -> list[int]:
    """Choose the requests of a batch that are answered now, the cheapest first.

    Parameters
    ----------
    requests
        The requests with their costs, by their position in the batch.
    threads
        Number of threads that decode photos.

    Returns
    -------
    Positions in the order in which the requests are to be captioned. If there are requests, at
    least one is chosen, whatever it costs.
    """
    order = sorted(requests, key=lambda i: requests[i].cost)
    chosen: list[int] = []
    left = MAX_BATCH_SECONDS * threads
    for i in order:
        left -= requests[i].cost
        if chosen and left < 0:
            break
        chosen.append(i)
    return chosen


def _cost(photo: bytes) -> DecodingCost:
    try:
        return estimate(photo)
    except InvalidImage:
        return DecodingCost(0, 0.0)  # it will be refused by its header, undecoded
