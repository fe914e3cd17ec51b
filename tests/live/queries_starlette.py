"""Queries that get stuck, by asynchronous drivers, from Starlette."""

import os

import asyncpg
import psycopg
from live.queries import SQL
from starlette.applications import Starlette
from starlette.routing import Route

from unspool.sources import postgres
from unspool.starlette import stream

URL = os.environ["QUERIES_POSTGRES"]


def endpoint(call, connect):
    async def answer(request):
        return stream(call(await connect(URL), SQL["postgres"]))

    return answer


app = Starlette(
    routes=[
        Route("/copy", endpoint(postgres.copy, asyncpg.connect)),
        Route("/query", endpoint(postgres.query, asyncpg.connect)),
        Route("/psycopg-copy", endpoint(postgres.copy, psycopg.AsyncConnection.connect)),
        Route("/psycopg-query", endpoint(postgres.query, psycopg.AsyncConnection.connect)),
    ]
)
