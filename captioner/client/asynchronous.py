"""The asynchronous client, which the tasks of asyncio may share."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any, Self

import httpx2

from captioner.client.answers import picture_of, reply_of
from captioner.client.base import BaseCaptionClient, Outcome, connect
from captioner.client.errors import CaptionError
from captioner.client.photos import Photo, option_headers, photo_content
from captioner.client.replies import Reply


class AsyncCaptionClient(BaseCaptionClient[httpx2.AsyncBaseTransport]):
    """Caption photos from asyncio: the settings, methods and errors of `CaptionClient`, awaited."""

    _http: httpx2.AsyncClient

    async def caption(self, photo: Photo, **options: Any) -> Reply:
        """Caption one photo; see `CaptionClient.caption`."""
        return reply_of(await self._ask("predictions", photo, options))

    async def caption_many(self, photos: Iterable[Photo], **options: Any) -> list[Outcome]:
        """Caption photos, some at a time; see `CaptionClient.caption_many`."""
        return [outcome async for outcome in self.caption_stream(photos, **options)]

    def caption_stream(
        self, photos: Iterable[Photo], **options: Any
    ) -> AsyncGenerator[Outcome, None]:
        """Caption any number of photos, one outcome after another; see `CaptionClient`."""
        option_headers(options)
        return self._outcomes(photos, options)

    async def _outcomes(
        self, photos: Iterable[Photo], options: Mapping[str, Any]
    ) -> AsyncGenerator[Outcome, None]:
        places = asyncio.Semaphore(self._concurrency)

        async def outcome(photo: Photo) -> Outcome:
            async with places:
                try:
                    return await self.caption(photo, **options)
                except (CaptionError, OSError) as error:
                    return error

        asked: deque[asyncio.Task[Outcome]] = deque()
        try:
            for photo in photos:
                asked.append(asyncio.create_task(outcome(photo)))
                if len(asked) >= 2 * self._concurrency:
                    yield await asked.popleft()
            while asked:
                yield await asked.popleft()
        finally:
            for task in asked:
                task.cancel()

    async def explain(self, photo: Photo, **options: Any) -> Reply:
        """Caption one photo, with its tokens and their attention; see `CaptionClient.explain`."""
        return reply_of(await self._ask("explanations", photo, options))

    async def explanation_picture(self, photo: Photo, **options: Any) -> bytes:
        """Return a picture of each word's attention; see `CaptionClient.explanation_picture`."""
        return picture_of(await self._ask("explanations", photo, options, "image/png"))

    async def aclose(self) -> None:
        """Close the connections, as leaving ``async with`` does."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _open(self, transport: httpx2.AsyncBaseTransport | None, settings: dict[str, Any]) -> None:
        self._http = connect(httpx2.AsyncClient, transport=transport, **settings)

    async def _ask(
        self, route: str, photo: Photo, options: Mapping[str, Any], accept: str = "application/json"
    ) -> httpx2.Response:
        content = await asyncio.to_thread(photo_content, photo)
        request = self._request(route, content, options, accept)
        attempt = 0
        answer: httpx2.Response | httpx2.RequestError
        while True:
            try:
                answer = await self._http.send(request)
            except httpx2.RequestError as error:
                answer = error
            else:
                if answer.is_success:
                    return answer
            await (self._sleep or asyncio.sleep)(self._wait_after(answer, attempt))
            attempt += 1
