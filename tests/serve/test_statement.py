"""The check of statements alone: what it refuses has no need of the database's locks."""

import pytest
from serve import hostile

from unspool.serve.problems import BadStatement, Forbidden
from unspool.serve.statement import check

REFUSED = [*hostile.WRITES, *hostile.FILES, *hostile.STATE]


def engine(app, source):
    return app.extensions["unspool.serve"].sources[source]


@pytest.mark.parametrize(("source", "sql"), hostile.each(REFUSED))
def test_what_does_more_than_to_read_is_refused_by_its_text(app, source, sql):
    with pytest.raises((Forbidden, BadStatement)):
        check(sql, engine(app, source))


@pytest.mark.parametrize(("source", "sql"), hostile.each(hostile.GOOD))
def test_what_reads_is_let_through_and_runs(client, app, source, sql):
    check(sql, engine(app, source))
    answer = client.get(f"/{source}/-/sql.ndjson", query_string={"sql": sql})
    assert answer.status_code == 200, answer.text
    assert answer.text.startswith("{")
