"""Serves an app with Werkzeug's server for development: run_werkzeug.py PORT MODULE:APP [debug]"""

import sys
from importlib import import_module

from werkzeug.serving import run_simple

port, app, *options = sys.argv[1:]
module, name = app.split(":")
run_simple(
    "127.0.0.1",
    int(port),
    getattr(import_module(module), name),
    threaded=True,
    use_debugger="debug" in options,
)
