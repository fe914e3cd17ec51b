"""The contract of unspool.testing, served by Starlette; below /sync, by plain functions.

`guarded` is a FastAPI app under two middlewares that would end a failed answer cleanly.
"""

from fastapi import FastAPI
from live import contract
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

from unspool.starlette import guard, stream


def awaited(name):
    async def endpoint(request):
        return stream(contract.AsyncRows(name, dict(request.query_params)), "ndjson")

    return endpoint


def plain(name):
    def endpoint(request):
        return stream(contract.Rows(name, dict(request.query_params)), "ndjson")

    return endpoint


async def database(request):
    return stream(contract.database(request.query_params), "ndjson")


async def log(request):
    return JSONResponse(contract.events())


async def reset(request):
    contract.reset()
    return PlainTextResponse("ok")


async def small(request):
    return PlainTextResponse("ok")


OTHERS = [
    Route("/database", database),
    Route("/log", log),
    Route("/reset", reset),
    Route("/small", small),
]


def routes(endpoint):
    return [Route(f"/{name}", endpoint(name)) for name in contract.STREAMS] + OTHERS


app = Starlette(routes=[Mount("/sync", routes=routes(plain)), *routes(awaited)])


async def passing_on(request, call_next):
    return await call_next(request)


fastapi = FastAPI(routes=app.routes)
fastapi.middleware("http")(passing_on)
fastapi.middleware("http")(passing_on)
guarded = guard(fastapi)
