"""Racks' users in a real Redis with TLS: what they may, how they are kept, and what is said when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner
from kombu import Queue
from redis import exceptions
from sqlalchemy import event

from app import config as configuration
from app.broker import acl_line
from app.cli import muster
from app.config import Config, load
from app.services import broker, racks
from app.services.context import Context
from app.store.models import Rack
from app.wiring import redis_client
from app.wiring.ring import CeleryRing
from tests.daemons.requires import require
from tests.factories.control import make_context, seed
from tests.factories.redis_server import Authority, RedisServer
from workers.celery_app import make_app
from workers.rack.broker import BrokerSource, Given
from workers.rack.client import ControlPlane
from workers.rack.config import RackConfig
from workers.rack.tasks import make_doorbell
from workers.region.broker_users import MARKED, BrokerUsers, marked

CELERY_KEYS = ("region", "unacked", "unacked_index", "unacked_mutex", "_kombu.binding.region")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of this file's own."""
    require("redis-server")
    with RedisServer(tmp_path_factory.mktemp("redis") / "server") as made:
        yield made


@pytest.fixture
def config(server: RedisServer, tmp_path: Path) -> Config:
    """A control plane that uses it."""
    return load({"MUSTER_STATE_DIR": str(tmp_path / "state"), **server.environment})


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A control plane with `rack-1`."""
    made = make_context(tmp_path)
    seed(made)
    return made


@pytest.fixture
def keeper(config: Config, context: Context) -> BrokerUsers:
    """The region worker's look, which has been once."""
    made = BrokerUsers.of(config, lambda: context)
    assert made.tend()
    return made


def login(context: Context, server: RedisServer, name: str = "rack-1") -> redis.Redis:
    """A client as the rack."""
    rack = racks.find(context, name=name)[0]
    return server.client(f"rack.{name}", broker.password_for_rack(context, rack.id))


@pytest.mark.usefixtures("keeper")
def test_a_rack_hears_its_own_bell_and_nothing_else(server: RedisServer, context: Context) -> None:
    """It takes a wake off its queue; other racks' queues, one that begins alike, the region's keys and all else are refused."""
    rack, eye = login(context, server), server.eye()
    eye.lpush("rack.rack-1", "wake")

    assert rack.brpop(["rack.rack-1"], timeout=5) == ("rack.rack-1", "wake")
    for key in (*CELERY_KEYS, "rack.rack-10", "rack.rack-2", "rack.rack-", "rack.rack-1\x06\x163"):
        with pytest.raises(exceptions.NoPermissionError):
            rack.brpop([key], timeout=1)
    refused = (
        ("GET", "region"), ("LRANGE", "region", 0, -1), ("LRANGE", "rack.rack-1", 0, -1), ("LPUSH", "rack.rack-1", "x"),
        ("LPUSH", "region", "x"), ("DEL", "rack.rack-1"), ("KEYS", "*"), ("SCAN", 0), ("CONFIG", "GET", "*"),
        ("FLUSHALL",), ("FLUSHDB",), ("ACL", "WHOAMI"), ("ACL", "LIST"), ("ACL", "SETUSER", "x"), ("CLIENT", "LIST"),
        ("CLIENT", "KILL", "USER", "muster"), ("INFO",), ("DBSIZE",), ("MONITOR",), ("EVAL", "return 1", 0),
        ("SCRIPT", "LOAD", "return 1"), ("SUBSCRIBE", "x"), ("PUBLISH", "x", "y"), ("SELECT", 1), ("SHUTDOWN",),
        ("SAVE",), ("REPLICAOF", "NO", "ONE"), ("MODULE", "LIST"), ("RANDOMKEY",), ("WAIT", 0, 0),
    )  # fmt: skip
    for words in refused:
        with pytest.raises((exceptions.NoPermissionError, redis.ConnectionError)) as said:
            rack.execute_command(*words)
        assert "no permissions" in str(said.value) or "NOPERM" in str(said.value), words


def test_names_that_begin_alike_are_kept_apart(server: RedisServer, context: Context, keeper: BrokerUsers) -> None:
    """Were there rack-1 and rack-10 after all (enrolment refuses it), neither could hear the other."""
    with context.store.write() as session:
        session.add(Rack(name="rack-10", token_hash="x"))
        session.add(Rack(name="waits"))  # It has not enrolled.
    server.eye().acl_deluser(MARKED)
    assert keeper.tend()
    one, ten = login(context, server), login(context, server, "rack-10")

    for rack, other in ((one, "rack.rack-10"), (ten, "rack.rack-1")):
        with pytest.raises(exceptions.NoPermissionError):
            rack.brpop([other], timeout=1)
    assert "rack.waits" not in server.eye().acl_users()


def test_a_look_costs_the_same_however_many_racks(server: RedisServer, context: Context, keeper: BrokerUsers) -> None:
    """With nothing changed it asks Redis once, for the mark, and the database once."""
    eye, statements = server.eye(), []
    eye.config_resetstat()
    event.listen(context.store.engine, "before_cursor_execute", lambda *words: statements.append(words[2]))
    assert keeper.tend()
    calls = {name.removeprefix("cmdstat_"): one["calls"] for name, one in eye.info("commandstats").items()}

    assert {"acl|getuser": 1} == {
        name: count for name, count in calls.items() if name.startswith(("acl", "client|kill"))
    }
    assert len([text for text in statements if text.startswith("SELECT")]) == 1


