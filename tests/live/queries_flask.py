"""Queries that get stuck, by plain drivers, from Flask."""

import os
from functools import partial

import flask
import psycopg
import pymysql
from live.queries import SQL

from unspool.flask import stream
from unspool.sources import mysql, postgres, sqlite

app = flask.Flask(__name__)

connect = partial(psycopg.connect, os.environ["QUERIES_POSTGRES"])


@app.get("/copy")
def copy():
    return stream(postgres.copy(connect, SQL["postgres"]))


@app.get("/query")
def query():
    return stream(postgres.query(connect, SQL["postgres"]))


@app.get("/mysql")
def unbuffered():
    host, port, user, password = os.environ["QUERIES_MARIADB"].split()
    connect = partial(pymysql.connect, host=host, port=int(port), user=user, password=password)
    return stream(mysql.query(connect, SQL["mysql"]))


@app.get("/sqlite")
def file():
    return stream(sqlite.query(os.environ["QUERIES_SQLITE"], SQL["sqlite"]))
