"""The broker's URL, rules and errors, without a broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.broker import (
    ADMIN_RULES,
    CONTROL_RULES,
    RACK_PASSWORD,
    Login,
    Tls,
    acl_line,
    check_url,
    explain,
    hash_of,
    rack_rules,
)
from app.config import ConfigError, load
from workers.celery_app import make_app
from workers.rack.broker import BrokerSource, Credentials, Given
from workers.rack.client import ControlPlane
from workers.rack.config import ConfigError as RackConfigError
from workers.rack.config import RackConfig
from workers.region.broker_users import words


def test_a_rack_may_wait_at_its_own_queue_and_nothing_else() -> None:
    """One key by its whole name, no channel, two commands: rack-1 and rack-10 have nothing of each other."""
    assert rack_rules("rack-1") == ("resetkeys", "~rack.rack-1", "resetchannels", "-@all", "+ping", "+brpop")
    assert acl_line("r-1", "hidden").split()[:4] == ["user", "rack.r-1", "on", f"#{hash_of('hidden')}"]
    assert "hidden" not in acl_line("r-1", "hidden")


@pytest.mark.parametrize("name", ["*", "rack?1", "rack[1]", "a b", "rack\n", "räck", ""])
def test_a_name_that_would_be_a_pattern_is_refused(name: str) -> None:
    """Redis' key patterns are globs."""
    with pytest.raises(ValueError, match="pattern"):
        rack_rules(name)


@pytest.mark.parametrize(
    ("url", "login", "wrong"),
    [
        ("rediss://muster@redis.example:6379/0", True, None),
        ("rediss://redis.example:6379/0", False, None),
        ("redis://127.0.0.1:6379/0", False, None),
        ("redis://localhost/0", True, None),
        ("redis+socket:///run/redis.sock", False, None),
        ("redis://redis.example:6379/0", True, "plain Redis"),
        ("redis://127.0.0.1.example.org/0", True, "plain Redis"),
        ("rediss://a:hunter2pass@redis.example/0", False, "no user and no password"),
        ("amqp://redis.example", False, "must be rediss://"),
        ("rediss:///0", True, "names no host"),
        ("redis+socket://host/path", True, "a path on this host"),
        ("rediss://host:port/0", True, "cannot be read"),
    ],
)
def test_plain_redis_is_for_this_host(url: str, login: bool, wrong: str | None) -> None:
    """A password must not cross a network in the clear; what is refused names the setting and no password."""
    if wrong is None:
        assert check_url("MUSTER_X", url, login=login) == url
    else:
        with pytest.raises(ValueError, match=wrong) as refused:
            check_url("MUSTER_X", url, login=login)
        assert str(refused.value).startswith("MUSTER_X")
        assert "hunter2pass" not in str(refused.value)


@pytest.mark.parametrize(
    ("words_", "wrong"),
    [
        ({"MUSTER_BROKER_URL": "redis://redis.example/0"}, "MUSTER_BROKER_URL"),
        ({"MUSTER_BROKER_RACK_URL": "rediss://a:b@redis.example/0"}, "MUSTER_BROKER_RACK_URL"),
        ({"MUSTER_BROKER_CA": "/nonexistent/ca.crt"}, "MUSTER_BROKER_CA"),
        ({"MUSTER_BROKER_CERT": __file__}, "MUSTER_BROKER_KEY"),
        ({"MUSTER_BROKER_PASSWORD_FILE": "relative"}, "MUSTER_BROKER_PASSWORD_FILE"),
    ],
)
def test_settings_that_cannot_be_right_are_named(words_: dict[str, str], wrong: str) -> None:
    """The setting, and what it must be."""
    with pytest.raises(ConfigError, match=wrong):
        load(words_)


def test_a_password_is_in_no_text(tmp_path: Path) -> None:
    """It comes from a file, goes into the client's URL alone, whatever letters it has, and is not in what is printed."""
    secret = tmp_path / "password"
    secret.write_text("p@ss:w/rd%\n")
    url = "rediss://muster@redis.example:6379/0"
    config = load({"MUSTER_BROKER_URL": url, "MUSTER_BROKER_PASSWORD_FILE": str(secret)})

    assert config.broker.full_url == "rediss://muster:p%40ss%3Aw%2Frd%25@redis.example:6379/0"
    assert "p@ss" not in f"{config!r} {config.broker!r}"
    with make_app(config.broker).connection_for_read() as connection:
        assert (connection.userid, connection.password) == ("muster", "p@ss:w/rd%")
        assert "p%40ss" not in connection.as_uri()


@pytest.mark.parametrize(
    ("url", "rack_url", "here", "told"),
    [
        ("rediss://muster:x@redis.example:6379/0", None, False, "rediss://redis.example:6379/0"),
        ("rediss://muster:x@127.0.0.1:6379/0", None, False, None),
        ("redis://127.0.0.1/0", None, True, "redis://127.0.0.1/0"),
        ("redis://127.0.0.1/0", "rediss://redis.example/0", False, "rediss://redis.example/0"),
        ("redis+socket:///run/redis.sock", None, False, None),
        ("file:///broker", None, True, "file:///broker"),
        ("file:///broker", None, False, None),
        ("file:///broker", "rediss://redis.example/0", False, None),
    ],
)
def test_where_racks_are_sent(url: str, rack_url: str | None, here: bool, told: str | None) -> None:
    """Never to what only the control plane's host reaches, unless they are on it, and never with its password."""
    config = load({"MUSTER_BROKER_URL": url, "MUSTER_BROKER_RACK_URL": rack_url or ""})

    assert config.broker_for_racks(here) == told


