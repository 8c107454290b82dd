"""Requests on one kept connection, as fast as they are answered."""

from __future__ import annotations

import socket
import time
from typing import Self

WITHIN = 30.0


class Asker:
    """One keep-alive connection to a port on this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = self._connected()

    def ask(self, host: str) -> tuple[int, bytes]:
        """The status and the body that a host answers `GET /` with. Raises OSError if nobody listens."""
        request = f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()
        try:
            self._socket.sendall(request)
            return self._answer()
        except (EOFError, ConnectionError):
            self._socket.close()
            self._socket = self._connected()
            self._socket.sendall(request)
            return self._answer()

    def until(self, host: str, wanted: bytes) -> float:
        """Asks until the body is the one that is wanted; the time (monotonic) at which it was there."""
        deadline = time.monotonic() + WITHIN
        while True:
            _, body = self.ask(host)
            now = time.monotonic()
            if body == wanted:
                return now
            if now > deadline:
                raise TimeoutError(f"{host} still answers {body!r} after {WITHIN:g} s")

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port), timeout=WITHIN)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _answer(self) -> tuple[int, bytes]:
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[:end].lower()
        start = head.find(b"content-length:")
        length = int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
        while len(data) < end + 4 + length:
            data += self._more()
        return int(data[9:12]), data[end + 4 :]

    def _more(self) -> bytes:
        more = self._socket.recv(1 << 16)
        if not more:
            raise EOFError("the connection was closed")
        return more
