"""Django query sets, on PostgreSQL."""

import asyncio
from urllib.parse import urlsplit

import psycopg
import pytest
from asgi_client import ask
from django.core.handlers.asgi import ASGIHandler
from django.db import connections, models
from django.db.models import Count, F, Value
from django.db.models.functions import Upper
from django.test import Client
from django_project import route
from sources.reading import answer, drained, memory, until

from unspool.django import stream


class Many(models.Model):  # noqa: DJ008
    name = models.TextField()
    digest = models.TextField()
    part = models.FloatField()

    class Meta:
        app_label = "rows"
        managed = False
        db_table = "many"


@pytest.fixture
def postgres(postgres_url):
    """The alias of a connection to PostgreSQL, with `many` in it."""
    url = urlsplit(postgres_url)
    settings = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": url.username,
        "HOST": url.hostname,
        "PORT": url.port,
    }
    connections.settings["rows"] = {**connections.settings["default"], **settings, "PASSWORD": ""}
    yield "rows"
    connections["rows"].close()
    del connections["rows"], connections.settings["rows"]


@pytest.fixture
def few(postgres):
    return Many.objects.using(postgres).filter(id__lt=3).order_by("id")


def test_instances_become_the_values_of_their_fields(few):
    assert answer(few) == (
        b"id,name,digest,part\r\n"
        b"1,name 1,c4ca4238a0b923820dcc509a6f75849b,0.25\r\n"
        b"2,name 2,c81e728d9d4c2f636f067f89cc14862c,0.5\r\n"
    )


CASES = {
    "values": (lambda few: few.values("name", "id"), b"name,id\r\nname 1,1\r\nname 2,2\r\n"),
    "list": (lambda few: few.values_list("id", "name"), b"id,name\r\n1,name 1\r\n2,name 2\r\n"),
    "flat": (lambda few: few.values_list("id", flat=True), b"id\r\n1\r\n2\r\n"),
    "named": (lambda few: few.values_list("id", named=True), b"id\r\n1\r\n2\r\n"),
    "expression": (
        lambda few: few.values_list("id", Upper("name")),
        b"id,upper1\r\n1,NAME 1\r\n2,NAME 2\r\n",
    ),
    "only": (lambda few: few.only("name"), b"id,name\r\n1,name 1\r\n2,name 2\r\n"),
    "defer": (lambda few: few.defer("digest", "part"), b"id,name\r\n1,name 1\r\n2,name 2\r\n"),
    "annotate": (
        lambda few: few.only("id").annotate(twice=F("id") * 2),
        b"id,twice\r\n1,2\r\n2,4\r\n",
    ),
    "group": (
        lambda few: few.order_by().values(one=Value(1)).annotate(n=Count("id")),
        b"one,n\r\n1,2\r\n",
    ),
    "slice": (lambda few: few.values("id")[:1], b"id\r\n1\r\n"),
    "union": (
        lambda few: few.order_by().values("id").union(few.order_by().values("id")).order_by("id"),
        b"id\r\n1\r\n2\r\n",
    ),
    "none": (lambda few: few.filter(id__lt=0).values("id"), b"id\r\n"),
}


@pytest.mark.parametrize("case", CASES)
def test_query_sets_of_every_kind(case, few):
    change, expected = CASES[case]
    assert answer(change(few)) == expected


def test_memory_does_not_grow_with_the_rows(postgres):
    with memory() as grown:
        assert drained(Many.objects.using(postgres).filter(id__lte=80_000)) > 4_000_000
    assert grown[0] < 12


def test_the_server_does_not_store_the_result_first(postgres):
    # In autocommit, Django's own iterator() would have all rows made before the first.
    sql = {"slow": "wait(CAST(id AS int), 2000)"}
    rows = Many.objects.using(postgres).extra(select=sql).values("slow")
    answered = iter(rows_of(rows))
    assert next(answered)[0] == (1,)
    answered.close()


def rows_of(queryset):
    from unspool.sources.django import reader_of

    reader = reader_of(queryset)
    try:
        while batch := reader.read_batch(10):
            yield batch
    finally:
        reader.close()


def test_nothing_is_left_open(postgres, few):
    answer(few)
    assert not connections[postgres].in_atomic_block
    assert connections[postgres].get_autocommit()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_view_streams_a_query_set(is_async, postgres):
    rows = Many.objects.using(postgres).filter(id__lte=3000).order_by("id").values("id")
    expected = b"id\r\n" + b"".join(b"%d\r\n" % n for n in range(1, 3001))

    def view(request):
        return stream(request, rows)

    route(view)
    if is_async:
        answered = asyncio.run(ask(ASGIHandler()))
        assert answered.error is None
        body = answered.body
    else:
        body = b"".join(Client().get("/").streaming_content)
    assert body == expected


def test_under_asgi_a_stuck_query_ends_when_the_client_leaves(postgres, postgres_url):
    sql = {"slow": "wait(CAST(id AS int), 1500)"}
    route(lambda request: stream(request, Many.objects.using(postgres).extra(select=sql)))
    with psycopg.connect(postgres_url, autocommit=True) as watcher:

        def active():
            found = watcher.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
                " AND backend_type = 'client backend' AND pid != pg_backend_pid()"
            )
            return found.fetchone()[0]

        answered = asyncio.run(ask(ASGIHandler(), leave_after_s=2))
        assert answered.status == 200
        until(lambda: not active())
