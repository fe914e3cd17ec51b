"""What is answered instead of data (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus

__all__ = [
    "BadParameter",
    "BadStatement",
    "BeyondLimit",
    "Forbidden",
    "NotAcceptable",
    "NotFound",
    "Problem",
    "SourceFailed",
    "SourceLost",
    "TooLong",
    "TooManyStreams",
    "Unauthorized",
    "WrongHost",
]


class Problem(Exception):
    """An answer that is no data: what kind of thing happened, and what happened this time.

    `detail` says what, the value, the limit, the next step. It is shown to the client.
    """

    status = HTTPStatus.BAD_REQUEST
    kind = "about:blank"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def headers(self) -> list[tuple[str, str]]:
        """Headers that the answer has beside its content."""
        return []


class BadParameter(Problem):
    """Something in the query string that cannot be."""

    kind = "urn:unspool:bad-parameter"


class BadStatement(Problem):
    """SQL that the database, or the check before it, cannot read."""

    kind = "urn:unspool:bad-statement"


class Unauthorized(Problem):
    """No token, or another one."""

    status = HTTPStatus.UNAUTHORIZED

    def headers(self) -> list[tuple[str, str]]:
        """How to send one (RFC 9110 §11.6.1)."""
        return [
            ("WWW-Authenticate", 'Basic realm="unspool", charset="UTF-8"'),
            ("WWW-Authenticate", 'Bearer realm="unspool"'),
        ]


class Forbidden(Problem):
    """SQL that does more than to read the tables of its source."""

    status = HTTPStatus.FORBIDDEN
    kind = "urn:unspool:forbidden-statement"


class NotFound(Problem):
    """There is no such thing."""

    status = HTTPStatus.NOT_FOUND


class NotAcceptable(Problem):
    """A format that tables are not to be had in."""

    status = HTTPStatus.NOT_ACCEPTABLE


class TooLong(Problem):
    """A request line that is longer than any of use."""

    status = HTTPStatus.REQUEST_URI_TOO_LONG


class WrongHost(Problem):
    """The request was meant for another server (RFC 9110 §15.5.20)."""

    status = HTTPStatus.MISDIRECTED_REQUEST


class BeyondLimit(Problem):
    """The answer would be longer, or take longer, than this server allows."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    kind = "urn:unspool:beyond-limit"


class SourceFailed(Problem):
    """The database could not give the rows of a table."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    kind = "urn:unspool:source-failed"


class TooManyStreams(Problem):
    """One client wants more answers at the same time than it may have."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    kind = "urn:unspool:too-many-streams"

    def headers(self) -> list[tuple[str, str]]:
        """When it may be worth another try: nobody knows when a download ends."""
        return [("Retry-After", "1")]


class SourceLost(Problem):
    """The database does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    kind = "urn:unspool:source-lost"

    def headers(self) -> list[tuple[str, str]]:
        """When to try again."""
        return [("Retry-After", "5")]
