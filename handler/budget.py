"""How much decoding a request and a batch may take, so that no caller holds up the others.

A batch is answered together: whoever is in it, or waits for the next one, waits for its most
expensive photo. What photos cost is known from their headers, before any of them is decoded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from handler.errors import RequestError
from handler.parsing import Request
from model import InvalidImage
from model.image.cost import DecodingCost, estimate

# Of a request's photos together; each of them alone is within both.
MAX_PIXELS = 400_000_000
MAX_SECONDS = 8.0  # of one core, as `model.image.cost` estimates them
# A batch is decoded by as many cores as the worker has threads: so long its requests wait for it.
MAX_BATCH_SECONDS = 8.0  # estimated
# Of TorchServe's responseTimeout, after which the worker is killed: later no photo is begun.
SHARE_OF_TIMEOUT = 0.5


def measured(request: Request) -> Request:
    """Return the request with its cost.

    Raises
    ------
    RequestError
        Its photos together would take too long; the message has the numbers.
    """
    costs = [_cost(photo) for photo in request.photos]
    pixels, seconds = sum(cost.pixels for cost in costs), sum(cost.seconds for cost in costs)
    photos = "photo has" if len(costs) == 1 else f"{len(costs)} photos together have"
    advice = "send fewer photos in a request, or smaller ones"
    if pixels > MAX_PIXELS:
        raise RequestError.too_large(
            f"the request's {photos} {pixels:,} pixels; at most {MAX_PIXELS:,} are accepted:"
            f" {advice}"
        )
    if seconds > MAX_SECONDS:
        raise RequestError.too_large(
            f"the request's {photos} {pixels:,} pixels, which would take about {seconds:.1f} s to"
            f" decode in their formats; at most {MAX_SECONDS:g} s are accepted: {advice}"
        )
    # A picture of the attention is drawn on the photo, decoded once more.
    return dataclasses.replace(request, cost=2 * seconds if request.picture else seconds)


def admitted(requests: Mapping[int, Request], threads: int) -> list[int]:
    """Choose the requests of a batch that are answered now, the cheapest first.

    Parameters
    ----------
    requests
        By their place in the batch, with their costs.
    threads
        That decode.

    Returns
    -------
    Their places, in the order in which they are best captioned; at least one, if there is one
    """
    order = sorted(requests, key=lambda place: requests[place].cost)
    chosen: list[int] = []
    left = MAX_BATCH_SECONDS * threads
    for place in order:
        left -= requests[place].cost
        if chosen and left < 0:
            break
        chosen.append(place)
    return chosen


def _cost(photo: bytes) -> DecodingCost:
    try:
        return estimate(photo)
    except InvalidImage:
        return DecodingCost(0, 0.0)  # it is refused by its header when it comes to be decoded