LOGIN = Login("rediss://muster@redis.example:6379/0", "hunter2pass", Tls("/etc/ca.crt"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get issuer (_ssl.c:9)",
            "MUSTER_BROKER_CA",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch, ...", "subjectAltName"),
        ("invalid username-password pair or user is disabled.", "MUSTER_BROKER_PASSWORD_FILE"),
        ("Authentication required.", "MUSTER_BROKER_PASSWORD_FILE"),
        ("this user has no permissions to run the 'brpop' command", CONTROL_RULES),
        ("tlsv13 alert certificate required", "MUSTER_BROKER_CERT"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "tls-port"),
        ("Connection refused", "Connection refused"),
    ],
)
def test_an_error_names_the_setting(text: str, said: str) -> None:
    """What is wrong, where, and what to do; never the password."""
    try:
        try:
            raise OSError(text)
        except OSError as error:
            raise ConnectionError("it failed") from error
    except ConnectionError as error:
        sentence = explain(error, LOGIN)

    assert said in sentence
    assert "redis.example" in sentence
    assert "hunter2pass" not in sentence


def test_what_redis_adds_to_a_user_is_no_change() -> None:
    """ACL LIST of Redis 7 says the same in another order and with flags of its own."""
    listed = "user rack.a on sanitize-payload #12 ~rack.a resetchannels -@all +brpop +ping"

    assert words(listed) == words("user rack.a on #12 resetkeys ~rack.a resetchannels -@all +ping +brpop")
    assert words(listed) != words("user rack.a on #13 resetkeys ~rack.a resetchannels -@all +ping +brpop")


class Told(ControlPlane):
    """A control plane that says what a test has it say."""

    def __init__(self, *answers: dict[str, object]) -> None:
        super().__init__("http://127.0.0.1:1", "token")
        self.answers = list(answers)

    def broker(self) -> dict[str, object]:
        return self.answers.pop(0)


def source(root: Path, *answers: dict[str, object]) -> BrokerSource:
    """Of the rack `r-1`."""
    return BrokerSource(RackConfig(root, "http://127.0.0.1:1", 1, "r-1", "rack.r-1", "key"), Told(*answers))


def test_a_rack_refuses_redis_in_the_clear(tmp_path: Path) -> None:
    """Whatever the control plane says."""
    with pytest.raises(RackConfigError, match="plain Redis"):
        source(tmp_path, {"url": "redis://redis.example/0", "user": "rack.r-1", "password": "x"}).ask()


def test_what_was_told_outlives_the_control_plane(tmp_path: Path) -> None:
    """URL, user and CA are in a file, the password is with the secrets, and all go when there is no broker any more."""
    told = {"url": "rediss://redis.example/0", "user": "rack.r-1", "password": "hidden", "ca": "PEM"}
    asked = source(tmp_path, told, {"url": None})
    given = asked.ask()

    assert given == asked.kept() == Given("rediss://redis.example/0", "rack.r-1", "PEM", "hidden")
    assert "hidden" not in (tmp_path / "broker.json").read_text()
    login = asked.login(given)
    assert (login.user, login.tls.ca, login.advice) == ("rack.r-1", str(tmp_path / "broker-ca.pem"), RACK_PASSWORD)
    assert asked.ask() is None
    assert asked.kept() is None


def test_a_rack_without_a_broker_waits_for_one(tmp_path: Path) -> None:
    """It asks again, and begins when there is one."""
    pauses: list[float] = []
    asked = source(tmp_path, {"url": None}, {"url": None}, {"url": "file:///broker"})

    assert asked.wait(pauses.append) == Given("file:///broker")
    assert len(pauses) == 2


def test_each_connection_has_the_present_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one is used at once; another broker ends the process, which begins anew."""
    monkeypatch.setattr("workers.rack.broker.ASK_SECONDS", 0.0)
    first = {"url": "rediss://a.example/0", "user": "rack.r-1", "password": "one"}
    asked = source(tmp_path, first, first | {"password": "two"}, first | {"url": "rediss://b.example/0"})
    given, moved = asked.ask(), []
    assert given is not None
    credentials = Credentials(asked, given, lambda: moved.append(True))

    assert credentials.get_credentials() == ("rack.r-1", "two")
    assert not moved
    credentials.get_credentials()
    assert moved


def test_the_page_shows_the_rules_as_they_are() -> None:
    """Lines that people copy into their aclfile."""
    page = (Path(__file__).parents[2] / "docs" / "broker.md").read_text()
    rack = " ".join(rack_rules("r12"))

    assert f"user muster on #SHA256-OF-A-PASSWORD {CONTROL_RULES}\n" in page
    assert f"user muster-admin on #SHA256-OF-ANOTHER {ADMIN_RULES}\n" in page
    assert f"user rack.r12 on #... {rack}\n" in page
