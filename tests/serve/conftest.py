"""Every kind of source, with the same table in it."""

import databases
import pytest
from serve import zoo

from unspool.serve import create_app


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """Where each database is, as the command line takes it."""
    folder = tmp_path_factory.mktemp("served")
    zoo.make_duckdb(folder / "zoo.duckdb")
    zoo.make_sqlite(folder / "zoo.sqlite")
    with databases.postgres() as url, databases.mariadb() as settings:
        zoo.make_postgres(url)
        zoo.make_mysql(settings)
        yield {
            "duckdb": str(folder / "zoo.duckdb"),
            "files": str(folder / "files"),
            "sqlite": str(folder / "zoo.sqlite"),
            "postgres": url,
            "mysql": "mysql://{user}:{password}@{host}:{port}/{database}".format(**settings),
        }


@pytest.fixture(scope="session")
def app(places):
    """All of them in one app."""
    made = create_app([f"{name}={place}" for name, place in places.items()])
    yield made
    made.extensions["unspool.serve"].catalog.close()


@pytest.fixture
def client(app):
    return app.test_client()
