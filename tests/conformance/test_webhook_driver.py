"""What webhooks add to what every driver promises: the operator's URLs, secrets and patterns."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from app.power.base import PowerError
from app.power.operation import operate
from app.power.registry import driver
from tests.conformance.scripted import Answer, Request, Scripted, scripted

SECRET = "sesame-open"


def known(server: Scripted, scheme: str = "https", **other: str) -> dict[str, str]:
    """URLs on the scripted server; a key in the query, as some houses have it."""
    urls = {f"{verb}_url": f"{scheme}://127.0.0.1:{server.port}/{verb}?key=hidden" for verb in ("on", "off", "query")}
    pin = {"certificate": server.certificate} if scheme == "https" else {}
    return {**urls, **pin, **other}


def do(verb: str, parameters: dict[str, str]) -> str:
    """One operation, here; the power state."""
    return operate(driver("webhook"), verb, parameters, 30).power


def refusal(verb: str, parameters: dict[str, str]) -> PowerError:
    """The error that an operation must end with; it never shows a secret or the rest of a URL."""
    with pytest.raises(PowerError) as error:
        do(verb, parameters)

    assert SECRET not in error.value.sentence
    assert "hidden" not in error.value.sentence
    return error.value


def says(text: str, status: int = 200) -> Callable[[Request], Answer]:
    """A script that answers everything in one way."""
    return lambda request: Answer(text.encode(), status)


def test_secrets_go_where_the_operator_says(tmp_path: Path) -> None:
    """A bearer token, a header of any name, a user with a password of any letters; switching is a POST, asking a GET."""
    basic = "Basic " + base64.b64encode("muster:pässword".encode()).decode()
    with scripted(tmp_path, says("status: ON")) as server:
        do("query", known(server, token=SECRET))
        do("query", known(server, header="X-Key", header_value=SECRET))
        do("query", known(server, username="muster", password="pässword"))
        do("on", known(server, method="PUT"))
    seen = server.requests

    assert [f"Bearer {SECRET}", None, basic] == [request.headers.get("Authorization") for request in seen[:3]]
    assert [None, SECRET, None] == [request.headers.get("X-Key") for request in seen[:3]]
    assert ["GET", "GET", "GET", "PUT", "GET"] == [request.method for request in seen]
    assert ["/query?key=hidden", "/on?key=hidden"] == [request.path for request in seen[2:4]]


def test_plain_http_must_be_allowed(tmp_path: Path) -> None:
    """Without a word about it nothing is sent; with it, it works."""
    with scripted(tmp_path, says("off"), tls=False) as server:
        error = refusal("query", known(server, scheme="http", token=SECRET))
        before = list(server.requests)
        power = do("query", known(server, scheme="http", token=SECRET, allow_http="yes"))

    assert ("refused", []) == (error.kind, before)
    assert "set `allow_http` to yes" in error.sentence
    assert "off" == power


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        pytest.param(says("neither"), "garbage", "neither on_pattern nor off_pattern matches", id="no pattern"),
        pytest.param(says("on or off"), "garbage", "both on_pattern and off_pattern match", id="both patterns"),
        pytest.param(says("on" * 3 * 2**20), "garbage", "longer than 4 MiB", id="too long"),
        pytest.param(says(f"bad {SECRET}", 500), "refused", "answers 500 to query: bad ********", id="repeats the secret"),
        pytest.param(says("", 403), "credentials", "answers 403", id="forbidden"),
        pytest.param(
            lambda request: Answer(b"", 302, {"Location": "/elsewhere"}), "garbage", "redirected", id="a redirect"
        ),
        pytest.param(
            lambda request: Answer(b"", 307, {"Location": "https://other.example/"}), "garbage",
            "redirects to another host (https://other.example:443)", id="a redirect to another host",
        ),
    ],
)  # fmt: skip
def test_answers_that_are_not_taken(tmp_path: Path, script: Callable[[Request], Answer], kind: str, said: str) -> None:
    """Each ends in a sentence that says what is wrong, and one request was all."""
    with scripted(tmp_path, script) as server:
        error = refusal("query", known(server, token=SECRET))

    assert kind == error.kind
    assert said in error.sentence
    assert 1 == len(server.requests)


def test_patterns_are_the_operators(tmp_path: Path) -> None:
    """MAAS's own habit, for one: the state is in a JSON text."""
    with scripted(tmp_path, says('{"status":"running"}')) as server:
        patterns = {"on_pattern": r'"status":"running"', "off_pattern": r'"status":"stopped"'}

        assert "on" == do("query", known(server, **patterns))


def test_network_boot_needs_a_url_or_a_machine_that_does_it_anyway(tmp_path: Path) -> None:
    """Nobody is told that the boot device was set when nothing can set it."""
    with scripted(tmp_path, says("on")) as server:
        error = refusal("pxe", known(server))
        do("pxe", known(server, network_first="yes"))
        none = list(server.requests)
        do("pxe", known(server, pxe_url=f"https://127.0.0.1:{server.port}/pxe"))

    assert ("refused", []) == (error.kind, none)
    assert "no pxe_url" in error.sentence
    assert ["/pxe"] == [request.path for request in server.requests]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("on_url", "ftp://pdu/on", "is not a URL"),
        ("on_url", "https://user:pass@pdu/on", "must not hold a user or a password"),
        ("on_pattern", "(", "is not a regular expression"),
        ("header", "X Key", "is not the name of a header"),
        ("certificate", "12:34", "is not a SHA-256 fingerprint"),
        ("authority", "-----BEGIN", "is not a certificate"),
        ("token", "a\nb", "cannot stand in a header"),
    ],
)
def test_values_are_checked_where_they_are_entered(name: str, value: str, said: str) -> None:
    """The rule is named, and the value unless it is secret."""
    parameter = next(one for one in driver("webhook").parameters if one.name == name)
    complaint = parameter.complaint(value)

    assert complaint is not None
    assert said in complaint
    assert (value not in complaint) == parameter.secret or repr(value) in complaint
