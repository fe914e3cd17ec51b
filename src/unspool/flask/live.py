"""The live view of a Flask app."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request

from unspool.flask.views import stream
from unspool.observe import unseen

__all__ = ["LiveView"]


class LiveView:
    """A Flask extension: a page with every stream of the app, in all its processes.

        LiveView(app, token=os.environ["LIVE_TOKEN"])      # http://localhost:8000/-/streams/

    The page, its JSON and the figures for Prometheus are routes of the app, so what the app does
    before each request is done before these too. See `unspool.live.view` for what there is.

    Args:
        app: the app; or none, and `init_app` later.
        prefix: the path of the page.
        metrics: the path of the figures for Prometheus; None for none. They need the extra `live`.
        token: what a request must bring, as Bearer token or as password of any user. Without one,
            only this machine is answered. Behind a proxy everything comes from this machine: set
            a token there.

    Raises:
        UsageError: paths that cannot be, an empty token.

    >>> app = Flask("example")
    >>> view = LiveView(app)
    >>> list(app.test_client().get("/-/streams/all.json").json)
    ['streams']
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        prefix: str = "/-/streams",
        metrics: str | None = "/-/metrics",
        token: str | None = None,
    ) -> None:
        from unspool.live import View  # noqa: PLC0415 (who shows nothing need not load it)

        self._view = View(prefix, metrics, token)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Adds the routes."""
        app.extensions["unspool.live"] = self
        paths = [self._view.prefix, f"{self._view.prefix}/", f"{self._view.prefix}/<path:rest>"]
        for path in [*paths, *filter(None, [self._view.metrics])]:
            app.add_url_rule(
                path, "unspool.live", self._answer, methods=["GET", "POST"], strict_slashes=True
            )

    def _answer(self, rest: str = "") -> Any:
        from unspool.live import Ask  # noqa: PLC0415

        headers = {name.lower(): value for name, value in request.headers.items()}
        reply = self._view.answer(
            Ask(request.method, request.path, headers, request.remote_addr or "")
        )
        if reply.events:
            with unseen():
                return stream(
                    self._view.events(), self._view.events_format, headers=dict(reply.headers)
                )
        return Response(reply.body, reply.status, reply.headers)
