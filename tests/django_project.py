"""Django, set up once for all tests of this process."""

import django
import jinja2
from django.conf import settings
from django.urls import clear_url_caches, path


def extra(request):
    """A context processor."""
    return {"extra": request.method}


def jinja2_backend(name, **options):
    backend = "django.template.backends.jinja2.Jinja2"
    return {"NAME": name, "BACKEND": backend, "OPTIONS": options}


PAGES = ["unspool.templates.Streaming"]
A_HTML = "{{ request.path }} {{ extra }} {{ n }} {{ csrf_input }}"

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ROOT_URLCONF=__name__,
    SECRET_KEY="test",
    TEMPLATES=[
        {"NAME": "django", "BACKEND": "django.template.backends.django.DjangoTemplates"},
        jinja2_backend(
            "plain",
            context_processors=[f"{__name__}.extra"],
            loader=jinja2.DictLoader({"a.html": A_HTML}),
        ),
        jinja2_backend("awaited", enable_async=True),
        jinja2_backend("plain pages", extensions=PAGES),
        jinja2_backend("awaited pages", extensions=PAGES, enable_async=True),
    ],
    USE_I18N=True,
    LOGGING_CONFIG=None,
)
django.setup()

urlpatterns = []


def route(view):
    """Lets the root path be answered by `view`."""
    urlpatterns[:] = [path("", view)]
    clear_url_caches()
