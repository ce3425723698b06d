"""A WebSocket client of a few lines (RFC 6455), enough to listen to a Foxglove server."""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import struct
from typing import Any


class WebSocket:
    def __init__(self, port: int, protocol: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
        )
        self._socket.sendall(request.encode())
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self._socket.recv(4096)
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101"), head

    def send_json(self, message: Any) -> None:
        payload = json.dumps(message).encode()
        assert len(payload) < 126
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self._socket.sendall(bytes([0x81, 0x80 | len(payload)]) + mask + masked)

    def receive(self) -> Any:
        """Return the next message: bytes of a binary one, decoded JSON of a text."""
        first, second = self._take(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._take(8))
        payload = self._take(length)
        return payload if first & 0x0F == 2 else json.loads(payload)

    def has_message(self, timeout_s: float) -> bool:
        """Return whether something to receive comes within that time."""
        return bool(self._buffer or select.select([self._socket], [], [], timeout_s)[0])

    def close(self) -> None:
        self._socket.close()

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            chunk = self._socket.recv(1 << 20)
            assert chunk, "the server closed the connection"
            self._buffer += chunk
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken
