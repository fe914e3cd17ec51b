"""What ASGI servers do to streams that nothing can be done about, said once.

A scope does not name its server. So it is looked for where it shows: in the tasks of the
running loop, and in its own state.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from unspool.connection import warn_once

__all__ = ["warn_of_server"]

# Longer than hypercorn's default, somebody has thought about it.
_SHORT_GRACE_S = 3.0

_looked = False


def warn_of_server() -> None:
    """Warns of the server that runs this loop, the first time in the process."""
    global _looked  # noqa: PLW0603
    if _looked:
        return
    _looked = True
    grace_s = _hypercorn_grace_s()
    if grace_s is not None and grace_s <= _SHORT_GRACE_S:
        warn_once(
            f"hypercorn cuts what is still being sent {grace_s:g} s after it was told to stop: "
            "long streams break at each restart. Set --graceful-timeout higher."
        )
    if _daphne_runs():
        message = (
            "daphne takes all that an app sends into memory, however slowly the client reads: a "
            "long stream can fill it. Use another server (uvicorn, hypercorn, granian)."
        )
        warn_once(message)
        logging.getLogger("unspool").warning(message)  # Twisted shows no warnings.


def _hypercorn_grace_s() -> float | None:
    """The `graceful_timeout` of the hypercorn that runs this loop."""
    for task in asyncio.all_tasks():
        coroutine: Any = task.get_coro()
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and frame.f_globals.get("__name__", "").startswith("hypercorn."):
            config = frame.f_locals.get("config")
            if hasattr(config, "graceful_timeout"):
                return float(config.graceful_timeout)
    return None


def _daphne_runs() -> bool:
    reactor = sys.modules.get("twisted.internet.reactor")
    return "daphne.server" in sys.modules and bool(getattr(reactor, "running", False))
