"""What the API's description says is what the API does: schemathesis asks every operation, well and badly.

Nothing answers with a 5xx; every status, media type and body is one that the description names for the operation; what
the description forbids is refused.  The runs are bounded and always the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.openapi import from_wsgi
from sqlalchemy import text

from app.api.frame import BASE
from app.config import load
from app.factory import create_app
from app.services.changes import changing, event
from app.services.context import Context
from app.store.models import Plan, PowerOperation, ScriptResult
from tests.api.conftest import sign_up
from tests.factories.control import make_context, make_machine, seed

SEED = 20_260_101
STREAMS = "/events/stream$"
PARTS = 4
"""The administrator's operations are many: in this many tests, each well within a test's time."""
MACHINES = ("m-ready", "m-new", "m-deployed", "m-broken", "m-two", "nobody")
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "negative_data_rejection",
)  # fmt: skip

# Also a body that is too large, a version that is not the present one, and one attempt too many are refusals.
REJECTED = {
    "negative_data_rejection": {
        "enabled": True,
        "expected-statuses": [400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 429],
    }
}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path)


@pytest.fixture
def application(context: Context, tmp_path: Path) -> Flask:
    """A control plane with some of everything in it."""
    seeded = seed(context, image_folder=tmp_path)
    for name, state in (("m-ready", "READY"), ("m-new", "NEW"), ("m-deployed", "DEPLOYED"), ("m-broken", "BROKEN")):
        make_machine(context, seeded, name, state=state, inventory={"cpu": {}}, tags=("gpu",))
    machine_id = make_machine(context, seeded, "m-two", tags=("gpu", "ssd"))
    now = context.clock()
    with changing(context) as session:
        event(session, context, "machine.step", "It goes on.", machine_id=machine_id, rack_id=seeded.rack_id)
        words: dict[str, Any] = {"stdout": "out", "stderr": "", "result": {"a": 1}, "exit_code": 0, "seconds": 0.5}
        session.add(ScriptResult(machine_id=machine_id, script="cpu", status="passed", at=now, **words))
        session.add(Plan(rack_id=seeded.rack_id, generation=1, status="held", created_at=now))
        session.add(PowerOperation(machine_id=machine_id, rack_id=seeded.rack_id, verb="on", deadline_at=now))
    return create_app(context, load({"MUSTER_STATE_DIR": str(tmp_path / "state")}))


def token_of(context: Context, application: Flask, role: str) -> str:
    """A token of somebody of that role, with a number that is not invented by chance: nobody saws off the branch."""
    token = sign_up(context, application, f"the-{role}", role).token
    with context.store.write() as session:
        session.execute(text("UPDATE api_token SET id = id + 900000"))
    assert token is not None
    return token


def failures(
    application: Flask, token: str | None, phases: dict[str, Any], examples: int, part: tuple[int, int] = (0, 1)
) -> list[str]:
    """What was not as the description says, each with the request that shows it. part: this one of so many."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "cache": {"enabled": False},
            "generation": {"deterministic": True, "max-examples": examples, "no-shrink": True},
            "checks": {"enabled": False} | {name: {"enabled": True} for name in CHECKS} | REJECTED,
            "phases": {name: {"enabled": False} for name in ("examples", "coverage", "fuzzing", "stateful")} | phases,
            "headers": {"Authorization": f"Bearer {token}"} if token else {},
        }
    )
    schema = from_wsgi(f"{BASE}/openapi.json", application, config=config).exclude(path_regex=STREAMS)
    schema = schema.include(lambda seen: zlib.crc32(seen.operation.path.encode()) % part[1] == part[0])

    @schema.hook
    def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        """Things that are there, most of the time."""
        return {name: _there(name, value) for name, value in path_parameters.items()} if path_parameters else None

    found = []
    asked = 0
    for happened in from_schema(schema).execute():
        if isinstance(happened, (events.NonFatalError, events.FatalError)):
            found.append(f"the run itself broke: {getattr(happened, 'info', happened)}")
        if isinstance(happened, events.ScenarioFinished):
            asked += len(happened.recorder.cases)
            found += _failed(happened.recorder)
    assert asked >= 100 / part[1]
    return found


def refuse(found: list[str]) -> None:
    """Fail with one request for each operation that is not as described."""
    each = {text.partition("\n")[0]: text for text in reversed(found)}
    if each:
        pytest.fail("\n\n".join(each.values()), pytrace=False)


def _there(name: str, value: Any) -> Any:
    if name == "machine" and isinstance(value, str) and value:
        return MACHINES[zlib.crc32(value.encode("utf-8", "replace")) % len(MACHINES)]
    if name == "script" and isinstance(value, str) and value:
        return "cpu"
    if name.endswith("_id") and isinstance(value, int) and not isinstance(value, bool) and value > 3:
        return value % 4
    return value


def _failed(recorder: Any) -> Iterator[str]:
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                case = recorder.cases[case_id].value
                failure = check.failure_info.failure
                yield f"{case.method} {case.path}: {failure.title}: {failure.message}\n{check.failure_info.code_sample}"


@pytest.mark.parametrize("part", range(PARTS))
def test_an_administrator_gets_what_is_described(context: Context, application: Flask, part: int) -> None:
    """Every operation, with the edge cases of every parameter and some invented ones."""
    phases = {"coverage": {"enabled": True}, "fuzzing": {"enabled": True}}

    refuse(failures(application, token_of(context, application, "admin"), phases, examples=6, part=(part, PARTS)))


@pytest.mark.parametrize("role", ["viewer", None])
def test_others_get_what_is_described(context: Context, application: Flask, role: str | None) -> None:
    """What is refused to viewers and strangers is refused as the description says."""
    token = token_of(context, application, role) if role else None

    refuse(failures(application, token, {"fuzzing": {"enabled": True}}, examples=2))
