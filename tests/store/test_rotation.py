"""A new key for stored secrets, beside work that goes on: nothing is lost, nothing is left under the old key."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import select

from app.cli import main, upkeep
from app.config import load
from app.factory import create_app
from app.services import bmc, broker, deployment, idempotency, lifecycle, offers, rotation, users
from app.services.changes import changing
from app.services.context import Actor, Context
from app.services.errors import Forbidden
from app.services.power import controller_of, parameters_of
from app.store.models import Base, ChangeEvent, Operation
from app.wiring.secret_box import FernetBox, KeyFile
from tests.factories.control import Seeded, make_machine, seed

TOKEN = re.compile(r"gAAAA[A-Za-z0-9_-]{20,}={0,2}")
USER_DATA = "#cloud-config\n"
ALICE = "alice"


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "secret-key")


@pytest.fixture
def living(context: Context, file: KeyFile) -> Context:
    """A process that runs all the time over the key file."""
    return replace(context, secrets=FernetBox(file.keys))


def everything_sealed(context: Context) -> list[str]:
    """Every Fernet token in every column of every table."""
    with context.store.read() as session:
        rows = [str(row) for table in Base.metadata.sorted_tables for row in session.execute(select(table))]
    return [token for row in rows for token in TOKEN.findall(row)]


def fits(key: str, sealed: str) -> bool:
    try:
        Fernet(key).decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def fill(context: Context) -> tuple[Seeded, int, int]:
    """Every kind of secret there is: a BMC's password, user data, the key that signs offers, an answer that is kept, a rack's password."""
    seeded = seed(context, image_folder=None)
    machine_id = make_machine(context, seeded, state="ALLOCATED", owner_id=seeded.user_id, inventory={"cpu": {}})
    alice = context.acting_as(Actor(ALICE, "operator", seeded.user_id))
    power = {"address": "10.20.1.1", "username": "u", "password": "planted"}
    bmc.set_power(alice, machine_id, "ipmi", power)
    operation = lifecycle.request(alice, machine_id, "deploy", {"user_data": USER_DATA})
    with changing(context) as session:
        offers.ensure_key(session, context)
    broker.password_for_rack(context, seeded.rack_id)
    idempotency.once(alice, "key-1", "fingerprint", lambda _: idempotency.Answer(201, {}, "{}"))
    return seeded, machine_id, operation.id


def opened(context: Context, machine_id: int, operation_id: int) -> tuple[str, str]:
    """What the secrets say."""
    with context.store.read() as session:
        found = controller_of(session, machine_id)
        assert found is not None
        offers.sign(session, context, 1, "rack-1", b"x")
        password = parameters_of(context, found)["password"]
        return password, deployment.user_data_of(context, session.get_one(Operation, operation_id).parameters)


def test_everything_moves_to_the_new_key(living: Context, file: KeyFile) -> None:
    """After a pass every token in the database fits the newest key alone; a running process reads on all the while."""
    _, machine_id, operation_id = fill(living)
    (old,) = file.keys()
    before = everything_sealed(living)
    file.add()
    between = opened(living, machine_id, operation_id)
    first = rotation.reseal_all(living, FernetBox(file.keys), batch=1)
    second = rotation.reseal_all(living, FernetBox(file.keys), batch=1)
    file.keep_newest()
    (new,) = file.keys()
    after = everything_sealed(living)

    assert 5 == len(before) == len(after) == first
    assert 0 == second
    assert old != new
    assert all(fits(old, token) for token in before)
    assert all(fits(new, token) for token in after)
    assert ("planted", USER_DATA) == between == opened(living, machine_id, operation_id)


def test_every_place_is_named() -> None:
    """Whoever seals something is known here, and what is sealed stands in `rotation.SEALED`."""
    app = Path(rotation.__file__).parents[1]
    seals = {path.stem for path in app.rglob("*.py") if "secrets.seal(" in path.read_text()}
    places = {
        "bmc": "BMC",
        "broker_passwords": "rack",
        "enlistment": "BMC",
        "dns_secondaries": "DNS secondary",
        "lifecycle": "operation",
        "offers": "setting",
        "idempotency": "idempotency key",
    }

    assert seals == set(places)
    assert {place.name for place in rotation.SEALED} == set(places.values())


def test_a_running_process_seals_with_the_new_key_at_once(file: KeyFile) -> None:
    """No restart: the file is looked at before every use."""
    box = FernetBox(file.keys)
    file.add()

    assert fits(file.keys()[0], box.seal("x"))
    assert box.reseal(box.seal("x")) is None


def test_writers_go_on_meanwhile(living: Context, file: KeyFile) -> None:
    """Passwords that are set during the passes are kept, and are under the new key in the end."""
    seeded, _, _ = fill(living)
    machine_ids = [make_machine(living, seeded) for _ in range(8)]
    stop, number = threading.Event(), [0]

    def write() -> None:
        while not stop.is_set():
            number[0] += 1
            power = {"address": "10.20.1.1", "username": "u", "password": f"p{number[0]}"}
            bmc.set_power(living, machine_ids[number[0] % 8], "ipmi", power)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        file.add()
        rotation.reseal_all(living, FernetBox(file.keys), batch=2)
    finally:
        stop.set()
        writer.join()
    rotation.reseal_all(living, FernetBox(file.keys))
    file.keep_newest()
    with living.store.read() as session:
        last = controller_of(session, machine_ids[number[0] % 8])
        assert last is not None
        password = parameters_of(living, last)["password"]

    assert number[0] > 0
    assert f"p{number[0]}" == password
    assert all(fits(file.keys()[0], token) for token in everything_sealed(living) if not token.startswith("sealed:"))


def test_a_lost_key_stops_the_pass_by_name(living: Context, file: KeyFile) -> None:
    """A row that no key opens is named, and nobody but administrators rotates."""
    fill(living)
    stranger = FernetBox([Fernet.generate_key().decode()])

    with pytest.raises(ValueError, match=r"BMC 1: .*put that key back"):
        rotation.reseal_all(living, stranger)
    with pytest.raises(Forbidden):
        rotation.reseal_all(living.acting_as(Actor("olga", "operator")), stranger)


def test_the_command(
    tmp_path: Path,
    url: str,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A new key, or the end of a rotation that was stopped; both are in the audit, and no key is ever printed."""
    state = tmp_path / "state"
    state.mkdir()
    file = KeyFile(state / "secret-key")
    living = replace(context, secrets=FernetBox(file.keys))
    _, machine_id, operation_id = fill(living)
    monkeypatch.setattr(upkeep, "SETTLE_SECONDS", 0.0)
    monkeypatch.setenv("MUSTER_DATABASE_URL", url)
    monkeypatch.setenv("MUSTER_STATE_DIR", str(state))
    keys, printed = [file.keys()], ""
    for words in (["--keep-old"], [], []):
        monkeypatch.setattr("sys.argv", ["muster", "secrets", "rotate", *words])
        main()
        printed += capsys.readouterr().out
        keys.append(file.keys())
    with context.store.read() as session:
        audit = list(session.scalars(select(ChangeEvent.verb).where(ChangeEvent.thing == "secret_key")))

    assert [1, 2, 1, 1] == [len(one) for one in keys]
    assert keys[1][0] == keys[2][0] != keys[0][0]
    assert keys[3] != keys[2]
    assert ["begin rotation", "end rotation", "begin rotation", "end rotation"] == audit
    assert ("planted", USER_DATA) == opened(living, machine_id, operation_id)
    assert "finished now" in printed
    assert not [key for some in keys for key in some if key in printed]
    assert 0o600 == file.path.stat().st_mode & 0o777


def test_sessions_survive_the_new_key(tmp_path: Path, context: Context) -> None:
    """Who is signed in stays so while the old key is in the file, and longer with any request meanwhile."""
    seed(context)
    users.create(context, "root", "a long password", "admin")
    application = create_app(context, load({"MUSTER_STATE_DIR": str(tmp_path / "state")}))
    client, idle, later = (application.test_client() for _ in range(3))
    credentials = {"name": "root", "password": "a long password"}
    for one in (client, idle):
        one.post("/api/v1/session", json=credentials)
    file = KeyFile(tmp_path / "state" / "secret-key")
    file.add()
    still = client.get("/api/v1/session").status_code
    later.post("/api/v1/session", json=credentials)
    file.keep_newest()

    assert 200 == still
    assert [200, 200, 401] == [one.get("/api/v1/session").status_code for one in (client, later, idle)]
