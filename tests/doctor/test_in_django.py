"""The layers inside Django, in this process; `test_examine.py` has whole projects."""

import gc

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import override_settings
from django_project import route

from unspool.doctor import examine

GZIP = "django.middleware.gzip.GZipMiddleware"
CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"


@pytest.mark.filterwarnings("ignore:Unclosed file")  # Django's own, of a client that left.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("handler", [WSGIHandler, ASGIHandler])
def test_the_gzip_is_named_and_the_handler_left_as_it_was(handler):
    route(lambda request: HttpResponse("whole"))
    with override_settings(MIDDLEWARE=[GZIP, CONDITIONAL]):
        app = handler()
        before = dict(vars(app))
        diagnosis = examine(app)
    assert {finding.layer for finding in diagnosis.findings} == {GZIP}
    assert [row[0] for row in diagnosis.rows][:2] == [GZIP, CONDITIONAL]
    assert vars(app) == before
    gc.collect()
