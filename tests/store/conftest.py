"""Both databases for every store test: SQLite in a file and a private PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.services.context import Context
from tests.factories.control import add_tables, make_context
from tests.factories.postgres import Cluster, PostgresMissing, running_cluster


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """One PostgreSQL server for the session; without one the test is skipped, and fails under CI."""
    try:
        with running_cluster() as cluster:
            yield cluster
    except PostgresMissing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tables(postgres: Cluster) -> str:
    """The name of a database with our tables and nothing in them, to be copied: that is faster than making them."""
    url = postgres.new_database()
    add_tables(url)
    return str(make_url(url).database)


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """The URL of an empty database of either kind."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster.new_database()


@pytest.fixture
def url(context: Context) -> str:
    """Where the context's database is."""
    return context.store.engine.url.render_as_string()


@pytest.fixture
def context(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Iterator[Context]:
    """A context over a database with our tables and nothing in it."""
    if kind == "sqlite":
        made = make_context(tmp_path)
    else:
        cluster: Cluster = request.getfixturevalue("postgres")
        made = make_context(tmp_path, cluster.new_database(request.getfixturevalue("tables")))
    yield made
    made.store.engine.dispose()
