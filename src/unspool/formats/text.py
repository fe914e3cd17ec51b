"""Ready text, UTF-8: every row is a piece of text or of bytes, sent as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unspool.errors import RowError, UsageError, shown
from unspool.types import Batch

__all__ = ["Text", "TextEncoder"]


@dataclass(frozen=True)
class Text:
    """Text or bytes as they come; `media_type` may say what they are.

    >>> Text().encoder(None).feed(["log line 1\\n", b"log line 2\\n"])
    b'log line 1\\nlog line 2\\n'
    """

    media_type: str = "text/plain; charset=utf-8"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".txt"

    def encoder(self, columns: Sequence[str] | None) -> TextEncoder:
        """A new encoder for one stream.

        Raises:
            UsageError: columns were given; text has none.
        """
        if columns is not None:
            raise UsageError(f"format 'text' has no columns; got columns={list(columns)!r}.")
        return TextEncoder()


class TextEncoder:
    """Joins pieces of text. Holds nothing."""

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def feed(self, batch: Batch) -> bytes:
        """The pieces, joined."""
        try:
            return "".join(batch).encode()
        except (TypeError, UnicodeEncodeError):
            return b"".join([_encoded(piece, index) for index, piece in enumerate(batch)])

    def end(self) -> bytes:
        """Nothing."""
        return b""


def _encoded(piece: object, index: int) -> bytes:
    if isinstance(piece, str):
        try:
            return piece.encode()
        except UnicodeEncodeError as error:
            raise RowError(
                f"{shown(piece)} has a lone surrogate, which UTF-8 cannot carry.",
                index=index,
                value=piece,
            ) from error
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise RowError(
        f"format 'text' takes text and bytes; got {shown(piece)} ({type(piece).__name__}). "
        "For rows of cells use format='csv' or 'ndjson'.",
        index=index,
        value=piece,
    )
