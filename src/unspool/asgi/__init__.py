"""Streaming over ASGI: plain answers, the guard, and WSGI apps on ASGI servers."""

from unspool.asgi.answer import (
    Answer,
    PlannedChunks,
    open_chunks,
    reset,
    respond,
    stream,
    stream_csv,
    stream_template,
)
from unspool.asgi.bridge import from_wsgi
from unspool.asgi.guard import guard
from unspool.asgi.items import open_items, with_context
from unspool.asgi.live import live_view
from unspool.asgi.shutdown import running
from unspool.asgi.types import App, Headers, Message, Receive, Scope, Send
from unspool.connection import LEAVING, Leaving

__all__ = [
    "LEAVING",
    "Answer",
    "App",
    "Headers",
    "Leaving",
    "Message",
    "PlannedChunks",
    "Receive",
    "Scope",
    "Send",
    "from_wsgi",
    "guard",
    "live_view",
    "open_chunks",
    "open_items",
    "reset",
    "respond",
    "running",
    "stream",
    "stream_csv",
    "stream_template",
    "with_context",
]
