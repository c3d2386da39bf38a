"""Requests to one of TorchServe's APIs, with errors that show no password and no key."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from captioner.addresses import read_address
from captioner.client.errors import read_error
from captioner.operations.interrupts import aside

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class RequestFailed(RuntimeError):
    """A server refused a request, or did not answer.

    Attributes
    ----------
    status
        The HTTP status; None if no answer came.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """A session with the server at one address.

    Parameters
    ----------
    url
        The address; it may have a user and a password, for a proxy that asks for them.
    key
        TorchServe's key of this API; None if it asks for none.

    Raises
    ------
    ValueError
        The address is malformed.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        address = read_address(url)
        self.url = address.url
        self._session = requests.Session()
        self._session.auth = _Authorization(address.auth, key)
        # A proxy that the environment names cannot reach this machine's own loopback.
        self._session.trust_env = urlsplit(address.url).hostname not in LOOPBACK

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        query: dict[str, Any] | None = None,
        content: bytes | None = None,
    ) -> requests.Response:
        """Send a request and return the answer with success.

        Parameters
        ----------
        seconds
            The longest time without a sign of the server.

        Raises
        ------
        RequestFailed
            No answer came, or one without success.
        """
        try:
            response = aside(
                self._session.request,
                method,
                self.url + path,
                params=query,
                data=content,
                headers={"Content-Type": "application/octet-stream"} if content else {},
                timeout=seconds,
                allow_redirects=False,
            )
        except requests.Timeout as error:
            raise RequestFailed(f"{self.url} did not answer in time") from error
        except requests.ConnectionError as error:
            reason = _system_reason(error) or type(error).__name__
            raise RequestFailed(f"{self.url} does not answer ({reason}); is it serving?") from error
        except (requests.RequestException, ValueError) as error:
            # The error itself may quote an address with its password, so it is not the cause.
            raise RequestFailed(
                f"{self.url} does not answer ({type(error).__name__}); if the environment names a"
                " proxy by HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, see that it can be used"
            ) from None
        if response.status_code // 100 != 2:
            sent = str(response.request.headers.get("Authorization", ""))
            failure = read_error(
                response.status_code, response.reason, response.headers, response.text, sent
            )
            raise RequestFailed(str(failure), response.status_code)
        return response


class _Authorization(AuthBase):
    """The header of user and password, or else of a key.

    It is set even if there is neither, because `requests` would then look into ``~/.netrc``.
    """

    def __init__(self, user_and_password: tuple[str, str] | None, key: str | None) -> None:
        self._header = f"Bearer {key}" if key else None
        if user_and_password:
            self._header = f"Basic {b64encode(':'.join(user_and_password).encode()).decode()}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._header:
            request.headers["Authorization"] = self._header
        return request


def _system_reason(error: BaseException) -> str | None:
    """Return the operating system's reason for a failed connection, if the error has one."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return None
