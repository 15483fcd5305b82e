"""The installed system's first call, by the script that is in the image, to a server on loopback."""

from __future__ import annotations

import json
import runpy
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "templates/images/deployable/usr/lib/muster/phone-home"
UNKNOWN = "http://10-20-0-0--24.muster-internal.invalid:1/home"
DEAF = "http://127.0.0.1:1/home"


class Server(ThreadingHTTPServer):
    """Answers a POST with the status codes of its path, one after the other, the last one for ever."""

    daemon_threads = True

    def __init__(self, answers: dict[str, list[int]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.heard: list[tuple[str, str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    """One call."""

    server: Server

    def do_POST(self) -> None:
        """Note it and answer."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.heard.append((self.path, self.headers["Authorization"], body))
        left = self.server.answers[self.path]
        self.send_response(left.pop(0) if len(left) > 1 else left[0])
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({"/home": [204], "/stranger": [404], "/refusing": [403], "/later": [503, 502, 204]}) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("urls", "code", "paths"),
    [
        pytest.param(["/home", "/refusing"], 0, ["/home"], id="the name is enough"),
        pytest.param([UNKNOWN, "/home"], 0, ["/home"], id="a name that does not resolve costs nothing"),
        pytest.param([DEAF, "/home"], 0, ["/home"], id="nobody listens at the name"),
        pytest.param(["/stranger", "/home"], 0, ["/stranger", "/home"], id="the name leads to a stranger"),
        pytest.param([DEAF, "/later"], 0, ["/later"] * 3, id="again until it is heard"),
        pytest.param([DEAF, "/refusing"], 1, ["/refusing"], id="the address refuses: final"),
        pytest.param(["/refusing", DEAF], 1, ["/refusing"] * 10, id="the name refuses for long: final"),
    ],
)
def test_the_first_call_finds_its_way(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    urls: list[str],
    code: int,
    paths: list[str],
) -> None:
    """By the name, by the address where the name fails; the token is on the disk until the call was heard."""
    base = f"http://127.0.0.1:{server.server_port}"
    full = [url if "://" in url else base + url for url in urls]
    settings = tmp_path / "phone-home.json"
    settings.write_text(json.dumps({"urls": full, "url": "http://127.0.0.1:1/never", "token": "secret-1"}))

    found = call(settings, monkeypatch)

    assert (code, code != 0) == (found, settings.exists())
    assert paths == [path for path, _, _ in server.heard]
    assert {"Bearer secret-1"} == {word for _, word, _ in server.heard}
    assert {"hostname", "ssh_host_keys", "boot_id", "addresses"} == server.heard[0][2].keys()


def test_a_document_of_an_older_control_plane_is_understood(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has one URL."""
    settings = tmp_path / "phone-home.json"
    settings.write_text(json.dumps({"url": f"http://127.0.0.1:{server.server_port}/home", "token": "secret-1"}))

    assert 0 == call(settings, monkeypatch)


def call(settings: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the script's main, without its pauses."""
    names = runpy.run_path(str(SCRIPT))
    spaces = names["main"].__globals__
    spaces["SETTINGS"] = str(settings)
    monkeypatch.setattr(spaces["time"], "sleep", lambda seconds: None)
    monkeypatch.setattr(spaces["os"], "sync", lambda: None)
    return int(spaces["main"]())
