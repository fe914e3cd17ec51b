"""The apps of the contract, with the live view."""

import os

from live import contract_django, contract_flask, contract_quart, contract_starlette

from unspool.asgi import from_wsgi, guard, live_view
from unspool.flask import LiveView
from unspool.live import peers
from unspool.wsgi import live_view as wsgi_live_view

peers._ANSWER_WITHIN_S = float(os.environ.get("ANSWER_WITHIN_S", peers._ANSWER_WITHIN_S))

flask = contract_flask.app
LiveView(flask, token=os.environ.get("LIVE_TOKEN"))
bridged = from_wsgi(flask)
starlette = live_view(contract_starlette.app)
guarded = guard(live_view(contract_starlette.fastapi))
django = live_view(contract_django.asgi)
django_wsgi = wsgi_live_view(contract_django.app)
quart = live_view(contract_quart.app)
