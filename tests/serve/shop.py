"""A database for the pages: large, failing, long-valued, and with names that mean something in
SQL, URLs, HTML and JSON."""

import duckdb

NAMES = [
    "we<b>ird",
    "a'b",
    'a"b',
    "a/b",
    "a.csv",
    "two words",
    "100%",
    "%41",
    "naïve 😀",
    "a?b#c&d=e",
    "back\\slash",
    "-",
    "{{ 7 * 7 }}",
    "..",
    "/a",
    "a//b",
    "a/",
    "-/sql",
]

COLUMNS = [
    "col<i>",
    'a"b',
    "x__eq",
    "per%cent & more=1",
    "_sort",
    "_column",
    "-column",
    "a:desc",
    "2",
    "1",
    "__proto__",
    "😀 é",
]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def make(path):
    """The tables of a shop, and one for each name."""
    with duckdb.connect(str(path)) as con:
        con.execute(TABLES)
        for n, name in enumerate(NAMES):
            con.execute(f"create table {quoted(name)} as select {n} as n")
        columns = ", ".join(f"{n} as {quoted(name)}" for n, name in enumerate(COLUMNS))
        con.execute(f"create table columns as select {columns} union all select {columns}")
    return path


TABLES = r"""
create table orders as
select i as id, ['Ann', 'Bob', 'Zoë', ''][1 + i % 4] as customer,
    cast(i * 3.7 as decimal(18, 2)) as total, timestamp '2024-01-01' + interval (i) minute as placed,
    case when i % 5 > 0 then 'note ' || i end as note, 9007199254740993 + i as big
from range(20000) t(i);
create view ten_million as
select i as id, 'name ' || i as name, i % 7 = 0 as paid from range(10000000) t(i);
create view endless as select i as id, 'name ' || i as name from range(300000000) t(i);
create table heavy as
select i as id, list_aggregate([md5(i || '.' || j) for j in range(600)], 'string_agg', '') as text
from range(3000) t(i);
create table failing as
select i as id, case when i = 3000 then 'infinity' else date '2013-01-01' + i::int end as v
from range(20000) t(i);
create table kinds as
select null as nothing, '' as empty, 'null' as text, repeat('long ', 100) || 'end' as long,
    'two' || chr(10) || 'lines' as lines, '\xC3\xA9'::blob as bytes, {'a': [1, 2.50::double], 'b': '<i>'} as nested,
    true as yes, 12345678901234567890123456789::hugeint as huge, date '2024-02-29' as day;
create table empty as select 1 as a where false;
"""