def test_a_redis_that_lost_its_users_is_mended(server: RedisServer, context: Context, keeper: BrokerUsers) -> None:
    """Started anew with the file that the site wrote, it has everybody again after one look; what was saved stays."""
    for forget in (True, False):
        server.stop()
        if forget:
            server.forget_users()
        server.start()
        assert forget is ("rack.rack-1" not in server.eye().acl_users())
        assert keeper.tend()
        assert login(context, server).ping()
    assert "rack.rack-1" in server.users.read_text()


def test_a_redis_that_is_away_is_told(server: RedisServer, context: Context, keeper: BrokerUsers) -> None:
    """Whoever watches the control plane sees that users are not kept, until they are again; nothing is raised."""
    server.stop()
    away = (keeper.tend(), broker.are_kept(context))
    server.start()

    assert away == (False, False)
    assert (keeper.tend(), broker.are_kept(context)) == (True, True)


def test_somebody_elses_change_is_undone(server: RedisServer, config: Config, context: Context) -> None:
    """A right too many, or a user of a rack that does not exist, is gone after a look at everybody; other users stay."""
    eye = server.eye()
    eye.execute_command("ACL SETUSER", "rack.ghost", "on", "nopass", "~*", "+@all")
    eye.execute_command("ACL SETUSER", "somebody", "on", "nopass")
    BrokerUsers.of(config, lambda: context).tend()
    eye.execute_command("ACL SETUSER", "rack.rack-1", "~*", "+@all")

    assert BrokerUsers.of(config, lambda: context).tend()
    assert "somebody" in eye.acl_users()
    assert "rack.ghost" not in eye.acl_users()
    with pytest.raises(exceptions.NoPermissionError):
        login(context, server).keys()


def test_a_new_password_ends_the_old_ones_connections(
    server: RedisServer, context: Context, keeper: BrokerUsers
) -> None:
    """Whoever is there is put out, the old password is refused, the new one is not; it is in neither log nor audit."""
    old_password = broker.password_for_rack(context, 1)
    old = login(context, server)
    old.ping()
    before = server.connected("rack.rack-1")
    broker.new_password(context, 1)
    keeper.tend()

    assert (before, server.connected("rack.rack-1")) == (1, 0)
    with pytest.raises(redis.AuthenticationError):
        server.client("rack.rack-1", old_password).ping()
    assert login(context, server).ping()


def test_a_rack_that_is_deleted_is_put_out(server: RedisServer, context: Context, keeper: BrokerUsers) -> None:
    """Its user is gone with its connections and its queue."""
    with context.store.write() as session:
        session.add(Rack(name="going", token_hash="y"))
    server.eye().acl_deluser(MARKED)
    keeper.tend()
    going, rack_id = login(context, server, "going"), racks.find(context, name="going")[0].id
    going.ping()
    server.eye().lpush("rack.going", "wake")
    before = marked(server.eye())
    racks.delete(context, rack_id)
    keeper.tend()

    assert (server.connected("rack.going"), server.eye().exists("rack.going")) == (0, 0)
    with pytest.raises(redis.AuthenticationError):
        going.ping()
    assert before != marked(server.eye())
    assert "rack.going" not in server.users.read_text()


def test_lines_for_a_site_that_keeps_its_own_users(server: RedisServer, context: Context, keeper: BrokerUsers) -> None:
    """What `muster broker acl` prints makes the same user when Redis reads it from its file."""
    server.stop()
    server.forget_users()
    lines = broker.acl(context)
    server.users.write_text(server.users.read_text() + "\n".join(lines) + "\n")
    server.start()

    assert lines == [acl_line("rack-1", broker.password_for_rack(context, 1))]
    assert login(context, server).ping()
    assert keeper.tend()


def test_a_queue_that_nobody_reads_stays_short(server: RedisServer, config: Config) -> None:
    """A rack's holds one wake, the region's as many as are worth reading; sending takes no more than the rules give."""
    ring, eye = CeleryRing(config.broker), server.eye()
    eye.execute_command("ACL LOG", "RESET")
    for number in range(40):
        ring.rack("rack-1")
        ring.advance(number)
        assert ring.flush(30)
    ring.broker_users()
    assert ring.flush(30)

    assert (eye.llen("rack.rack-1"), eye.llen("region")) == (1, 41)
    assert eye.execute_command("ACL LOG") == []
    eye.delete("region", "rack.rack-1")


def wrong(config: Config) -> str:
    """What `muster broker check` complains of."""
    with pytest.raises(ValueError, match=r"broker") as said:
        redis_client.check(config)
    return str(said.value)


