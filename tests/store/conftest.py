"""Both databases for every store test: SQLite in a file and a private PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.services.context import Context
from tests.factories.control import make_context
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


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'muster.db'}"
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster.new_database()


@pytest.fixture
def context(empty_url: str, tmp_path: Path) -> Iterator[Context]:
    """A context over a database with our tables and nothing in it."""
    made = make_context(tmp_path, empty_url)
    yield made
    made.store.engine.dispose()
