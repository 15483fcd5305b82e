"""The agent's client against a real HTTP server on loopback, and the course of a whole run."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.agent import main
from app.agent.cmdline import BootParameters
from app.agent.edge import Edge
from app.agent.errors import EdgeRefused, EdgeUnreachable
from app.agent.progress import Progress
from app.agent.runner import Completed


class Server(ThreadingHTTPServer):
    """Answers from a list of (code, body) per path, the last one for ever, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.seen: list[tuple[str, str, dict[str, Any] | None, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/machine/v1"

    def events(self) -> list[tuple[str, str]]:
        return [(body["event"], body["step"]) for _, path, body, _ in self.seen if path == "/status" and body]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path = self.path.removeprefix("/machine/v1")
        self.server.seen.append((self.command, path, body, self.headers.get("Authorization")))
        answers = self.server.answers.get(path, [(204, None)])
        code, content = answers.pop(0) if len(answers) > 1 else answers[0]
        data = b"" if content is None else json.dumps(content).encode()
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def edge(server: Server, pauses: list[float]) -> Edge:
    return Edge(server.url, "t0ken", sleep=pauses.append, timeout_seconds=5)


def test_the_token_is_sent_and_the_task_comes_back(server: Server, edge: Edge) -> None:
    """Every call carries the bearer token."""
    server.answers["/task"] = [(200, {"purpose": "erase"})]

    assert edge.task() == {"purpose": "erase"}
    assert server.seen == [("GET", "/task", None, "Bearer t0ken")]


def test_server_errors_are_tried_again(server: Server, edge: Edge, pauses: list[float]) -> None:
    """Two 5xx answers cost two growing pauses, and the third answer counts."""
    server.answers["/task"] = [(503, {"title": "busy"}), (500, None), (200, {"purpose": "install"})]

    assert edge.task() == {"purpose": "install"}
    assert pauses == [1.0, 2.0]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 413, 422])
def test_a_refusal_is_not_tried_again(server: Server, edge: Edge, pauses: list[float], code: int) -> None:
    """A 4xx is asked once and explained with the problem's own words, without the token."""
    server.answers["/status"] = [(code, {"title": "No", "detail": "this run was ended by alice"})]

    with pytest.raises(EdgeRefused, match=rf"refused with {code}: this run was ended by alice") as info:
        edge.status("finished", "install", "done")
    assert len(server.seen) == 1
    assert pauses == []
    assert info.value.status == code
    assert "t0ken" not in str(info.value)


def test_a_redirect_does_not_take_the_token_elsewhere(server: Server, edge: Edge) -> None:
    """A redirect is refused, and the place it names is never asked."""
    server.answers["/task"] = [(302, None)]

    with pytest.raises(EdgeRefused):
        edge.task()
    assert [path for _, path, _, _ in server.seen] == ["/task"]


def test_nobody_there_is_tried_to_the_end(pauses: list[float]) -> None:
    """A connection that is refused is tried with every pause, and the error says how often."""
    edge = Edge("http://127.0.0.1:1/machine/v1", "t0ken", sleep=pauses.append, backoff_seconds=(1.0, 2.0))

    with pytest.raises(EdgeUnreachable, match="gave up after 3 tries"):
        edge.task()
    assert pauses == [1.0, 2.0]


def test_lost_progress_stops_nothing(server: Server, edge: Edge, pauses: list[float]) -> None:
    """Progress is sent once and may get lost; but a refusal of it ends the run."""
    server.answers["/status"] = [(502, None), (409, {"detail": "cancelled"})]

    edge.status("progress", "rootfs", "1 of 9 MiB", 0.1)
    assert pauses == []
    with pytest.raises(EdgeRefused, match="cancelled"):
        edge.status("progress", "rootfs", "2 of 9 MiB", 0.2)


def test_proxy_variables_are_ignored(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not used, even one that is not there."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.answers["/task"] = [(200, {"purpose": "erase"})]

    assert Edge(server.url, "t", backoff_seconds=()).task() == {"purpose": "erase"}


def test_progress_is_reported_now_and_then(server: Server, edge: Edge) -> None:
    """A thousand updates within ten seconds become the first and five more, two seconds apart."""
    now = iter(index / 100 for index in range(2000))
    progress = Progress(edge, clock=lambda: next(now))

    progress.step("rootfs", "begin")
    for index in range(1000):
        progress.at("rootfs", "more", index / 1000)
    fractions = [body["fraction"] for _, _, body, _ in server.seen if body]

    assert fractions[0] is None
    assert len(fractions) == 6
    assert fractions[1:] == sorted(fractions[1:])


class Then:
    """Remembers what would have been run to power off or restart."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []

    def __call__(self, argv: list[str]) -> Completed:
        self.commands.append(argv)
        return Completed(tuple(argv), 0, b"", b"")


def boot(server: Server) -> BootParameters:
    return BootParameters(server.url, "t0ken")


def test_a_run_reports_and_then_powers_off(server: Server, edge: Edge) -> None:
    """Started, finished, then the task's `then`; scripts that this agent lacks are told as skipped results."""
    server.answers["/task"] = [
        (200, {"purpose": "commission", "scripts": [{"name": "none", "timeout_seconds": 5}], "then": "poweroff"})
    ]
    then = Then()

    assert main.perform(edge, boot(server), then) == 0
    assert server.events() == [("started", "commission"), ("progress", "none"), ("finished", "commission")]
    assert [body["status"] for _, path, body, _ in server.seen if path == "/results" and body] == ["skipped"]
    assert server.seen[-1][2] == {
        "event": "finished",
        "step": "commission",
        "message": "0 of 1 scripts passed; none skipped",
        "fraction": 1.0,
    }
    assert then.commands == [["systemctl", "poweroff"]]


def test_a_success_that_nobody_accepted_leaves_the_machine_up(server: Server, edge: Edge) -> None:
    """When the report of success is refused, the machine neither powers off nor restarts."""
    server.answers["/task"] = [(200, {"purpose": "commission", "scripts": [], "then": "reboot"})]
    server.answers["/status"] = [(204, None), (409, {"detail": "not yours"})]
    then = Then()

    assert main.perform(edge, boot(server), then) == 1
    assert then.commands == []


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ({"purpose": "dance"}, "purpose 'dance' is unknown"),
        ({"purpose": "install", "install": None}, "the task has no install section"),
        ({"purpose": "erase", "erase": {"mode": "gently"}}, "mode 'gently' is unknown"),
    ],
)
def test_a_failure_is_reported_in_a_sentence(server: Server, edge: Edge, task: dict[str, Any], sentence: str) -> None:
    """A failure that was foreseen is a sentence without a traceback, and the machine stays up."""
    server.answers["/task"] = [(200, {**task, "then": "poweroff"})]
    then = Then()

    assert main.perform(edge, boot(server), then) == 1
    message = (server.seen[-1][2] or {})["message"]
    assert server.events()[-1] == ("failed", task["purpose"])
    assert sentence in message
    assert "Traceback" not in message
    assert then.commands == []


def test_an_unforeseen_error_brings_its_traceback(server: Server, edge: Edge) -> None:
    """A bug is reported with its kind and the end of its traceback."""
    server.answers["/task"] = [(200, {"purpose": "commission", "scripts": [{"no": "name"}]})]

    assert main.perform(edge, boot(server), Then()) == 1
    message = (server.seen[-1][2] or {})["message"]
    assert message.startswith("unexpected error in the agent: KeyError: 'name'\n")
    assert "Traceback (most recent call last)" in message
