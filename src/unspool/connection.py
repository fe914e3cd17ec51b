"""The connection that a request came in on, and how to break it.

A failure after the first byte must reach the client as a broken transfer. Most servers see
to that when an application raises. Where they would end the answer cleanly, the connection
is reset (RFC 9293 §3.5.1): the one signal that no client takes for the end of an answer.
"""

from __future__ import annotations

import _socket
import ctypes
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from unspool.observe import Running, Unseen

__all__ = [
    "DRAIN_S",
    "LEAVING",
    "Leaving",
    "StreamWarning",
    "Watch",
    "break_off",
    "ends_cleanly",
    "socket_of",
    "socket_to",
    "unsent",
    "warn_of",
    "warn_once",
]

# How long a reset waits for what was sent before: a reset throws away what still waits.
DRAIN_S = 1.0
_SIOCOUTQ = 0x5411  # Linux: bytes that the other side has not confirmed.

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_warned: set[str] = set()


LEAVING = "unspool.leaving"
"""In the WSGI environment, where there is one: the `Leaving` of the request."""


class Leaving:
    """Whom to tell if the client leaves before the answer is whole: of views and bodies that wait.

    They would not notice else. What is told must return at once: it is called on the event loop.
    `cancel` of a query does.
    """

    def __init__(self) -> None:
        self._functions: list[Callable[[], object]] = []
        self._left = False
        self._lock = threading.Lock()

    def tell(self, function: Callable[[], object]) -> None:
        """Calls `function` if the client leaves; now, if it has left."""
        with self._lock:
            if not self._left:
                self._functions.append(function)
                return
        function()

    def left(self) -> None:
        """The client has left."""
        with self._lock:
            self._left, functions = True, self._functions[:]
        for function in functions:
            function()


class StreamWarning(UserWarning):
    """Something about the server can spoil streams; each is said once a process."""


def ends_cleanly(environ: Mapping[str, Any]) -> bool:
    """Whether the server of this WSGI request ends an answer cleanly when its source fails.

    HTTP/1.0 has no other end than closing, and Werkzeug's server speaks it, whatever the
    client does, if it has one thread; uWSGI, granian and mod_wsgi write the last chunk
    whatever happened; Werkzeug's debugger catches the failure.
    """
    return (
        environ.get("SERVER_PROTOCOL") == "HTTP/1.0"
        or "uwsgi.version" in environ
        or "mod_wsgi.version" in environ
        or environ.get("SERVER_SOFTWARE") == "Granian"
        or "werkzeug.debug.preserve_context" in environ
        or ("werkzeug.socket" in environ and not environ.get("wsgi.multithread"))
    )


