"""The processes of one app, which ask each other about their streams over Unix sockets.

Each listens on `PID.sock` in a folder that only its user may enter. A question is a line of
JSON, the answer another one. A folder is found by what the workers of one app share: their
parent, the command line and the working directory. Or it is the one in UNSPOOL_LIVE_DIR.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

from unspool.connection import warn_once
from unspool.errors import UsageError

__all__ = ["Listener", "app_folder", "ask", "folders", "private"]

DIR = "UNSPOOL_LIVE_DIR"

# A process that does not answer in this time is left out: its loop, or all its threads, are busy.
_ANSWER_WITHIN_S = 1.0

# The shortest limit for the path of a Unix socket, of macOS, is 104 bytes with its end.
_PATH_BYTES_MAX = 103

_QUESTION_BYTES_MAX = 4096

_OWNER_ONLY = 0o700


def app_folder() -> Path:
    """Where the processes of this app meet."""
    if DIR in os.environ:
        return Path(os.environ[DIR])
    app = "\0".join([str(Path.cwd()), *getattr(sys, "argv", ())])
    return _base() / f"{os.getppid()}-{sha256(app.encode(errors='replace')).hexdigest()[:8]}"


def _base() -> Path:
    """The folder of this user."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(runtime) / f"unspool-{os.geteuid()}"


def folders(pid: int | None = None) -> list[Path]:
    """The folders of the apps that this user runs; of that process, or of the workers of it."""
    if not hasattr(socket, "AF_UNIX"):  # Windows
        return []
    every = [Path(os.environ[DIR])] if DIR in os.environ else []
    with suppress(OSError):
        every += sorted(_base().iterdir())
    if pid is None:
        return every
    return [
        each
        for each in every
        if each.name.startswith(f"{pid}-") or (each / f"{pid}.sock").is_socket()
    ]


def private(folder: Path) -> Path:
    """`folder`, made if there is none, for this user alone.

    Raises:
        UsageError: others can enter it, or could have made it.
    """
    folder.mkdir(_OWNER_ONLY, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise UsageError(
            f"{folder} is not a folder of this user alone (mode {stat.filemode(found.st_mode)}, "
            f"owner {found.st_uid}). Remove it, or name another one in {DIR}, of mode 0700."
        )
    return folder


class Listener:
    """Answers the questions of other processes, on a thread of its own.

    Args:
        answer: what to answer to a question; called on that thread.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._answer = answer
        self._socket: socket.socket | None = None
        self.path: Path | None = None
        self._starting = threading.Lock()

    def start(self) -> None:
        """Listens, if this process does not yet. If it cannot, that is said once."""
        if self.path is not None or not hasattr(socket, "AF_UNIX"):
            return
        with self._starting:
            if self.path is None:
                try:
                    self._listen(app_folder())
                except (OSError, UsageError) as error:
                    self.path = Path()
                    warn_once(f"other processes cannot see the streams of this one: {error}")

    def _listen(self, folder: Path) -> None:
        path = folder / f"{os.getpid()}.sock"
        if len(os.fsencode(path)) > _PATH_BYTES_MAX:
            raise UsageError(
                f"the path {path} is longer than {_PATH_BYTES_MAX} bytes, which no Unix socket "
                f"can have. Name a shorter folder in {DIR}."
            )
        if DIR not in os.environ:
            _sweep(private(folder.parent))
        private(folder)
        # It gets its name once it listens: a process that it refuses would remove it.
        unnamed = path.with_suffix(".new")
        unnamed.unlink(missing_ok=True)  # Of a process that had this number before.
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(str(unnamed))
        except FileNotFoundError:  # The last of the other ones has just removed the folder.
            private(folder)
            self._socket.bind(str(unnamed))
        self._socket.listen()
        unnamed.replace(path)
        self.path = path
        atexit.register(self.stop)
        threading.Thread(
            target=self._run, args=[self._socket], name="unspool-live", daemon=True
        ).start()

    def _run(self, listening: socket.socket) -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return  # It was closed.
            with peer, suppress(OSError, ValueError):
                peer.settimeout(_ANSWER_WITHIN_S)
                question = json.loads(_line(peer))
                peer.sendall(json.dumps(self._answer(question)).encode() + b"\n")

    def stop(self) -> None:
        """Listens no longer, and leaves nothing behind."""
        atexit.unregister(self.stop)
        listening, self._socket = self._socket, None
        path, self.path = self.path, None
        if listening is not None and path is not None:
            _remove(path)
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # Wakes the thread.
            listening.close()

    def forget(self) -> None:
        """In a forked process: the socket is the parent's, and the thread is not here."""
        atexit.unregister(self.stop)
        if self._socket is not None:
            self._socket.close()
        self._socket = self.path = None
        self._starting = threading.Lock()


def _remove(path: Path) -> None:
    """Removes a socket, and its folder if it was the last one there and the folder is ours."""
    path.unlink(missing_ok=True)
    if DIR not in os.environ:
        with suppress(OSError):
            path.parent.rmdir()


def _sweep(base: Path) -> None:
    """Removes what apps have left behind that were killed with all their processes."""
    for path in base.glob("*/*.sock"):
        with socket.socket(socket.AF_UNIX) as peer, suppress(OSError):
            peer.settimeout(_ANSWER_WITHIN_S)
            try:
                peer.connect(str(path))
            except ConnectionRefusedError:
                _remove(path)


def _line(peer: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < _QUESTION_BYTES_MAX:
        part = peer.recv(_QUESTION_BYTES_MAX)
        if not part:
            break
        line += part
    return line


def ask(
    folder: Path, question: dict[str, Any], but: Path | None = None
) -> Iterator[dict[str, Any]]:
    """The answers of the processes that listen in `folder`, except `but`.

    All are asked at once; it takes a second at the most. The sockets of those that are no more
    are removed.
    """
    deadline = monotonic() + _ANSWER_WITHIN_S
    asked = [_asked(path, question) for path in sorted(folder.glob("*.sock")) if path != but]
    for peer in asked:
        if peer is not None:
            with peer, suppress(OSError, ValueError):
                yield _answer_of(peer, deadline)


def _asked(path: Path, question: dict[str, Any]) -> socket.socket | None:
    peer = socket.socket(socket.AF_UNIX)
    try:
        peer.settimeout(_ANSWER_WITHIN_S)
        peer.connect(str(path))
        peer.sendall(json.dumps(question).encode() + b"\n")
    except ConnectionRefusedError:
        _remove(path)
    except OSError:
        pass
    else:
        return peer
    peer.close()
    return None


def _answer_of(peer: socket.socket, deadline: float) -> dict[str, Any]:
    parts = []
    while True:
        peer.settimeout(max(0.01, deadline - monotonic()))
        if not (part := peer.recv(1 << 16)):
            break
        parts.append(part)
    answer: dict[str, Any] = json.loads(b"".join(parts))
    return answer
