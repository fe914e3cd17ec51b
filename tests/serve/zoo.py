"""One table in every database that is served, and what its rows are in plain Python."""

import datetime
import random
import sqlite3
from decimal import Decimal

COLUMNS = {
    # Column: types in DuckDB, SQLite, PostgreSQL, MySQL.
    "id": ("BIGINT", "INTEGER", "bigint", "bigint"),
    "name": ("VARCHAR", "TEXT", "text", "varchar(100)"),
    "price": ("DECIMAL(10,2)", "DECIMAL(10,2)", "numeric(10,2)", "decimal(10,2)"),
    "ratio": ("DOUBLE", "DOUBLE", "double precision", "double"),
    "small": ("FLOAT", "REAL", "real", "float"),
    "day": ("DATE", "DATE", "date", "date"),
    "at": ("TIMESTAMP", "DATETIME", "timestamp", "datetime"),
    "flag": ("BOOLEAN", "BOOLEAN", "boolean", "boolean"),
}
NAMES = list(COLUMNS)
ENGINES = ("duckdb", "files", "sqlite", "postgres", "mysql")

WORDS = [
    "", "a", "A", "Ann", "ann", "ANN", "Zoë", "zoë", "a%b", "a_b", "100%", "it's", 'say "hi"', "a,b",
    "back\\slash", "x ", " x", "🦓", "été", "b\tc", "line\nbreak", "NULL", "0", "-1", "ANNA", "Hannah",
]  # fmt: skip


def rows():
    """The rows: every word, and NULL in every column."""
    choose = random.Random(7)
    made = []
    for number in range(1, 201):
        row = (
            number if number % 50 else -number * 10**15,
            WORDS[number % len(WORDS)],
            Decimal(choose.randint(-500, 500)) / 4,
            choose.choice([0.1, 1 / 3, -2.5, 1e300, 0.0]),
            choose.choice([0.5, 0.25, -8.0]),
            datetime.date(2013, 1, 1) + datetime.timedelta(choose.randint(-40, 400)),
            datetime.datetime(2013, 1, 1, 12) + datetime.timedelta(minutes=choose.randint(0, 9999)),
            choose.random() < 0.5,
        )
        made.append(
            tuple(v if at == 0 or choose.random() > 0.1 else None for at, v in enumerate(row))
        )
    return made


ROWS = rows()

ODD = [
    "a__b",
    "a__eq",
    "x%y",
    'q"uote',
    "back`tick",
    "sp ace",
    "_limit",
    "ü",
    "?",
    "a:desc",
    "%s",
    "select",
]
"""Names of columns that get in the way of something."""


def value_for(engine, value):
    if engine == "sqlite" and isinstance(value, Decimal):
        return float(value)
    if engine == "sqlite" and isinstance(value, datetime.date):
        return str(value)
    return value


def create(execute, engine, mark, quote):
    """Makes the tables by `execute(sql, rows)`."""
    at = {"duckdb": 0, "sqlite": 1, "postgres": 2, "mysql": 3}[engine]
    columns = ", ".join(f"{quote(name)} {kinds[at]}" for name, kinds in COLUMNS.items())
    execute(f"CREATE TABLE zoo ({columns})", None)
    marks = ", ".join([mark] * len(COLUMNS))
    execute(
        f"INSERT INTO zoo VALUES ({marks})",
        [tuple(value_for(engine, value) for value in row) for row in ROWS],
    )
    text = COLUMNS["name"][at]
    odd = ", ".join(f"{quote(name)} {text}" for name in ODD)
    execute(
        f"CREATE TABLE {quote('o d/d.%')} ({odd})".replace("%", "%" if mark == "?" else "%"), None
    )
    values = ", ".join("'" + f"{name}!".replace("'", "''") + "'" for name in ODD)
    execute(f"INSERT INTO {quote('o d/d.%')} VALUES ({values})", None)
    execute("CREATE VIEW big AS SELECT * FROM zoo WHERE id > 100", None)


def make_duckdb(path):
    import duckdb

    with duckdb.connect(str(path)) as connection:

        def execute(sql, rows):
            connection.executemany(sql, rows) if rows else connection.execute(sql)

        create(execute, "duckdb", "?", double)
        folder = path.parent / "files"
        folder.mkdir()
        connection.execute(f"COPY zoo TO '{folder}/zoo.parquet'")
        connection.execute(f"COPY (SELECT * FROM big) TO '{folder}/big.csv'")
        connection.execute(f"""COPY "o d/d.%" TO '{folder}/odd [1].parquet'""")


def make_sqlite(path):
    connection = sqlite3.connect(path)

    def execute(sql, rows):
        connection.executemany(sql, rows) if rows else connection.execute(sql)

    create(execute, "sqlite", "?", double)
    connection.execute("CREATE VIRTUAL TABLE found USING fts5 (text)")
    connection.execute("INSERT INTO found VALUES ('a needle'), ('hay')")
    connection.commit()
    connection.close()


def make_postgres(url):
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:

        def execute(sql, rows):
            cursor.executemany(sql, rows) if rows else cursor.execute(sql)

        create(execute, "postgres", "%s", double)
        execute("CREATE SEQUENCE s", None)


def make_mysql(settings):
    import pymysql

    connection = pymysql.connect(**settings, autocommit=True)

    def execute(sql, rows):
        with connection.cursor() as cursor:
            cursor.executemany(sql, rows) if rows else cursor.execute(sql)

    create(execute, "mysql", "%s", lambda name: "`" + name.replace("`", "``") + "`")
    connection.close()


def double(name):
    return '"' + name.replace('"', '""') + '"'


# The reference --------------------------------------------------------------------------------

COMPARE = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "contains": lambda a, b: b in a,
    "startswith": lambda a, b: a.startswith(b),
    "in": lambda a, b: a in b,
}

PARSE = {
    "id": int,
    "name": str,
    "price": Decimal,
    "ratio": float,
    "small": float,
    "day": datetime.date.fromisoformat,
    "at": datetime.datetime.fromisoformat,
    "flag": lambda text: {"true": True, "false": False, "1": True, "0": False}[text],
}


def met(column, operator, value):
    """The ids of the rows that meet a condition, in plain Python."""
    at, parse = NAMES.index(column), PARSE[column]
    found = set()
    for row in ROWS:
        if operator == "isnull":
            meets = (row[at] is None) == (value == "1")
        elif row[at] is None:
            meets = False
        else:
            wanted = (
                [parse(each) for each in value.split(",")] if operator == "in" else parse(value)
            )
            meets = COMPARE[operator](row[at], wanted)
        if meets:
            found.add(row[0])
    return found
