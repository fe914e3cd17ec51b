"""Serves an app with Cheroot: run_cheroot.py PORT MODULE:APP"""

import sys
from importlib import import_module

from cheroot.wsgi import Server

port, app = sys.argv[1:]
module, name = app.split(":")
Server(("127.0.0.1", int(port)), getattr(import_module(module), name), numthreads=8).safe_start()
