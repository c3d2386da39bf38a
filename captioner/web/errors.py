"""Errors of the server itself, in the form that TorchServe gives its own."""

from __future__ import annotations

from http import HTTPStatus

from handler.replies import Reply, to_json


class ServerError(Exception):
    """A request that the server answers with an error, without asking a worker.

    Parameters
    ----------
    type
        A name for programs.
    message
        A sentence for people.
    """

    def __init__(self, status: int, type: str, message: str) -> None:
        super().__init__(message)
        self.status, self.type = status, type

    def reply(self) -> Reply:
        """Return the reply to the request."""
        body = {"code": int(self.status), "type": self.type, "message": str(self)}
        return Reply(to_json(body), status=int(self.status), outcome="failed")


def model_not_found(model: str) -> ServerError:
    return ServerError(
        HTTPStatus.NOT_FOUND, "ModelNotFoundException", f"Model not found: {model[:80]}"
    )


def version_not_found(version: str) -> ServerError:
    return ServerError(
        HTTPStatus.NOT_FOUND,
        "ModelVersionNotFoundException",
        f"Model version not found: {version[:80]}",
    )


def address_not_found() -> ServerError:
    return ServerError(
        HTTPStatus.NOT_FOUND,
        "ResourceNotFoundException",
        "there is nothing at this address; photos are sent to /predictions/captioner, see /docs",
    )


def method_not_allowed() -> ServerError:
    return ServerError(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "MethodNotAllowedException",
        "this address does not accept this method; see /docs",
    )


def too_slow() -> ServerError:
    return ServerError(
        HTTPStatus.REQUEST_TIMEOUT, "RequestTimeoutException", "the request did not arrive in time"
    )


def unauthorized() -> ServerError:
    return ServerError(
        HTTPStatus.UNAUTHORIZED,
        "InvalidKeyException",
        "Token Authorization failed: the token is missing or wrong; send the header"
        " Authorization: Bearer KEY",
    )


def worker_died() -> ServerError:
    return ServerError(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "InternalServerException",
        "the worker died while it answered; another one is starting",
    )


def worker_too_slow(seconds: float) -> ServerError:
    return ServerError(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "InternalServerException",
        f"the worker took more than {seconds:g} s; another one is starting",
    )


def batch_failed(status: int) -> ServerError:
    message = "the captioner failed; the server's log says why"
    if status == HTTPStatus.INSUFFICIENT_STORAGE:
        message = "the worker ran out of memory while it answered"
    return ServerError(status, "InternalServerException", message)


def unavailable(reason: str) -> ServerError:
    return ServerError(
        HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableException", f"{reason}; try again later"
    )


def failed() -> ServerError:
    return ServerError(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "InternalServerException",
        "the server failed; its log says why",
    )


def bad_gateway(reason: str) -> ServerError:
    return ServerError(HTTPStatus.BAD_GATEWAY, "BadGatewayException", reason)
