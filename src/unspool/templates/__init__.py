"""Templates as streams.

`Streaming` is an extension of Jinja2 whose tags have parts of a page arrive late, and `defer`
starts what they wait for; `SCRIPT_HASH` allows the script that fills them in where the browser
cannot. `TemplateStream` sends what a template gives in chunks of a good size.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unspool.templates.stream import TemplateStream

if TYPE_CHECKING:
    from unspool.templates.board import SCRIPT, SCRIPT_HASH
    from unspool.templates.deferred import Deferred, defer
    from unspool.templates.tags import Streaming

__all__ = ["SCRIPT", "SCRIPT_HASH", "Deferred", "Streaming", "TemplateStream", "defer"]

# What needs Jinja2, or threads, is imported on use.
_ELSEWHERE = {
    "SCRIPT": "board",
    "SCRIPT_HASH": "board",
    "Deferred": "deferred",
    "Streaming": "tags",
    "defer": "deferred",
}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ELSEWHERE[name]}"), name)
