"""What may be served, how it is called, and what is said of what may not."""

import gzip
import shutil

import pytest
from serve import zoo

from unspool.cli import main
from unspool.cli.serve import _hosts
from unspool.errors import UsageError
from unspool.serve.sources import Catalog


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zoo.make_duckdb(tmp_path / "zoo.duckdb")
    zoo.make_sqlite(tmp_path / "lite.db")
    (tmp_path / "a.csv").write_text("id,name\n1,Ann\n")
    (tmp_path / "b.tsv").write_text("id\tname\n1\tAnn\n")
    (tmp_path / "c.ndjson").write_text('{"id":1,"name":"Ann"}\n')
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(b"id,name\n1,Ann\n"))
    (tmp_path / "with=sign.csv").write_text("id\n1\n")
    (tmp_path / "it's [odd] *?.csv").write_text("id,name\n1,Ann\n")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "name", "kind", "table"),
    [
        ("zoo.duckdb", "zoo", "duckdb", "zoo"),
        ("lite.db", "lite", "sqlite", "zoo"),
        ("x=lite.db", "x", "sqlite", "zoo"),
        ("a.csv", "a", "files", "a"),
        ("b.tsv", "b", "files", "b"),
        ("c.ndjson", "c", "files", "c"),
        ("d.csv.gz", "d", "files", "d"),
        ("files/zoo.parquet", "zoo", "files", "zoo"),
        ("my.name-1=a.csv", "my.name-1", "files", "a"),
        ("with=sign.csv", "with=sign", "files", "with=sign"),
        ("x=with=sign.csv", "x", "files", "with=sign"),
        ("it's [odd] *?.csv", "it's [odd] *?", "files", "it's [odd] *?"),
        ("files", "files", "files", "zoo"),
        ("files/", "files", "files", "zoo"),
    ],
)
def test_a_source_is_called_as_its_file_or_as_is_said(folder, source, name, kind, table):
    catalog = Catalog([source])
    (engine,) = catalog.sources.values()
    assert (list(catalog.sources), engine.kind) == ([name], kind)
    assert table in [each.name for each in engine.tables()]
    reader = engine.query(*engine.select(_everything(engine.table(table)), ()), 5)
    assert len(reader.read_batch(1)) >= 1
    reader.close()
    catalog.close()


def _everything(table):
    from unspool.serve.selection import Selection

    return Selection.of(table, [])


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        ([], "nothing to serve"),
        (["none.duckdb"], "none.duckdb does not exist"),
        (["x=none.duckdb"], "none.duckdb does not exist"),
        (["empty.sqlite"], "is neither a database"),
        (["text.txt"], "is neither a database"),
        (["broken.parquet"], "cannot be read"),
        (["broken.duckdb"], "cannot be opened"),
        (["broken.sqlite"], "cannot be read"),
        (["nothing"], "has no files such as"),
        (["twice"], "two files for the table 'a'"),
        (["a.csv", "a=b.tsv"], "two sources are called 'a'"),
        (["-=a.csv"], "cannot be called '-'"),
        (["..=a.csv"], "cannot be called '..'"),
        (["oracle://u:secret@h/db"], "oracle://h/db is none of"),
        (["postgresql://u:secret@127.0.0.1:1/db"], "postgresql://127.0.0.1:1/db cannot be read"),
        (["mysql://u:secret@127.0.0.1:1/db"], "mysql://127.0.0.1:1/db cannot be read"),
        (["x=mysql://u:secret@127.0.0.1:1"], "names no database"),
    ],
)
def test_what_cannot_be_served_is_told_without_its_password(folder, capsys, sources, says):
    (folder / "empty.sqlite").write_bytes(b"")
    (folder / "text.txt").write_text("text")
    (folder / "broken.parquet").write_bytes(b"PAR1 but not really")
    (folder / "broken.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 4000)
    (folder / "broken.duckdb").write_bytes(b"12345678DUCK" + b"x" * 20_000)
    (folder / "nothing").mkdir()
    (folder / "twice").mkdir()
    shutil.copy("a.csv", "twice/a.csv")
    shutil.copy("b.tsv", "twice/a.tsv")
    with pytest.raises(UsageError) as error:
        Catalog(sources)
    assert says in str(error.value)
    assert "secret" not in str(error.value)
    if sources:
        assert main(["serve", "--port", "0", "--", *sources]) == 2
        printed = capsys.readouterr()
        assert says in printed.err
        assert printed.out == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_others_may_not_come_in_without_a_token(folder, capsys, monkeypatch, host):
    monkeypatch.delenv("UNSPOOL_TOKEN", raising=False)
    assert main(["serve", "--host", host, "a.csv"]) == 2
    assert "Set a token" in capsys.readouterr().err
    assert _hosts(host, "secret") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_may_and_by_its_names_alone(host):
    assert _hosts(host, None) == {"localhost", "127.0.0.1", "::1", host}


@pytest.mark.parametrize(
    "options",
    [["--max-rows", "0"], ["--max-seconds", "-1"], ["--token", ""], ["--max-streams", "0"]],
)
def test_options_that_cannot_be_are_errors_of_usage(folder, capsys, options):
    assert main(["serve", "a.csv", *options]) == 2
    assert capsys.readouterr().err.startswith("unspool serve: ")


def test_a_table_that_is_made_meanwhile_is_seen_before_long(folder, monkeypatch):
    import sqlite3

    from unspool.serve.engines import base

    monkeypatch.setattr(base, "_CATALOG_AGE_S", 0)
    engine = Catalog(["lite.db"]).sources["lite"]
    with sqlite3.connect("lite.db") as connection:
        connection.execute("CREATE TABLE newer (a)")
    connection.close()
    assert engine.table("newer").columns[0].name == "a"
    assert engine.table("newer").columns[0].type == "ANY"
