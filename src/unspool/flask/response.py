"""A Flask response that is a stream and stays one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from typing import Any, NoReturn

from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.wsgi import ClosingIterator

from unspool.errors import TooLate, WouldBuffer
from unspool.wsgi import Body

__all__ = ["StreamResponse", "response_class"]


def _would_buffer(name: str) -> WouldBuffer:
    return WouldBuffer(
        f"{name} would read the whole stream into memory before the first byte is sent. Leave "
        "streamed answers alone (check `response.is_streamed` in after_request functions), or "
        "return an ordinary response from this view."
    )


def _too_late(name: str) -> TooLate:
    return TooLate(
        f"the {name} of the answer were changed after they had been sent: the change would be "
        "lost. Change them in the view or in an after_request function."
    )


class StreamResponse(Response):
    """The answer of `stream`: any Flask response, except that nothing may read it whole.

    `get_data`, `data`, `json`, `add_etag`, `make_conditional`, `freeze` and
    `make_sequence` raise `WouldBuffer`; changing headers or status after they were sent
    raises `TooLate`.
    """

    implicit_sequence_conversion = False
    automatically_set_content_length = False
    _sent = False

    def get_app_iter(self, environ: Any) -> Any:
        """The chunks; nothing, but closable, where the answer has no body."""
        self.headers = SentHeaders(self.headers)
        self._sent = True
        if environ["REQUEST_METHOD"] == "HEAD" or not _has_body(self.status_code):
            return ClosingIterator((), self.close)
        chunks: Any = self.response
        return Body(chunks, environ, self.close, self.content_length)

    def __setattr__(self, name: str, value: object) -> None:
        if self._sent and name in {"status", "status_code", "headers", "response"}:
            raise _too_late(name)
        super().__setattr__(name, value)

    def close(self) -> None:
        """Closes the stream, then runs every `call_on_close` function, each once."""
        functions, self._on_close = list(self._on_close), []
        _run_all([self.response.close, *functions])  # type: ignore[union-attr]


class SentHeaders(Headers):
    """Headers that have gone out: they can be read, and any change raises `TooLate`."""

    def __init__(self, headers: Headers) -> None:
        super().__init__()
        self._list = list(headers)


def _refusing(make_error: Callable[[str], Exception], name: str) -> Callable[..., NoReturn]:
    def refuse(self: object, *args: object, **kwargs: object) -> NoReturn:  # noqa: ARG001
        raise make_error(name)

    return refuse


for _name in (
    "add_etag",
    "freeze",
    "get_data",
    "get_json",
    "make_conditional",
    "make_sequence",
    "set_data",
):
    setattr(StreamResponse, _name, _refusing(_would_buffer, f"{_name}()"))
for _name in ("data", "json"):
    _refused = _refusing(_would_buffer, f".{_name}")
    setattr(StreamResponse, _name, property(_refused, _refused))
for _name in (
    "__delitem__",
    "__ior__",
    "__setitem__",
    "add",
    "add_header",
    "clear",
    "extend",
    "insert",
    "pop",
    "popitem",
    "remove",
    "set",
    "setdefault",
    "setlist",
    "setlistdefault",
    "update",
):
    setattr(SentHeaders, _name, _refusing(_too_late, "headers"))


@cache
def response_class(base: type[Response]) -> type[StreamResponse]:
    """`StreamResponse` on top of an app's own response class, which Flask insists on."""
    if issubclass(StreamResponse, base):
        return StreamResponse
    return type("StreamResponse", (StreamResponse, base), {})


def _has_body(status: int) -> bool:
    """Whether an answer with this status has content (RFC 9110 §6.4.1)."""
    return status >= HTTPStatus.OK and status not in {
        HTTPStatus.NO_CONTENT,
        HTTPStatus.NOT_MODIFIED,
    }


def _run_all(functions: list[Any]) -> None:
    """Calls them all, in order, also if one raises; raises the first failure."""
    failures: list[BaseException] = []
    for function in functions:
        try:
            function()
        except BaseException as error:
            failures.append(error)
    if failures:
        raise failures[0]
