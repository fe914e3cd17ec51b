import flask
import pytest


class Life:
    """What happened to a request, in order."""

    def __init__(self):
        self.log = []

    def __call__(self, event):
        self.log.append(event)

    def count(self, event):
        return self.log.count(event)


@pytest.fixture
def life():
    return Life()


@pytest.fixture
def app(life):
    app = flask.Flask(__name__)
    app.secret_key = "test"
    app.config["TESTING"] = False
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.teardown_request(lambda error: life(("teardown_request", error and str(error))))
    app.teardown_appcontext(lambda error: life(("teardown_appcontext", error and str(error))))
    return app


@pytest.fixture
def call(app):
    """Calls the app as a WSGI server does, and leaves the iteration to the test."""

    def call(path="/", method="GET", **environ):
        from werkzeug.test import EnvironBuilder

        started = []

        def start_response(status, headers, exc_info=None):
            started.append((status, headers))
            return lambda data: None

        builder = EnvironBuilder(path, method=method, environ_overrides=environ)
        iterable = app(builder.get_environ(), start_response)
        status, headers = started[-1]
        return status, headers, iterable

    return call