def socket_of(environ: Mapping[str, Any]) -> socket.socket | None:
    """A duplicate of the connection's socket, for the caller to close; None if it is hidden.

    Servers put it into `environ` (gunicorn, Werkzeug) or have a call for it (uWSGI); else
    it is the socket of this process whose other end has the client's address and port.
    """
    with suppress(OSError):
        if "uwsgi.version" in environ:
            return socket.socket(fileno=os.dup(sys.modules["uwsgi"].connection_fd()))
        for name in ("gunicorn.socket", "werkzeug.socket"):
            if isinstance(environ.get(name), socket.socket):
                return environ[name].dup()  # type: ignore[no-any-return]
        if environ.get("REMOTE_PORT"):
            return socket_to(environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"]))
    return None


def socket_to(host: str, port: int) -> socket.socket | None:
    """A duplicate of the one TCP socket of this process that is connected to that address."""
    found: list[socket.socket] = []
    for sock in _own_sockets():
        if _peer(sock) == (host, port):
            found.append(sock)
        else:
            sock.close()
    if len(found) == 1:
        return found[0]
    for sock in found:
        sock.close()
    return None


def _own_sockets() -> Iterator[socket.socket]:
    """Duplicates of the connected sockets of this process, each once."""
    own = Path("/proc/self/fd")
    # All are listed before one is duplicated: a duplicate may take the number that the listing
    # itself had. The name has the socket's inode, which its other duplicates share.
    numbers: dict[str, int] = {}
    for path in own.iterdir() if own.is_dir() else ():
        with suppress(OSError):
            numbers.setdefault(str(path.readlink()), int(path.name))
    for name, number in numbers.items():
        sock = None
        with suppress(OSError):
            if name.startswith("socket:"):
                sock = socket.socket(fileno=os.dup(number))
        if sock is None:
            continue
        if _peer(sock) is None:
            sock.close()
        else:
            yield sock


def _peer(sock: socket.socket) -> tuple[str, int] | None:
    with suppress(OSError):
        name = sock.getpeername()
        if isinstance(name, tuple) and len(name) >= 2:  # noqa: PLR2004 (host and port)
            return name[0], name[1]
    return None


def break_off(sock: socket.socket, drain_s: float = DRAIN_S) -> None:
    """Resets the connection, once the client's side has what was sent; closes `sock`."""
    with closing(sock), suppress(OSError):
        deadline = time.monotonic() + drain_s
        while unsent(sock) and time.monotonic() < deadline:
            time.sleep(0.005)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if sys.platform == "linux":
            # Connecting to "no address" aborts the connection at once, whoever holds it too. To
            # those it is at its end then. (Reading would fail, and Werkzeug's server, which reads
            # what the client may still send, would not close the answer.) PyDLL keeps the GIL:
            # between the two calls no other thread reads.
            libc, unspecified = ctypes.PyDLL(None), ctypes.create_string_buffer(16)
            libc.connect(sock.fileno(), unspecified, len(unspecified))
            libc.shutdown(sock.fileno(), socket.SHUT_RDWR)


def unsent(sock: socket.socket) -> int:
    """The bytes that the other side has not confirmed yet, where the system can tell."""
    with suppress(OSError, AttributeError):
        return int.from_bytes(fcntl.ioctl(sock, _SIOCOUTQ, bytes(4)), sys.byteorder)  # pyright: ignore[reportOptionalMemberAccess]
    return 0


class Watch:
    """Notices that the client of a request has left, while there is nothing to send to it.

    (A server only notices when it sends.) Looks at the connection without taking from it.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ
        self._socket: socket.socket | None = None
        self._open = True

    def heed(self, running: Running | Unseen) -> None:
        """Breaks the connection when this stream, of its request, is cancelled."""
        if isinstance(running, Running):
            if "uwsgi.version" in self._environ:  # It shows its connection to this thread only.
                self._socket = socket_of(self._environ)
            running.on_cancel(self.break_off)

    def check(self) -> None:
        """Raises GeneratorExit if the client has left."""
        if self._open and self._socket is None:
            self._socket = socket_of(self._environ)
            self._open = self._socket is not None
        if self._socket is not None and _client_left(self._socket):
            raise GeneratorExit

    def break_off(self) -> None:
        """Resets the connection at once, from any thread."""
        if "uwsgi.version" not in self._environ:
            sock = socket_of(self._environ)
        else:
            sock = self._socket and self._socket.dup()
        if sock is not None:
            break_off(sock, drain_s=0)

    def close(self) -> None:
        """Lets go of the connection."""
        self._open = False
        if self._socket is not None:
            self._socket.close()


def _client_left(sock: socket.socket) -> bool:
    # Through the plain socket: gevent's own waits for data, whatever the flags say.
    plain = _socket.socket(fileno=os.dup(sock.fileno()))
    try:
        return plain.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True
    finally:
        plain.close()


def warn_of(environ: Mapping[str, Any]) -> None:
    """Says, once, what this server does to streams that nothing can be done about."""
    software = str(environ.get("SERVER_SOFTWARE", ""))
    if environ.get("mod_wsgi.process_group"):  # Embedded, it is the empty string.
        software = "mod_wsgi in daemon mode"
    if software in {"Granian", "mod_wsgi in daemon mode"}:
        warn_once(
            f"{software} ends an answer cleanly when its source fails, and hides its connection: "
            "clients cannot tell a broken download from a whole one. Use another server (gunicorn, "
            "waitress, or granian's ASGI interface with unspool.asgi.from_wsgi), or formats with "
            "an end mark (end_mark=True)."
        )
    if (
        software.startswith("gunicorn")
        and not environ.get("wsgi.multithread", True)
        and ("gevent" not in sys.modules)
    ):
        warn_once(
            "gunicorn's sync worker is killed when one answer takes longer than --timeout (30 s): "
            "long streams are cut. Use --worker-class gthread."
        )
    if "uwsgi.version" in environ:
        warn_once(
            "uWSGI closes a connection when its client reads nothing for socket-timeout (4 s): "
            "slow downloads are cut. Set --socket-timeout and --http-timeout higher."
        )


def warn_once(message: str) -> None:
    """A `StreamWarning`, the first time in the process."""
    if message not in _warned:
        _warned.add(message)
        warnings.warn(message, StreamWarning, stacklevel=3)
