"""The contract of unspool.testing, served by Quart; below /sync, with plain rows."""

import quart
from live import contract

from unspool.quart import stream

app = quart.Quart(__name__)


def view(name, rows):
    async def answer():
        args = quart.request.args.to_dict()
        return await stream(rows(name, args, lambda: quart.request.args["id"]), "ndjson")

    return answer


async def database():
    return await stream(contract.database(quart.request.args), "ndjson")


async def log():
    return quart.jsonify(contract.events())


async def reset():
    contract.reset()
    return "ok"


async def small():
    return "ok"


for prefix, rows in ("", contract.AsyncRows), ("/sync", contract.Rows):
    for name in contract.STREAMS:
        app.add_url_rule(f"{prefix}/{name}", f"{prefix}{name}", view(name, rows))
    for answer in database, log, reset, small:
        app.add_url_rule(f"{prefix}/{answer.__name__}", f"{prefix}{answer.__name__}", answer)
