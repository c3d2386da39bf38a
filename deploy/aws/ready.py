"""Answers a load balancer's GET /ready: 200 if the captioner here works, 503 if not.

A load balancer can neither send a photo nor reach the management API, and TorchServe's /ping says
Healthy while a model loads and for minutes after its worker died. So this checks beside the
server: the default version has a READY worker, and a tiny photo gets a caption.

A busy server is ready: the queue is full, or the photo waits too long behind others for a READY
worker. Otherwise instances would be replaced when they are needed most. TorchServe itself
replaces a worker that hangs, and then none is READY for a while.

Needs Python 3.9 and nothing that must be installed: hence urllib, not requests.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[bool, str]  # whether the server is ready, and why

# A PNG file of 32 x 32 grey pixels.
PHOTO = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAAAAABWESUoAAAAFklEQVR42mNoIAAYRhWMKhhVMFIVAABCAAAfN5c2"
    "AAAAAABJRU5ErkJggg=="
)
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
FAILURES = (OSError, http.client.HTTPException)  # urllib's own are OSErrors


def check(predictions: str, management: str, timeout: float) -> Answer:
    """Check the server once; ``timeout`` in seconds, for each of the two requests."""
    try:
        with DIRECT.open(f"{management}/models/captioner", timeout=timeout) as reply:
            (described,) = json.load(reply)
        ready = [worker for worker in described["workers"] if worker["status"] == "READY"]
        waiting = described.get("jobQueueStatus", {}).get("pendingRequests", 0)
    except FAILURES as error:
        return False, f"management: {error}"
    except (ValueError, LookupError, TypeError):
        return False, "management: describes no model"
    if not ready:
        return False, "no worker is READY"
    request = urllib.request.Request(
        f"{predictions}/predictions/captioner",
        data=PHOTO,
        headers={"Content-Type": "application/octet-stream"},
    )
    try:
        with DIRECT.open(request, timeout=timeout) as reply:
            captioned = isinstance(json.load(reply)["caption"], str)
    except urllib.error.HTTPError as error:
        if error.code == 503:  # a worker is READY, so the queue is full
            return True, "busy: the queue is full"
        return False, f"prediction: {error}"
    except FAILURES as error:
        timed_out = isinstance(getattr(error, "reason", error), socket.timeout)
        if timed_out and waiting:
            return True, f"busy: {waiting} requests wait"
        return False, f"prediction: {error}"
    except (ValueError, LookupError, TypeError):
        return False, "prediction: no caption in the reply"
    return captioned, "captioned" if captioned else "prediction: no caption in the reply"


class Cache:
    """Keeps an answer for some seconds; callers wait for one that is being found."""

    def __init__(
        self,
        find: Callable[[], Answer],
        seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find, self._seconds, self._now = find, seconds, now
        self._lock = threading.Lock()
        self._answer: Answer = (False, "not checked yet")
        self._until = float("-inf")

    def __call__(self) -> Answer:
        with self._lock:
            if self._now() >= self._until:
                self._answer = self._find()
                self._until = self._now() + self._seconds
            return self._answer


def server(address: tuple[str, int], answer: Callable[[], Answer]) -> ThreadingHTTPServer:
    """Make a server of GET /ready, not yet serving."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0  # seconds for a client to send its request

        def do_GET(self) -> None:
            if self.path != "/ready":
                self.send_error(404)
                return
            ready, reason = answer()
            body = reason.encode("ascii", "replace") + b"\n"
            self.send_response(200 if ready else 503)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Log nothing, as it would be a line every few seconds."""

    return ThreadingHTTPServer(address, Handler)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--listen", default="127.0.0.1:8079", metavar="ADDRESS:PORT")
    parser.add_argument("--predictions", default="http://127.0.0.1:8080", metavar="URL")
    parser.add_argument("--management", default="http://127.0.0.1:8081", metavar="URL")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for a request (10)")
    parser.add_argument("--keep", type=float, default=5.0, help="seconds for an answer (5)")
    options = parser.parse_args()
    if "@" in options.predictions + options.management:
        parser.error("a URL may hold no password")
    host, _, port = options.listen.rpartition(":")
    answer = Cache(
        lambda: check(options.predictions, options.management, options.timeout), options.keep
    )
    server((host, int(port)), answer).serve_forever()


if __name__ == "__main__":
    main()
