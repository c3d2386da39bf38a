"""Requests -> one call of `Captioner` -> replies, for any server: nothing here knows TorchServe."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch

from handler import budget, replies
from handler.caption_request import CaptionRequest, WireFormat
from handler.description import describe
from handler.errors import RETRY_AFTER, RequestError
from handler.options import RequestOptions
from handler.parsing import parse
from handler.replies import PNG, Reply
from handler.routes import Route
from model import Caption, Captioner, InvalidImage, image
from model.attention_picture import attention_picture
from model.captioner import Timings
from model.image import UnsupportedFormat

# The captions of one photo, best first, or the reason why it cannot be captioned.
PhotoCaptions: TypeAlias = list[Caption] | InvalidImage


class IncomingRequest(NamedTuple):
    """One request as a server has received it; see `handler.parsing.parse` for what it may hold."""

    id: str
    route: Route
    fields: Mapping[str, Any] | RequestError  # the error of a body that the server cannot read
    headers: Mapping[str, Any]


class AnsweredRequest(NamedTuple):
    """One request of a batch with its reply."""

    id: str
    reply: Reply
    request: CaptionRequest | None  # None if it could not be read, or asks for the description
    captions: list[PhotoCaptions] | None  # of each photo; None if there was no time for them


@dataclass(frozen=True)
class AnsweredBatch:
    """Requests that were answered together, and how long that took."""

    requests: list[AnsweredRequest]
    timings: Timings
    seconds: float  # for the whole batch

    @property
    def timing_ms(self) -> dict[str, float]:
        """Milliseconds of the batch and of its parts."""
        return replies.timing_ms(self.timings, self.seconds)

    def photos(self) -> Iterator[tuple[RequestOptions, PhotoCaptions]]:
        """Yield the options and captions of every photo that was captioned or found invalid."""
        for each in self.requests:
            if each.request is not None and each.captions is not None:
                yield from zip(each.request.options, each.captions, strict=True)


@dataclass
class CaptionService:
    """Answers batches of requests; an error in one request leaves the others alone.

    Parameters
    ----------
    defaults
        The options of a request that names none.
    model
        ``name``, ``version`` and ``digest`` of what captions, for replies.
    folder
        The checkpoint, for its model card.
    time_limit
        Seconds after the start of a batch when no further photo is begun.
    """

    captioner: Captioner
    defaults: RequestOptions
    model: Mapping[str, str]
    folder: Path
    time_limit: float = math.inf

    def answer(self, batch: Sequence[IncomingRequest]) -> AnsweredBatch:
        """Answer every request, in order.

        The cheapest requests are captioned first. Those for which the time does not suffice are
        answered as busy.
        """
        started = time.perf_counter()
        read = [self._read(each) for each in batch]
        requests = {i: each for i, each in enumerate(read) if isinstance(each, CaptionRequest)}
        order = budget.admitted(requests, torch.get_num_threads())
        timings = Timings()
        found = self._caption([requests[i] for i in order], timings, started + self.time_limit)
        captions = dict(zip(order, found, strict=False))  # the last are missing if time ran out
        seconds = time.perf_counter() - started
        timing = replies.timing_ms(timings, seconds)
        answered = []
        for i, (incoming, each) in enumerate(zip(batch, read, strict=True)):
            if isinstance(each, CaptionRequest):
                reply = self._reply(each, captions.get(i), timing, incoming.id)
            else:
                reply = each
            answered.append(AnsweredRequest(incoming.id, reply, requests.get(i), captions.get(i)))
        return AnsweredBatch(answered, timings, seconds)

    def _read(self, incoming: IncomingRequest) -> CaptionRequest | Reply:
        """Read a request; one that needs no captions is answered at once."""
        _, route, fields, headers = incoming
        if route is Route.DESCRIBE:
            description = describe(self.captioner, self.defaults, self.model, self.folder)
            return Reply(replies.to_json(description), outcome="description")
        try:
            if isinstance(fields, RequestError):
                raise fields
            explain = route is Route.EXPLAIN
            return budget.with_cost(parse(fields, headers, self.defaults, explain))
        except RequestError as error:
            return replies.refusal(error, incoming.id)

    def _caption(
        self, requests: Sequence[CaptionRequest], timings: Timings, deadline: float
    ) -> list[list[PhotoCaptions]]:
        """Return the captions of each photo of each request, for as many as are done in time."""
        photos = [photo for request in requests for photo in request.photos]
        options = [each.decoding for request in requests for each in request.options]
        found = iter(self.captioner.caption_each(photos, options, timings, deadline))
        each = [(request, list(islice(found, len(request.photos)))) for request in requests]
        return [captions for request, captions in each if len(captions) == len(request.photos)]

    def _reply(
        self,
        request: CaptionRequest,
        captions: list[PhotoCaptions] | None,
        timing: Mapping[str, float],
        request_id: str,
    ) -> Reply:
        try:
            if captions is None:
                raise RequestError(
                    "busy",
                    "the server has more photos to caption than it can in good time;"
                    f" try again in {RETRY_AFTER} s",
                )
            valid = list(_valid(captions, named=request.format is not WireFormat.PLAIN))
            if request.picture:
                return Reply(attention_picture(request.photos[0], valid[0][0]), PNG)
            about = {"model": self.model, "request_id": request_id}
            photo_replies = [
                replies.photo_reply(
                    each,
                    options,
                    about,
                    image.describe(photo) if options.return_image else None,
                    timing,
                )
                for photo, options, each in zip(request.photos, request.options, valid, strict=True)
            ]
            return Reply(replies.body(request, photo_replies, self.model))
        except RequestError as error:
            return replies.refusal(error, request_id)


def _valid(captions: Sequence[PhotoCaptions], named: bool) -> Iterator[list[Caption]]:
    """Yield the captions of every photo.

    Parameters
    ----------
    named
        Whether the message of an error names the photo's position.

    Raises
    ------
    RequestError
        For the first photo that cannot be captioned.
    """
    for i, each in enumerate(captions):
        if isinstance(each, InvalidImage):
            message = f"image {i}: {each}" if named else str(each)
            if isinstance(each, UnsupportedFormat):
                raise RequestError("unsupported_media_type", message)
            raise RequestError("invalid_image", message)
        yield each
