"""SQLAlchemy, Core and ORM, on PostgreSQL, MariaDB and SQLite."""

import asyncio
import gc

import pytest
import sqlalchemy as sa
from sources.reading import (
    AT_ONCE_S,
    aabandon,
    aanswer,
    abandon,
    aleave,
    answer,
    drained,
    failing,
    leave,
    memory,
    until,
)
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    load_only,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from unspool.sources import sqlalchemy as source


class Base(DeclarativeBase):
    pass


class Many(Base):
    __tablename__ = "many"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    digest: Mapped[str] = mapped_column(deferred=True)
    part: Mapped[float]


FEW = sa.select(Many.id, Many.name).where(Many.id < 3).order_by(Many.id)
ENTITIES = sa.select(Many).where(Many.id < 3).order_by(Many.id)

AS_CSV = b"id,name\r\n1,name 1\r\n2,name 2\r\n"
ENTITIES_AS_CSV = b"id,name,part\r\n1,name 1,0.25\r\n2,name 2,0.5\r\n"


@pytest.fixture(params=["psycopg", "psycopg2", "pymysql"])
def engine(request):
    if request.param == "pymysql":
        settings = request.getfixturevalue("mariadb")
        url = "mysql+pymysql://{user}:{password}@{host}:{port}/{database}".format(**settings)
    else:
        url = request.getfixturevalue("postgres_url").replace("://", f"+{request.param}://")
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres(postgres_url):
    engine = sa.create_engine(postgres_url.replace("://", "+psycopg://"))
    yield engine
    engine.dispose()


@pytest.fixture(params=["asyncpg", "psycopg"])
def async_url(request, postgres_url):
    return postgres_url.replace("://", f"+{request.param}://")


