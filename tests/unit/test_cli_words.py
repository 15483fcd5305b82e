"""What the command line says when something is wrong on the way, and how its tables fit a terminal."""

from __future__ import annotations

import http.server
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.cli import main
from app.cli.output import table
from tests.unit.test_cli import Outcome, Served, served  # noqa: F401 - a fixture

HTML = b"<html><body>Please sign in</body></html>"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Outcome]:
    """Runs `muster` with a token and no profile."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("MUSTER_TOKEN", "muster_a-token-of-the-tests")

    def call(*words: str) -> Outcome:
        monkeypatch.setattr("sys.argv", ["muster", *words])
        code = 0
        try:
            main()
        except SystemExit as leave:
            code = int(leave.code or 0)
        written = capsys.readouterr()
        return Outcome(code, written.out, written.err)

    return call


@contextmanager
def answering(status: int, kind: str, body: bytes, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that gives one answer to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Nothing."""

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *words: object) -> None:
            """A client that does not trust us hangs up."""

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        scheme = "https" if context else "http"
        yield f"{scheme}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "kind", "body", "code", "words"),
    [
        (200, "text/html", HTML, 3, "answers with a web page"),
        (200, "application/json", b"not json", 3, "no JSON"),
        (404, "text/html", HTML, 1, "a web page answers"),
        (502, "text/html", HTML, 3, "the control plane behind it does not"),
        (401, "application/problem+json", b'{"detail": "the API token is unknown"}', 4, "muster login"),
        (500, "application/problem+json", b'{"detail": "oh", "request_id": "r-1"}', 1, "[request r-1]"),
    ],
)
def test_answers_of_something_else(
    run: Callable[..., Outcome], status: int, kind: str, body: bytes, code: int, words: str
) -> None:
    """Proxies, sign-in pages, failures: a sentence that says what it is, on standard error, with its exit code."""
    with answering(status, kind, body) as url:
        outcome = run("--url", url, "machine", "show", "x")

    assert (code, "") == (outcome.code, outcome.out)
    assert words in outcome.err
    assert 1 == len(outcome.err.splitlines())


def test_nobody_there(run: Callable[..., Outcome]) -> None:
    """Refused, unknown name, no address at all, something that speaks no HTTP: each has its own remedy."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    refused = run("--url", f"http://127.0.0.1:{port}", "machine", "list")
    unknown = run("--url", "http://no-such-host.invalid", "machine", "list")
    senseless = run("--url", "five-two-four-zero", "machine", "list")

    assert [3, 3, 3] == [refused.code, unknown.code, senseless.code]
    assert "nothing listens there; start it with `muster run`" in refused.err
    assert "its name is unknown" in unknown.err
    assert "is no address of a control plane" in senseless.err


def test_a_certificate_that_is_not_trusted(run: Callable[..., Outcome], tmp_path: Path) -> None:
    """It says so, and how to name the authority."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    assert shutil.which("openssl")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=127.0.0.1",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with answering(200, "application/json", b"{}", context) as url:
        outcome = run("--url", url, "machine", "list")

    assert 3 == outcome.code
    assert "is not trusted" in outcome.err
    assert "REQUESTS_CA_BUNDLE" in outcome.err


def test_tables_fit_the_terminal() -> None:
    """The widest columns are cut, then the last ones are left out and named; nothing is cut for files and programs."""
    rows = [["1", "FAILED_DEPLOYMENT", "a sentence much longer than any terminal " * 4, "2026-01-01 12:00:00", "end"]]
    headings = ("id", "state", "reason", "at", "last")
    wide = table(headings, rows)
    fitting = table(headings, rows, 80).splitlines()
    narrow = table(headings, rows, 50).splitlines()

    assert max(map(len, wide.splitlines())) > 120
    assert 80 == max(map(len, fitting))
    assert all(word in fitting[1] for word in ("FAILED_DEPLOYMENT", "2026-01-01 12:00:00", "end"))
    assert "\N{HORIZONTAL ELLIPSIS}" in fitting[1]
    assert max(map(len, narrow[:2])) <= 50
    assert "(at, last: in a wider terminal, or with --json)" == narrow[2]


def test_control_characters_do_not_reach_the_terminal() -> None:
    """What a machine calls itself cannot move the cursor."""
    assert "\x1b" not in table(("name",), [["\x1b[2Jevil"]])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run: Callable[..., Outcome], shell: str) -> None:
    """Each shell gets its own; bash's is accepted by bash."""
    outcome = run("completion", shell)

    assert 0 == outcome.code
    assert "_MUSTER_COMPLETE" in outcome.out
    if shell == "bash":
        assert 0 == subprocess.run(["bash", "-n"], input=outcome.out, text=True, check=False).returncode


def test_completion_completes(run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shell asks is answered without a control plane."""
    monkeypatch.setenv("_MUSTER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "muster machine com")
    monkeypatch.setenv("COMP_CWORD", "2")

    assert "plain,commission" in run().out.splitlines()


def test_lists_are_whole(served: Served) -> None:  # noqa: F811
    """More things than a page holds are all listed, keys and tokens too; `--json` may stand at the end."""
    for _ in range(3):
        served.run("token", "create", "one")
    shown = served.run("token", "list", "--json")
    audit = served.run("audit", "--last", "2").out

    assert 4 == shown.out.count('"prefix"')
    assert ["create", "create"] == [line.split()[4] for line in audit.splitlines()[1:3]]


def test_settings_change_by_key(served: Served) -> None:  # noqa: F811
    """One key is changed and the others stay."""
    done = served.run("setting", "set", "retention", "event_days=12")
    shown = served.run("setting", "list").out

    assert 0 == done.code, done.err
    assert ["retention", "event_days", "12"] in [line.split() for line in shown.splitlines()]
    assert ["retention", "audit_days", "730"] in [line.split() for line in shown.splitlines()]
    assert 1 == served.run("setting", "set", "nonsense", "a=1").code
    assert 2 == served.run("setting", "set", "retention", "a").code
