"""The files of the page, and the headers that bound what it may do."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from captioner.web.errors import address_not_found
from captioner.web.page.option_fields import option_fields
from handler.caption_request import MAX_PHOTO_BYTES

STATIC = Path(__file__).with_name("static")
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
# Scripts and styles are the page's own files, requests go to its own server, and photos are shown
# from the browser's memory. Nothing else is allowed, and no other page may frame this one.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
DOCS_LINK = '<a href="docs">For programs</a>'


class PageFiles:
    """The page as it is sent, read once.

    Parameters
    ----------
    docs
        Whether the server has ``/docs``, for a link to it.

    Attributes
    ----------
    files
        What is sent, by the names of the files.
    """

    def __init__(self, docs: bool = True) -> None:
        self.files = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.is_file()}
        filled = (
            self.files["index.html"]
            .decode()
            .replace("<!-- options -->", option_fields())
            .replace("<!-- docs -->", DOCS_LINK if docs else "")
            .replace("MAX_PHOTO_BYTES", str(MAX_PHOTO_BYTES))
        )
        self.files["index.html"] = filled.encode()

    def routes(self) -> list[BaseRoute]:
        """Return the addresses of the page."""
        return [Route("/", self.index), Route("/page/{name}", self.file)]

    async def index(self, request: Request) -> Response:
        return self._response("index.html")

    async def file(self, request: Request) -> Response:
        """Return a file of the page; raises a `ServerError` for any other name."""
        name = request.path_params["name"]
        if name not in self.files:
            raise address_not_found()
        return self._response(name)

    def _response(self, name: str) -> Response:
        return Response(self.files[name], headers=HEADERS, media_type=TYPES[Path(name).suffix])