@pytest.fixture
def sqlite(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(
            [Many(id=n, name=f"name {n}", digest="x" * 50, part=n / 4) for n in range(1, 2001)]
        )
        session.commit()
    yield engine
    engine.dispose()


def active(engine):
    with engine.connect() as connection:
        if engine.dialect.name == "mysql":
            sql = "SELECT count(*) FROM information_schema.processlist WHERE info IS NOT NULL AND id != connection_id()"
        else:
            sql = "SELECT count(*) FROM pg_stat_activity WHERE state != 'idle' AND backend_type = 'client backend' AND pid != pg_backend_pid()"
        return connection.execute(sa.text(sql)).scalar()


def test_an_engine_lends_a_connection(engine):
    assert answer(source.query(engine, FEW)) == AS_CSV
    assert engine.pool.checkedout() == 0


def test_a_connection_stays_open(engine):
    with engine.connect() as connection:
        rows = source.query(connection, "SELECT id, name FROM many WHERE id < :n", {"n": 2})
        assert answer(rows) == b"id,name\r\n1,name 1\r\n"
        assert connection.execute(sa.text("SELECT 7")).scalar() == 7


def test_entities_become_rows_of_what_they_have_loaded(engine):
    with Session(engine) as session:
        assert answer(source.query(session, ENTITIES)) == ENTITIES_AS_CSV
        assert answer(session.execute(ENTITIES)) == ENTITIES_AS_CSV
        assert answer(session.scalars(ENTITIES)) == ENTITIES_AS_CSV
        assert answer(session.query(Many).filter(Many.id < 3).order_by(Many.id)) == ENTITIES_AS_CSV


def test_only_what_was_asked_for_is_loaded(sqlite):
    with Session(sqlite) as session:
        statement = ENTITIES.options(load_only(Many.name))
        assert answer(source.query(session, statement)) == b"id,name\r\n1,name 1\r\n2,name 2\r\n"


def test_entities_beside_other_columns_have_its_name(sqlite):
    with Session(sqlite) as session:
        statement = sa.select(Many.id.label("n"), Many).where(Many.id == 1)
        body = answer(source.query(session, statement), "ndjson")
    assert body == b'{"n":1,"Many.id":1,"Many.name":"name 1","Many.part":0.25}\n'


@pytest.mark.parametrize(
    ("statement", "header"), [(FEW, b"id,name\r\n"), (ENTITIES, b"id,name,part\r\n")]
)
def test_no_rows_make_a_header_alone(statement, header, sqlite):
    with Session(sqlite) as session:
        assert answer(source.query(session, statement.where(Many.id < 0))) == header


def test_scalars_and_mappings_are_recognised(sqlite):
    with Session(sqlite) as session:
        assert (
            answer(session.scalars(sa.select(Many.id).limit(2)), columns=["n"])
            == b"n\r\n1\r\n2\r\n"
        )
        assert answer(session.execute(FEW).mappings()) == AS_CSV
        assert answer(session.query(Many.id, Many.name).filter(Many.id < 3)) == AS_CSV


def test_a_result_is_closed(sqlite):
    with sqlite.connect() as connection:
        result = connection.execute(FEW)
        assert answer(result) == AS_CSV
        assert result.closed


def test_factories_and_scoped_sessions(sqlite):
    for bind in (sessionmaker(sqlite), scoped_session(sessionmaker(sqlite)), Session(sqlite)):
        assert answer(source.query(bind, FEW)) == AS_CSV
        if hasattr(bind, "close"):
            bind.close()
    assert sqlite.pool.checkedout() == 0


def test_what_is_wrong_with_a_statement_is_raised_as_sqlalchemy_raises_it(engine):
    sent, error = failing(source.query(engine, "SELECT nothing FROM many"))
    assert sent == b""
    assert isinstance(error, sa.exc.DBAPIError)
    assert engine.pool.checkedout() == 0


@pytest.mark.parametrize("statement", [sa.select(Many.id, Many.name), sa.select(Many)])
def test_memory_does_not_grow_with_the_rows(statement, engine):
    with Session(engine) as session, memory() as grown:
        limited = statement.limit(50_000)
        assert drained(source.query(session, limited)) > 500_000
    assert grown[0] < 12


def test_closing_early_kills_the_query(engine):
    sql = {
        "mysql": "SELECT seq AS n, repeat('x', 100) AS pad FROM seq_1_to_1000000000",
        "postgresql": "SELECT generate_series(1, 1000000000) AS n, repeat('x', 100) AS pad",
    }[engine.dialect.name]
    sent, took_s = abandon(source.query(engine, sql))
    assert sent.startswith(b"n,pad\r\n1,")
    assert took_s < AT_ONCE_S  # What was on its way is read, in pure Python.
    until(lambda: not active(engine))
    until(lambda: engine.pool.checkedout() == 0)


def test_a_stuck_query_ends_when_the_client_leaves(engine):
    sql = {
        "mysql": "SELECT seq, repeat('x', 500), if(seq > 1500, sleep(60), 0) FROM seq_1_to_3000",
        "postgresql": "SELECT wait(i, 1500) AS n FROM generate_series(1, 3000) i",
    }[engine.dialect.name]
    sent, took_s = leave(source.query(engine, sql), 0.6)
    assert sent
    assert took_s < AT_ONCE_S
    until(lambda: not active(engine))
    until(lambda: engine.pool.checkedout() == 0)


def test_an_async_engine_connection_or_session(async_url):
    async def run():
        engine = create_async_engine(async_url)
        bodies = [
            await aanswer(source.query(engine, FEW)),
            await aanswer(source.query(async_sessionmaker(engine), ENTITIES)),
        ]
        async with AsyncSession(engine) as session:
            bodies.append(await aanswer(source.query(session, ENTITIES)))
            bodies.append(await aanswer(await session.stream(FEW)))
            bodies.append(await aanswer(await session.stream_scalars(ENTITIES)))
        async with engine.connect() as connection:
            bodies.append(await aanswer(source.query(connection, FEW.where(Many.id < 0))))
        await engine.dispose()
        return bodies

    assert asyncio.run(run()) == [
        AS_CSV,
        ENTITIES_AS_CSV,
        ENTITIES_AS_CSV,
        AS_CSV,
        ENTITIES_AS_CSV,
        b"id,name\r\n",
    ]


# SQLAlchemy does not close the cursor whose execution was cancelled.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_on_a_loop_a_stuck_query_ends_when_the_client_leaves(async_url, postgres):
    async def run():
        engine = create_async_engine(async_url)
        sent, took_s = await aleave(source.query(engine, "SELECT pg_sleep(60)"))
        sent, early_s = await aabandon(
            source.query(engine, "SELECT generate_series(1, 1000000000) AS n")
        )
        out = engine.pool.checkedout()
        await engine.dispose()
        return took_s, early_s, out

    took_s, early_s, out = asyncio.run(run())
    gc.collect()
    assert took_s < AT_ONCE_S
    assert early_s < AT_ONCE_S
    assert out == 0
    until(lambda: not active(postgres))
