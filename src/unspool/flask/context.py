"""The context of a Flask request, kept alive while its answer is sent.

Each stream has one `contextvars.Context`, copied from the view's. Every step of the source
and its close run inside it, on whatever thread; nothing of it is ever visible outside, so
two streams on one thread cannot see each other's `request`. Flask runs the teardown
functions when the last push of a context is popped. We add a push that lives in the
stream's Context and that outlasts the server's: teardown runs once, after the last byte.
"""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from functools import update_wrapper
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any, TypeVar, overload

from flask import globals as flask_globals
from flask.ctx import AppContext
from flask.signals import got_request_exception

from unspool.drive import Chunks
from unspool.errors import NotIterable, OutsideContext, TooLate
from unspool.sources.rows import ContextRows

__all__ = ["ONE_CONTEXT", "HeldContext", "hold", "stream_with_context"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

# From Flask 3.2 on there is one context, which counts its pushes; before, there are two,
# each with a list of tokens.
ONE_CONTEXT = hasattr(AppContext, "from_environ")

_cv_app: Any = flask_globals._cv_app
_cv_request: Any = _cv_app if ONE_CONTEXT else flask_globals._cv_request


class HeldContext:
    """The current request, held until `release`. See `hold`."""

    def __init__(self) -> None:
        request_context: Any = _cv_request.get(None)
        if request_context is None or getattr(request_context, "request", None) is None:
            raise OutsideContext(
                "Working outside of request context: a stream needs the request that it answers. "
                "Call this inside a view function, or inside `with app.test_request_context():`."
            )
        self.context = contextvars.copy_context()
        self._request_context = request_context
        self._app_context: Any = _cv_app.get()
        self._app = self._app_context.app
        # Not through the property `session`, which counts as a use and sets `Vary: Cookie`.
        names = vars(request_context)
        self._session = names["_session" if "_session" in names else "session"]
        self._hold()
        self._forbid_late_writes()

    @property
    def g_values(self) -> list[Any]:
        """What the request keeps in `g`: the things its teardown functions will close."""
        return list(vars(self._app_context.g).values())

    @property
    def environ(self) -> dict[str, Any]:
        """The WSGI environment of the request."""
        return self._request_context.request.environ  # type: ignore[no-any-return]

    def release(self, error: BaseException | None = None) -> None:
        """Lets go. If the server has let go before, the teardown functions run now, here.

        `error` is what the source failed with. The teardown functions get it, and so does
        `got_request_exception`, unless Flask itself can still see the error.
        """
        self._session_guard.remove()
        if isinstance(error, Exception) and self._answered():
            self.context.run(self._send_failure, error)
        self.context.run(self._let_go, error)

    def _send_failure(self, error: Exception) -> None:
        got_request_exception.send(self._app, _async_wrapper=self._app.ensure_sync, exception=error)

    def _forbid_late_writes(self) -> None:
        self._session_guard = _SessionGuard(self._session, self._answered)
        functions = self._request_context._after_request_functions
        if not isinstance(functions, _AfterRequestFunctions):
            self._request_context._after_request_functions = _AfterRequestFunctions(
                functions, self._answered
            )

    def _answered(self) -> bool:
        """Whether the server has left the request: headers and session are sent then."""
        raise NotImplementedError

    def _hold(self) -> None:
        raise NotImplementedError

    def _let_go(self, error: BaseException | None) -> None:
        raise NotImplementedError


class _HeldTwo(HeldContext):
    """Flask 3.0 and 3.1: an app context and a request context.

    Both keep a list of tokens, pop from its end, and tear down with the last one. A token
    can only be used in the Context that made it. So ours, made in the stream's Context, go
    to the front: the server pops its own first, and ours stay for `release`.
    """

    def _hold(self) -> None:
        self.context.run(self._put_tokens)

    def _put_tokens(self) -> None:
        self._app_token = _cv_app.set(self._app_context)
        self._app_context._cv_tokens.insert(0, self._app_token)
        self._token = _OurToken((_cv_request.set(self._request_context), None))
        self._request_context._cv_tokens.insert(0, self._token)

    def _answered(self) -> bool:
        return all(isinstance(token, _OurToken) for token in self._request_context._cv_tokens)

    def _let_go(self, error: BaseException | None) -> None:
        try:
            _let_go_of(self._request_context, self._token, error)
        finally:
            _let_go_of(self._app_context, self._app_token, error)


class _OurToken(tuple[Any, None]):
    """A request context's token and app context, put there by us."""

    __slots__ = ()


def _let_go_of(context: Any, token: Any, error: BaseException | None) -> None:
    if context._cv_tokens == [token]:
        # The server's pushes are popped: ours is the last, and runs the teardown.
        _current(context)
        context.pop(error)
    else:
        context._cv_tokens.remove(token)


def _current(context: Any) -> None:
    """Makes `context` the innermost one, as `pop` wants it."""
    variable = _cv_app if isinstance(context, AppContext) else _cv_request
    variable.set(context)


class _HeldOne(HeldContext):
    """Flask 3.2: one context that counts its pushes and has one token.

    Our push makes the server's last pop leave the token in place, and the request would
    stay current on the server's thread. So the context's `pop` is stood in for: when only
    our pushes are left, the server's token is reset; the last of us takes a token of its
    own and pops for good.
    """

    def _hold(self) -> None:
        context = self._request_context
        if not hasattr(context, "_unspool_holds"):
            context._unspool_holds = 0
            _stand_in_for_pop(context)
        context._unspool_holds += 1
        context._push_count += 1

    def _answered(self) -> bool:
        context = self._request_context
        return bool(context._push_count == context._unspool_holds)

    def _let_go(self, error: BaseException | None) -> None:
        context = self._request_context
        context._unspool_holds -= 1
        if context._push_count > 1:
            context._push_count -= 1
            return
        context._cv_token = _cv_app.set(context)
        type(context).pop(context, error)


def _stand_in_for_pop(context: Any) -> None:
    def pop(exc: BaseException | None = None) -> None:
        if context._push_count == context._unspool_holds + 1 and context._unspool_holds:
            context._push_count -= 1
            _cv_app.reset(context._cv_token)
            context._cv_token = None
        else:
            type(context).pop(context, exc)

    context.pop = pop


def hold() -> HeldContext:
    """The request of the current view, held: it is not torn down before `release`.

    Raises:
        OutsideContext: no request is active.
    """
    return _HeldOne() if ONE_CONTEXT else _HeldTwo()


class _SessionGuard:
    """Turns a write to the session that can no longer be saved into an error."""

    def __init__(self, session: Any, answered: Callable[[], bool]) -> None:
        self._session = session
        self._answered = answered
        self._on_update = getattr(session, "on_update", None)
        if self._on_update is not None:
            session.on_update = self._updated

    def _updated(self, session: Any) -> None:
        if self._answered():
            raise TooLate(
                "the session was changed while the answer was being sent, after its cookie had "
                "gone out: the change would be lost. Change the session in the view, before "
                "you hand over the stream."
            )
        self._on_update(session)  # type: ignore[misc]

    def remove(self) -> None:
        if self._on_update is not None and self._session.on_update == self._updated:
            self._session.on_update = self._on_update


class _AfterRequestFunctions(list[Any]):
    """What `after_this_request` appends to; refuses what would never be called."""

    def __init__(self, functions: Iterable[Any], answered: Callable[[], bool]) -> None:
        super().__init__(functions)
        self._answered = answered

    def append(self, function: Any) -> None:
        if self._answered():
            raise TooLate(
                "after_this_request() was called while the answer was being sent, after its "
                "headers had gone out: the function would never run. Call it in the view, "
                "before you hand over the stream."
            )
        super().append(function)


@overload
def stream_with_context(generator_or_function: Iterator[T]) -> Iterator[T]: ...


@overload
def stream_with_context(
    generator_or_function: Callable[..., Iterator[T]],
) -> Callable[..., Iterator[T]]: ...


def stream_with_context(generator_or_function: Any) -> Any:
    """An iterator (or generator function) with the current request alive while it runs.

    Stands in for `flask.stream_with_context`. Gives the same items, one at a time. What is
    better: the teardown functions run exactly once, after the last item, and the iterator
    may be pulled from any thread, be closed early or never, or be interleaved with others.

    Raises:
        OutsideContext: no request is active.
        NotIterable: an async generator; Flask's servers cannot run it.

    >>> import flask
    >>> app = flask.Flask("example")
    >>> @app.get("/hello")
    ... def hello():
    ...     def generate():
    ...         yield "Hello "
    ...         yield flask.request.args["name"]
    ...     return stream_with_context(generate())
    >>> app.test_client().get("/hello?name=World").text
    'Hello World'
    """
    if (
        isinstance(generator_or_function, AsyncIterable)
        or isasyncgenfunction(generator_or_function)
        or iscoroutinefunction(generator_or_function)
    ):
        raise NotIterable(
            "stream_with_context() takes a plain iterator or generator function; got an "
            f"asynchronous one, {generator_or_function!r}."
        )
    try:
        iterator = iter(generator_or_function)
    except TypeError:

        def decorator(*args: Any, **kwargs: Any) -> Any:
            return stream_with_context(generator_or_function(*args, **kwargs))

        return update_wrapper(decorator, generator_or_function)
    held = hold()
    rows = ContextRows(iterator, held.context)
    return Chunks(rows, rows, lambda _, error: held.release(error))