def test_what_is_wrong_is_said_with_its_setting(server: RedisServer, tmp_path: Path) -> None:
    """A CA that has signed nothing here, another name, a password, a right, TLS at a plain port; and when all is well."""
    base = {"MUSTER_STATE_DIR": str(tmp_path), **server.environment}
    stranger = Authority(tmp_path, "stranger").path
    (tmp_path / "bad").write_text("not-the-password")

    def changed(**words: str) -> Config:
        return load({**base, **words})

    assert len(redis_client.check(changed())) == 3
    assert "MUSTER_BROKER_CA" in wrong(changed(MUSTER_BROKER_CA=str(stranger)))
    address = base["MUSTER_BROKER_URL"].replace("localhost", "127.0.0.2")
    server.eye().config_set("bind", "127.0.0.1 127.0.0.2")
    assert "subjectAltName" in wrong(changed(MUSTER_BROKER_URL=address))
    assert "MUSTER_BROKER_PASSWORD_FILE" in wrong(changed(MUSTER_BROKER_PASSWORD_FILE=str(tmp_path / "bad")))
    said = wrong(changed(MUSTER_BROKER_ADMIN_PASSWORD_FILE=str(tmp_path / "bad")))
    assert "MUSTER_BROKER_ADMIN_PASSWORD_FILE" in said
    server.eye().execute_command("ACL SETUSER", "muster", "-ltrim")
    assert "'ltrim'" in wrong(changed())
    server.eye().execute_command("ACL SETUSER", "muster", "+ltrim")
    done = CliRunner().invoke(muster, ["broker", "check"], env=base)
    assert (done.exit_code, "keep racks' users" in done.output) == (0, True), done.output


@pytest.mark.usefixtures("keeper")
def test_a_rack_says_what_is_wrong(server: RedisServer, context: Context, tmp_path: Path) -> None:
    """With its own settings by name; each is a connection that failed, which Celery tries again."""
    config = RackConfig(tmp_path, "http://127.0.0.1:1", 1, "rack-1", "rack.rack-1", "key")
    password = broker.password_for_rack(context, 1)
    stranger = str(Authority(tmp_path, "stranger").path)

    def said(config: RackConfig, password: str) -> str:
        given = Given(server.url, "rack.rack-1", server.authority.path.read_text(), password)
        (tmp_path / "broker-ca.pem").write_text(str(given.ca))
        source = BrokerSource(config, ControlPlane(config.control_plane, "token"))
        with make_doorbell(config, given, source).connection_for_read() as connection:
            try:
                connection.connect()
            except connection.connection_errors as error:
                return str(error)
        return "connected"

    assert said(config, password) == "connected"
    assert "--broker-ca" in said(replace(config, broker_ca=stranger), password)
    assert "muster broker acl" in said(config, "wrong")
    server.eye().execute_command("ACL SETUSER", "rack.rack-1", "-ping")
    assert "its rules must be: resetkeys ~rack.rack-1" in said(config, password)


def test_only_the_named_authority_is_believed(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the host's own ones beside it, which somebody else may have a certificate of; without one they are."""
    stranger = str(Authority(tmp_path, "stranger").path)
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority.path))
    base = {"MUSTER_STATE_DIR": str(tmp_path), **server.environment}
    theirs = load({**base, "MUSTER_BROKER_CA": stranger})

    assert "MUSTER_BROKER_CA" in wrong(theirs)
    connection = make_app(theirs.broker, queue="region").connection_for_read()
    with pytest.raises(connection.connection_errors, match="MUSTER_BROKER_CA"):
        connection.connect()
    assert len(redis_client.check(load({**base, "MUSTER_BROKER_CA": ""}))) == 3


def test_a_client_certificate_where_redis_wants_one(tmp_path: Path) -> None:
    """Without one the error names the settings; with one all is well."""
    require("redis-server")
    with RedisServer(tmp_path / "server", clients=True) as server:
        cert, key = server.authority.sign("control")
        base = {"MUSTER_STATE_DIR": str(tmp_path), **server.environment}

        assert "MUSTER_BROKER_CERT" in wrong(configuration.load(base))
        shown = {"MUSTER_BROKER_CERT": str(cert), "MUSTER_BROKER_KEY": str(key)}
        assert len(redis_client.check(configuration.load({**base, **shown}))) == 3


def test_a_socket_on_this_host_is_a_broker_too(server: RedisServer, tmp_path: Path) -> None:
    """Sending and taking go through it, as the user in the URL."""
    url = f"redis+socket://muster:{server.passwords['muster']}@{server.folder / 'redis.sock'}"
    ring = CeleryRing(load({"MUSTER_STATE_DIR": str(tmp_path), "MUSTER_BROKER_URL": url}).broker)
    ring.advance(7)

    assert ring.flush(30)
    assert [json.loads(text)["headers"]["task"] for text in server.eye().lrange("region", 0, -1)] == [
        "muster.region.advance"
    ]
    with make_app(url, queue="region").connection_for_read() as connection:
        heard: list[str] = []
        with connection.Consumer(
            [Queue("region", no_declare=True)], callbacks=[lambda body, message: heard.append(message.headers["task"])]
        ):
            connection.drain_events(timeout=10)
    assert heard == ["muster.region.advance"]
