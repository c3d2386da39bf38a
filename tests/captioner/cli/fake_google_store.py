"""An imitation of Google Cloud Storage: as much of its JSON API as pyarrow asks for.

    python fake_google_store.py FOLDER

serves a bucket, ``library``, whose objects are the files of a folder, and prints its address. It
runs in a process of its own, because pyarrow keeps the interpreter's lock during some requests.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

OBJECTS = "/storage/v1/b/library/o"
TOKEN = {"access_token": "secret", "expires_in": 3600, "token_type": "Bearer"}


class GoogleStore(BaseHTTPRequestHandler):
    folder: Path
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url, query = urlsplit(self.path), dict(parse_qsl(urlsplit(self.path).query))
        file = self.folder / unquote(url.path.removeprefix(OBJECTS)).strip("/")
        if url.path == OBJECTS:
            self._reply(self._found(self.folder / query.get("prefix", ""), "delimiter" in query))
        elif not url.path.startswith(OBJECTS) or not file.is_file():
            self._reply({"error": {"code": 404, "message": f"no {url.path}"}}, 404)
        elif query.get("alt") == "media":
            self._reply_range(file.read_bytes(), self.headers.get("Range", "bytes=0-"))
        else:
            self._reply(self._about(file))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            self._reply(TOKEN)
        else:  # the start of an upload; the content is sent to the location
            self._reply(b"", Location=f"http://{self.headers['Host']}{self.path}")

    def do_PUT(self) -> None:
        file = self.folder / dict(parse_qsl(urlsplit(self.path).query))["name"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self._reply(self._about(file))

    def _found(self, folder: Path, by_folder: bool) -> dict[str, Any]:
        found = sorted(folder.glob("*" if by_folder else "**/*"))
        folders = [f"{each.relative_to(self.folder)}/" for each in found if each.is_dir()]
        items = [self._about(each) for each in found if each.is_file()]
        return {"kind": "storage#objects", "prefixes": folders if by_folder else [], "items": items}

    def _about(self, file: Path) -> dict[str, Any]:
        name, size = str(file.relative_to(self.folder)), str(file.stat().st_size)
        kinds = {"kind": "storage#object", "bucket": "library", "generation": "1"}
        return kinds | {"name": name, "size": size}

    def _reply_range(self, content: bytes, wanted: str) -> None:
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        end = min(int(last or len(content)) + 1, len(content))
        place = f"bytes {first}-{end - 1}/{len(content)}"
        self._reply(content[int(first) : end], 206, **{"Content-Range": place})

    def _reply(self, content: dict[str, Any] | bytes, status: int = 200, **headers: str) -> None:
        sent = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(sent))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    GoogleStore.folder = Path(sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), GoogleStore) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
