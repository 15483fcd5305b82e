"""The database is away for a while: callers are told so and when to come back, and all is as before when it is back."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import make_url

from app.config import load
from app.factory import create_app
from app.services import tokens, users
from app.services.context import Context
from tests.api.conftest import Caller
from tests.factories.control import seed


@pytest.fixture
def kind() -> str:
    """SQLite's file does not go away."""
    return "postgresql"


def cut(url: str, *, allow: bool) -> None:
    """End everybody's connections to the database, and let nobody in, or let them in again."""
    place = make_url(url)
    connection = psycopg2.connect(host=str(place.query["host"]), user=place.username, dbname="postgres")
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(f'ALTER DATABASE "{place.database}" ALLOW_CONNECTIONS {allow}')
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND NOT %s",
            (place.database, allow),
        )
    finally:
        connection.close()


def test_everybody_is_told_and_goes_on_afterwards(
    context: Context, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The API and racks get 503 with Retry-After, a browser a page; nothing of the statements is told; then it goes on."""
    seed(context)
    user = users.create(context, "wanda", "a password of hers", "admin")
    token = tokens.create(context.acting_as(users.actor(user)), "of the test").text
    application = create_app(context, load({"MUSTER_STATE_DIR": str(tmp_path / "state"), "MUSTER_DATABASE_URL": url}))
    caller = Caller(application.test_client(), token)
    assert 200 == caller.get("/machines").status_code
    browser = application.test_client()
    with browser.session_transaction() as session:
        session["secret"] = session["stamp"] = "somebody's"
    cut(url, allow=False)
    try:
        answers = [
            caller.get("/machines"), caller.post("/tags", {"name": "new"}), caller.get("/health/ready"),
            application.test_client().get("/rack/v1/offer", headers={"Authorization": "Bearer r:x"}),
        ]  # fmt: skip
        page = browser.get("/machines")
        whole = "".join(answer.text for answer in (*answers, page)) + capsys.readouterr().out
    finally:
        cut(url, allow=True)

    assert [503] * 4 == [answer.status_code for answer in answers]
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
    assert "urn:muster:problem:not-available-now" == answers[0].json["type"]
    assert (503, "text/html") == (page.status_code, page.mimetype)
    assert "the database does not answer" in page.text
    assert "SELECT" not in whole
    assert "Traceback" not in whole
    assert 201 == caller.post("/tags", {"name": "new"}).status_code
    assert 200 == caller.get("/machines").status_code
