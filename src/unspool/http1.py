"""Answers as they stand on the wire: HTTP/1 read by hand, because a client library hides it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["BROKEN", "ENDED", "Answer"]

# How an answer can end so that every client sees that it is not whole …
BROKEN = {
    "cut": "cut off inside the framing",
    "reset": "connection reset",
    "garbled": "framing that no client accepts",
}
# … and how it ends if all is well, as far as the client can tell.
ENDED = {
    "whole": "the end that was announced",
    "closed": "a closed connection, which only stands for the end",
}


class Answer:
    """An answer on a raw socket, read by hand: RFC 9112 §6 and §7.

    `status` is 0 if the connection ended before it. `end` says how the body ended, once it
    has: a key of `ENDED` or `BROKEN`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.status = 0
        self.headers: dict[str, str] = {}
        self.end = ""
        self._held = b""
        with self._watching():
            self._read_head()

    @property
    def ending(self) -> str:
        """`end` in words."""
        return {**BROKEN, **ENDED}.get(self.end, "no end")

    def close(self) -> None:
        """Closes the connection: the client leaves."""
        self.sock.close()

    def chunks(self) -> Iterator[bytes]:
        """The chunks of the body, as they come. Without chunks: what comes at once."""
        if not self.end:
            with self._watching():
                yield from self._body()
                self.end = self.end or "whole"

    def read(self) -> bytes:
        """The body, or as much of it as comes."""
        return b"".join(self.chunks())

    def then(self, request: bytes) -> bytes:
        """What comes after another request, if the connection is used again; maybe nothing."""
        with self._watching():
            if self.headers.get("connection", "").lower() != "close":
                self.sock.sendall(request)
            return self._some()
        return b""

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except ConnectionError:
            self.end = "reset"
        except EOFError:
            self.end = "cut"
        except ValueError:
            self.end = "garbled"

    def _read_head(self) -> None:
        _, _, status = self._line().partition(b" ")
        self.status = int(status[:3])
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.lower()] = value.strip()

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self._line().split(b";")[0], 16):
                yield b"".join(self._exactly(size))
                if self._line():
                    raise ValueError
            while self._line():
                pass  # Trailers.
        elif "content-length" in self.headers:
            yield from self._exactly(int(self.headers["content-length"]))
        else:
            with suppress(EOFError):
                while True:
                    yield self._some()
            self.end = "closed"

    def _some(self) -> bytes:
        held, self._held = self._held, b""
        data = held or self.sock.recv(256 * 1024)
        if not data:
            raise EOFError
        return data

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            data = self._some()
            self._held = data[size:]
            size -= len(data) - len(self._held)
            yield data[: len(data) - len(self._held)]

    def _line(self) -> bytes:
        line = b""
        while b"\r\n" not in line:
            line += self._some()
        line, _, self._held = line.partition(b"\r\n")
        return line
