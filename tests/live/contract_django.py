"""The contract of unspool.testing, served by Django: `app` over WSGI, `asgi` over ASGI.

Below /sync, by plain views and rows: over WSGI there are no others.
"""

from wsgiref.validate import validator

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, JsonResponse
from django.urls import include, path
from live import contract

from unspool.django import stream

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)
django.setup()


def plain(name):
    def view(request):
        return stream(request, contract.Rows(name, request.GET.dict()), "ndjson")

    return view


def awaited(name):
    async def view(request):
        return stream(request, contract.AsyncRows(name, request.GET.dict()), "ndjson")

    return view


def database(request):
    return stream(request, contract.database(request.GET), "ndjson")


def log(request):
    return JsonResponse(contract.events(), safe=False)


def reset(request):
    contract.reset()
    return HttpResponse("ok")


def small(request):
    return HttpResponse("ok")


def routes(view):
    streams = [path(name, view(name)) for name in contract.STREAMS]
    others = [path(each.__name__, each) for each in (database, log, reset, small)]
    return streams + others


urlpatterns = [path("sync/", include(routes(plain))), path("", include(routes(awaited)))]

app = WSGIHandler()
validated = validator(app)
asgi = ASGIHandler()
