"""The small web page of the browser view: a folder of files, the latest picture and an event stream, on one port.

Plain HTTP from the standard library. Tables come as server-sent events; on each, the page fetches the latest picture
once it has shown the one before, so a slow browser gets fewer pictures, never old ones, and holds nobody up.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CONTENT_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}
MAX_VIEWERS = 16
VIEWER_CHECK_S = 2.0
SILENT_CONNECTION_S = 30.0  # a tablet that left the network says no good-bye, and its thread would wait for ever


class LatestValue:
    """One slot that readers wait on; a new value replaces the old. ``viewers`` counts who waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._value: Any = None
        self._number = 0
        self.viewers = 0

    def put(self, value: Any) -> None:
        """Replace the value and wake all readers."""
        with self._changed:
            self._value, self._number = value, self._number + 1
            self._changed.notify_all()

    def after(self, number: int, timeout_s: float) -> tuple[int, Any]:
        """Return the value once it is newer than ``number``; at the timeout return what there is."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > number, timeout_s)
            return self._number, self._value

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count one more viewer for as long as the block runs."""
        with self._changed:
            self.viewers += 1
        try:
            yield
        finally:
            with self._changed:
                self.viewers -= 1


class WebPage:
    """Serves ``folder`` at ``http://host:port``, ``picture`` at /overlay.jpg and ``state`` at /events."""

    def __init__(
        self,
        folder: Path,
        host: str,
        port: int,
        picture: LatestValue,
        state: LatestValue,
        encode: Callable[[Any], bytes],
    ) -> None:
        """``encode`` makes a JPEG of a picture; it runs in the viewer's own thread."""
        self.stopping = threading.Event()
        handler = partial(_Handler, folder=folder, picture=picture, state=state, encode=encode, stopping=self.stopping)
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            raise OSError(
                f"cannot serve the web page at {host}:{port} ({error.strerror}); choose another one with "
                "-p http_port:=… (0 = any free port)"
            ) from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="web-page", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving and end all streams."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(
        self,
        *arguments: Any,
        folder: Path,
        picture: LatestValue,
        state: LatestValue,
        encode: Callable[[Any], bytes],
        stopping: threading.Event,
    ) -> None:
        self.folder, self.picture, self.state = folder, picture, state
        self.encode, self.stopping = encode, stopping
        super().__init__(*arguments)

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(SILENT_CONNECTION_S)

    def do_GET(self) -> None:
        try:
            path = self.path.split("?")[0]
            if path == "/overlay.jpg":
                self._send_picture()
            elif path == "/events":
                self._send_events()
            else:
                self._file("index.html" if path == "/" else path.lstrip("/"))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the browser went away

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal for the node."""

    def _file(self, name: str) -> None:
        allowed = {path.name: path for path in self.folder.iterdir() if path.suffix in CONTENT_TYPES}
        if name not in allowed:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self._send(allowed[name].read_bytes(), CONTENT_TYPES[allowed[name].suffix])

    def _send_picture(self) -> None:
        _, picture = self.picture.after(0, 0.0)
        if picture is None:
            self.send_error(HTTPStatus.NOT_FOUND, "no picture yet")
            return
        try:
            jpeg = self.encode(picture)
        except Exception:  # as for the tables: what somebody else published may be anything
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "the latest overlay is no image")
            return
        self._send(jpeg, "image/jpeg")

    def _send(self, content: bytes, content_type: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def _send_events(self) -> None:
        if self.state.viewers >= MAX_VIEWERS:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_VIEWERS} viewers are the limit")
            return
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        number = 0
        with self.state.watched():
            while not self.stopping.is_set():
                last, (number, state) = number, self.state.after(number, VIEWER_CHECK_S)
                if number > last:
                    # Two times of one clock: who comes late sees how old the last state is.
                    self.wfile.write(f"data: {json.dumps({**state, 'sent_s': time.monotonic()})}\n\n".encode())
                    self.wfile.flush()
                elif self._viewer_left():
                    return

    def _viewer_left(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
