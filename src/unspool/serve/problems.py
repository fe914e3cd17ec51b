"""What is answered instead of data (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus

__all__ = ["NotFound", "Problem"]


class Problem(Exception):
    """An answer that is no data: status and title of its kind, and what happened this time."""

    status = HTTPStatus.BAD_REQUEST
    kind = "about:blank"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotFound(Problem):
    """There is no such thing."""

    status = HTTPStatus.NOT_FOUND
