"""An IPv6 address in brackets is taken wherever a URL is, and what is no address is refused in words."""

from __future__ import annotations

import http.server
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import structlog
from werkzeug.serving import make_server

from app.cli import main
from app.cli.run import Listen
from app.config import load
from app.factory import create_app
from app.power.operation import operate
from app.power.registry import driver
from app.services import users
from tests.factories.control import make_context, seed
from workers.rack.config import ConfigError, check_control_plane_url


@contextmanager
def serving(server: http.server.HTTPServer) -> Iterator[str]:
    """A server in a thread; its URL."""
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://[::1]:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_the_command_line_works_over_ipv6(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`muster --url http://[::1]:PORT login` keeps the URL in the profile, and the next command finds it there."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    context = make_context(tmp_path)
    seed(context)
    users.create(context, "root", "a long password", "admin")
    application = create_app(context, load({"MUSTER_STATE_DIR": str(tmp_path / "s")}))
    (tmp_path / "password").write_text("a long password\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("MUSTER_URL", "MUSTER_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["muster", *words])
        try:
            main()
        except SystemExit as leave:
            return int(leave.code or 0)
        return 0

    with serving(make_server("::1", 0, application, True)) as url:
        login = run("--url", url, "login", "root", "--password-file", str(tmp_path / "password"))
        kept = json.loads((tmp_path / "config" / "muster" / "profile.json").read_text())["url"]
        capsys.readouterr()
        listed = run("subnet", "list")
        shown = capsys.readouterr().out
        wrong = run("--url", "http://[::1", "subnet", "list")
        said = capsys.readouterr().err

    assert (0, url, 0) == (login, kept, listed)
    assert "10.20.0.0/24" in shown
    assert 0 != wrong
    assert "'http://[::1' is no address of a control plane" in said


def test_the_control_plane_listens_on_ipv6() -> None:
    """`--listen [::]:PORT` takes connections by IPv6."""
    with closing(socket.socket(socket.AF_INET6)) as probe:
        probe.bind(("::1", 0))
        port = probe.getsockname()[1]
    with closing(Listen.parse(f"[::]:{port}").open()), closing(socket.create_connection(("::1", port), 2)) as link:
        assert "::1" == link.getpeername()[0]


@pytest.mark.parametrize("url", ["http://[::1]:5240", "https://[2001:db8::1]:5240", "https://[2001:db8::1]/"])
def test_a_rack_enrols_at_an_ipv6_address(url: str) -> None:
    """Plain http to this very host and https to any are taken as they are."""
    assert url.rstrip("/") == check_control_plane_url(url, lab=False)


@pytest.mark.parametrize(
    "url", ["http://[2001:db8::1]:5240", "https://[::1", "https://2001:db8::1:5240", "https://[::1]:0"]
)
def test_a_rack_refuses_what_is_no_address_and_plain_http_elsewhere(url: str) -> None:
    """Without brackets the port cannot be told from the address; plain http would show the token."""
    with pytest.raises(ConfigError, match="http"):
        check_control_plane_url(url, lab=False)


def test_a_webhook_is_asked_over_ipv6() -> None:
    """The power state is read from a controller at an address in brackets, and its refusals name it so."""

    class Controller(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/query" else 404)
            self.end_headers()
            self.wfile.write(b"power: on")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6

    with serving(Server(("::1", 0), Controller)) as url:
        known = {f"{verb}_url": f"{url}/{verb}" for verb in ("on", "off", "query")} | {"allow_http": "yes"}
        power = operate(driver("webhook"), "query", known, 30).power
        missing = operate_badly({**known, "query_url": f"{url}/nothing"})

    assert "on" == power
    assert f"webhook {url}" in missing


def operate_badly(parameters: dict[str, str]) -> str:
    """What the driver says of a controller that refuses."""
    with pytest.raises(Exception, match="webhook") as error:
        operate(driver("webhook"), "query", parameters, 30)
    return str(error.value)
