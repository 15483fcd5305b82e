"""The log: masked by name and by look, and what libraries say in the same form."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from app.masking import masked, without_secrets
from app.wiring import log as control_log
from workers.rack import log as rack_log
from workers.rack.config import ConfigError


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        ("Error connecting to redis://rack:hunter2pass@10.0.0.1:6379/0", "hunter2pass"),
        ("header Authorization: Bearer abcdefghijkl0123", "abcdefghijkl0123"),
        ("token muster_AAAAAAAAAAAAAAAAAAAAAAAAAAAA is unknown", "AAAAAAAAAAAA"),
        ("GET /boot?token=s3cr3tw0rd&mac=1", "s3cr3tw0rd"),
        ("kernel muster.token=abcdef quiet", "abcdef"),
    ],
)
def test_what_looks_like_a_secret_is_masked(said: str, secret: str) -> None:
    """In sentences of libraries, whatever the field is called."""
    assert secret in said
    assert secret not in without_secrets(said)
    assert secret not in str(masked("reason", {"deep": [said]}))


def test_ordinary_sentences_stay() -> None:
    """Addresses, URLs and names are what people read."""
    said = "rack-1 at http://10.0.0.1:5240/api: subnet 10.1.0.0/24 token of alice, muster_http_requests"

    assert said == without_secrets(said)


@pytest.mark.parametrize(
    "set_up", [lambda: control_log.set_up("json"), lambda: rack_log.set_up({"MUSTER_LOG_FORMAT": "json"})]
)
def test_lines_are_json(set_up: object, capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with moment, level, event and the request's id, for control plane and rack alike."""
    set_up()  # type: ignore[operator]
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger().info("thing.done", password="x", detail={"api_token": "y"})
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)

    assert ("thing.done", "info", "r-1") == (said["event"], said["level"], said["request_id"])
    assert ("***", {"api_token": "***"}) == (said["password"], said["detail"])
    assert said["timestamp"].endswith("Z")


def test_libraries_speak_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    """A warning through `logging` is a line like any other, once, also when the log was set up twice."""
    control_log.set_up("json")
    control_log.set_up("json")
    logging.getLogger("kombu").warning("cannot reach redis://u:hunter2pass@host")
    (line,) = capsys.readouterr().err.splitlines()

    assert "warning" == json.loads(line)["level"]
    assert "hunter2pass" not in line


def test_a_strange_format_is_refused() -> None:
    """It says what there is."""
    with pytest.raises(ConfigError, match="text, json"):
        rack_log.set_up({"MUSTER_LOG_FORMAT": "xml"})
