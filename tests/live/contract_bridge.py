"""The contract as served by Flask, on an ASGI server."""

from live import contract_flask

from unspool.asgi import from_wsgi

app = from_wsgi(contract_flask.app)
