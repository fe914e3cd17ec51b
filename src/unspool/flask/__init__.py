"""Streaming from Flask views.

`stream` and `stream_csv` send rows; `stream_template`, `stream_template_string` and
`stream_with_context` stand in for Flask's functions of these names. `compressed` compresses
what `stream_template` gives. `LiveView` shows the streams of an app.
"""

from unspool.flask.context import stream_with_context
from unspool.flask.live import LiveView
from unspool.flask.response import StreamResponse
from unspool.flask.templates import compressed, stream_template, stream_template_string
from unspool.flask.views import stream, stream_csv

__all__ = [
    "LiveView",
    "StreamResponse",
    "compressed",
    "stream",
    "stream_csv",
    "stream_template",
    "stream_template_string",
    "stream_with_context",
]
