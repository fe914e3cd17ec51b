"""A guard against answers that end cleanly although their stream failed."""

from __future__ import annotations

from unspool.asgi.shutdown import lifespan
from unspool.asgi.types import App, Message, Receive, Scope, Send
from unspool.errors import StreamError

__all__ = ["STATE", "State", "guard"]

STATE = "unspool"
"""Under this key of the scope, the guard and the answer know each other."""


class State:
    """Whether an answer of ours has begun and is not complete."""

    open = False
    error: BaseException | None = None


def guard(app: App) -> App:
    """`app`, outermost, with its failed streams kept from ending cleanly.

    Some middlewares (Starlette's BaseHTTPMiddleware) send the last message of an answer
    also when the application has failed. The guard withholds it and raises instead, which
    every server answers with a broken transfer, in HTTP/1.1 and HTTP/2. When the server
    stops, streams that still run are ended before the app learns of it: their sources are
    closed and their hooks told.

        app = unspool.asgi.guard(FastAPI(...))
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(app, scope, receive, send)
            return
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        state = scope[STATE] = State()

        async def send_unless_broken(message: Message) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body")
            if last and state.open:
                raise StreamError(
                    f"the stream failed ({state.error!r}), and a middleware tried to end its "
                    "answer."
                ) from state.error
            await send(message)

        await app(scope, receive, send_unless_broken)

    return guarded
