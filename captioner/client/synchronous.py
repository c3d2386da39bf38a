"""The synchronous client, which threads may share."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import httpx2

from captioner.client.answers import picture_of, reply_of
from captioner.client.base import BaseCaptionClient, Outcome, connect
from captioner.client.errors import CaptionError
from captioner.client.photos import Photo, option_headers, photo_content
from captioner.client.replies import Reply


class CaptionClient(BaseCaptionClient[httpx2.BaseTransport]):
    """Caption photos from ordinary code; threads may share one client, which keeps connections.

    Options such as ``beam_size=5`` or ``return_tokens=True`` are the server's, and the server
    checks them; None leaves one out.
    """

    _http: httpx2.Client

    def caption(self, photo: Photo, **options: Any) -> Reply:
        """Caption one photo, the bytes of an image file or its path.

        Raises
        ------
        BadRequest
            The photo or an option was refused.
        Unavailable
            No answer came, or only answers that say "not now", after all retries.
        CaptionError
            The answer is not a captioner's.
        OSError
            The file cannot be read.
        """
        return reply_of(self._ask("predictions", photo, options))

    def caption_many(self, photos: Iterable[Photo], **options: Any) -> list[Outcome]:
        """Caption photos, some at a time; each file is opened when its turn comes.

        Returns
        -------
        For every photo, in order, its reply or the error that `caption` would have raised.

        Raises
        ------
        ValueError
            An option cannot be sent, which concerns all photos.
        """
        return list(self.caption_stream(photos, **options))

    def caption_stream(
        self, photos: Iterable[Photo], **options: Any
    ) -> Generator[Outcome, None, None]:
        """Caption any number of photos, as `caption_many` does, and yield each outcome in order.

        Photos are taken when their turn comes: at most twice the client's ``concurrency`` are sent
        or waiting at a time. Closing the generator ends it early.
        """
        option_headers(options)
        return self._outcomes(iter(photos), options)

    def _outcomes(
        self, photos: Iterator[Photo], options: Mapping[str, Any]
    ) -> Generator[Outcome, None, None]:
        def outcome(photo: Photo) -> Outcome:
            try:
                return self.caption(photo, **options)
            except (CaptionError, OSError) as error:
                return error

        with ThreadPoolExecutor(self._concurrency) as pool:
            asked: deque[Future[Outcome]] = deque()
            try:
                for photo in photos:
                    asked.append(pool.submit(outcome, photo))
                    if len(asked) >= 2 * self._concurrency:
                        yield asked.popleft().result()
                while asked:
                    yield asked.popleft().result()
            finally:  # a caller that stops early waits for no photo that is not sent yet
                pool.shutdown(wait=False, cancel_futures=True)

    def explain(self, photo: Photo, **options: Any) -> Reply:
        """Caption one photo, with its tokens and their attention; raises as `caption`."""
        return reply_of(self._ask("explanations", photo, options))

    def explanation_picture(self, photo: Photo, **options: Any) -> bytes:
        """Return a picture of each word's attention, a PNG file; raises as `caption`."""
        return picture_of(self._ask("explanations", photo, options, "image/png"))

    def close(self) -> None:
        """Close the connections, as leaving ``with`` does."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, transport: httpx2.BaseTransport | None, settings: dict[str, Any]) -> None:
        self._http = connect(httpx2.Client, transport=transport, **settings)

    def _ask(
        self, route: str, photo: Photo, options: Mapping[str, Any], accept: str = "application/json"
    ) -> httpx2.Response:
        request = self._request(route, photo_content(photo), options, accept)
        attempt = 0
        answer: httpx2.Response | httpx2.RequestError
        while True:
            try:
                answer = self._http.send(request)
            except httpx2.RequestError as error:
                answer = error
            else:
                if answer.is_success:
                    return answer
            (self._sleep or time.sleep)(self._wait_after(answer, attempt))
            attempt += 1
