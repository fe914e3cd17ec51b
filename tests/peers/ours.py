"""A pytest plugin that puts our functions in the place of a peer's (PEER says whose)."""

import os


def pytest_configure(config):
    {"flask": replace_flasks, "jinja2": replace_jinjas}[os.environ["PEER"]]()


def replace_flasks():
    import flask
    import flask.helpers
    import flask.templating

    import unspool.flask as ours

    for name in ("stream_with_context", "stream_template", "stream_template_string"):
        for module in (flask, flask.helpers, flask.templating):
            if hasattr(module, name):
                setattr(module, name, getattr(ours, name))


def replace_jinjas():
    import jinja2

    from unspool.templates import TemplateStream

    def stream(template, *args, **kwargs):
        return TemplateStream(template.generate(*args, **kwargs))

    jinja2.Template.stream = stream
