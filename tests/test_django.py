import asyncio
import gzip
import sqlite3
import threading
import time
import zlib

import django
import pytest
from asgi_cases import HEADERS, AsgiCases, expected
from asgi_client import AwaitedRows, PlainRows, ask, get
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection, connections
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import clear_url_caches, path
from django.utils import translation
from django.views.decorators.gzip import gzip_page
from helpers import encode

from unspool import Csv, NotIterable
from unspool.django import stream, stream_csv

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ROOT_URLCONF=__name__,
    USE_I18N=True,
    LOGGING_CONFIG=None,
)
django.setup()

urlpatterns = []

GZIP = "django.middleware.gzip.GZipMiddleware"
CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"


def route(view):
    urlpatterns[:] = [path("", view)]
    clear_url_caches()


def new_app(view, middleware=(), handler=ASGIHandler):
    route(view)
    with override_settings(MIDDLEWARE=list(middleware)):
        return handler()


class DjangoCases(AsgiCases):
    middleware = ()

    def view(self, rows, format, before, options):
        async def view(request):
            before()
            return stream(request, rows(), format, **options)

        return view

    def app(self, rows, format="ndjson", *, before=lambda: None, **options):
        return new_app(self.view(rows, format, before, options), self.middleware)


class TestAsyncView(DjangoCases):
    pass


class TestSyncView(DjangoCases):
    def view(self, rows, format, before, options):
        def view(request):
            before()
            return stream(request, rows(), format, **options)

        return view


def sync_only(get_response):
    return lambda request: get_response(request)


class TestUnderMiddlewares(DjangoCases):
    middleware = (GZIP, CONDITIONAL, f"{__name__}.sync_only", "django.middleware.common.CommonMiddleware")
    more_headers = (("vary", "Accept-Encoding"),)
