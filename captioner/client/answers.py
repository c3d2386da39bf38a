"""Answers of httpx2, as replies, pictures or errors."""

from __future__ import annotations

import httpx2

from captioner.addresses import redacted
from captioner.client.errors import CaptionError, Unavailable, quoted, read_error
from captioner.client.replies import Reply, read_reply


def failure_of(answer: httpx2.Response | httpx2.RequestError) -> CaptionError:
    """Return the error that an answer without success, or no answer, means."""
    if isinstance(answer, httpx2.RequestError):
        return _no_answer(answer)
    return read_error(
        answer.status_code, answer.reason_phrase, answer.headers, answer.text, _sent_with(answer)
    )


def reply_of(response: httpx2.Response) -> Reply:
    """Read a reply from an answer with success; raise `CaptionError` if it holds none."""
    try:
        return read_reply(response.json(), _request_id(response))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _unexpected(response) from error


def picture_of(response: httpx2.Response) -> bytes:
    """Return the PNG file in an answer with success; raise `CaptionError` if it holds none."""
    if response.headers.get("content-type", "").partition(";")[0].strip() != "image/png":
        raise _unexpected(response)
    return response.content


def _no_answer(error: httpx2.RequestError) -> Unavailable:
    url = error.request.url
    server = f"{url.scheme}://{url.netloc.decode()}"
    if isinstance(error, httpx2.TimeoutException):
        failure = Unavailable(None, "timeout", f"{server} did not answer in time")
    else:
        reason = redacted(str(error)) or type(error).__name__
        message = f"{server} does not answer ({reason}); is it serving?"
        failure = Unavailable(None, "unreachable", message)
    failure.__cause__ = error
    return failure


def _unexpected(response: httpx2.Response) -> CaptionError:
    excerpt = quoted(response.text, _sent_with(response))
    message = f"{response.request.url} did not answer as a captioner does: {excerpt}"
    return CaptionError(response.status_code, "invalid_reply", message, _request_id(response))


def _request_id(response: httpx2.Response) -> str:
    return str(response.headers.get("x-request-id", ""))


def _sent_with(response: httpx2.Response) -> str:
    """Return the credentials that the request was sent with."""
    return str(response.request.headers.get("authorization", ""))
