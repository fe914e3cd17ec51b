"""Django, set up once for all tests of this process."""

import django
from django.conf import settings
from django.urls import clear_url_caches, path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ROOT_URLCONF=__name__,
    USE_I18N=True,
    LOGGING_CONFIG=None,
)
django.setup()

urlpatterns = []


def route(view):
    """Lets the root path be answered by `view`."""
    urlpatterns[:] = [path("", view)]
    clear_url_caches()
