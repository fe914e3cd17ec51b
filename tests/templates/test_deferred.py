import sys
import threading
from types import SimpleNamespace

import pytest

from unspool.templates import Deferred, defer
from unspool.templates.deferred import deferred


def test_a_function_runs_on_another_thread_with_its_arguments():
    def where(*args, **kwargs):
        return threading.current_thread(), args, kwargs

    thread, args, kwargs = defer(where, 1, two=2).result()
    assert thread is not threading.current_thread()
    assert (args, kwargs) == ((1,), {"two": 2})


def test_what_fails_is_raised_where_the_value_is_wanted():
    with pytest.raises(ZeroDivisionError):
        defer(lambda: 1 // 0).result()


def test_an_async_function_has_a_loop_of_its_own_where_there_is_none():
    async def value(n):
        return n + 1

    assert defer(value, 1).result() == 2
    assert defer(value(2)).result() == 3


def test_only_what_is_awaitable_or_deferred_is_started():
    class Lazy:
        @property
        def __class__(self):
            raise AssertionError("asked")

    value = defer(lambda: 1)
    found = deferred({"a": value, "b": 5, "c": Lazy(), "d": lambda: 1})
    assert found == {"a": value}
    assert isinstance(value, Deferred)


@pytest.mark.parametrize("configured", [True, False])
def test_database_connections_of_django_are_closed_on_the_thread_that_opened_them(
    monkeypatch, configured
):
    closed = []
    connections = SimpleNamespace(close_all=lambda: closed.append(threading.current_thread()))
    settings = SimpleNamespace(configured=configured)
    monkeypatch.setitem(sys.modules, "django.db", SimpleNamespace(connections=connections))
    monkeypatch.setitem(sys.modules, "django.conf", SimpleNamespace(settings=settings))
    thread = defer(threading.current_thread).result()
    assert (thread in closed) == configured  # Other tests' threads may come to an end, too.
