"""Offers, enrolment, the broker without a server, the doorbell and the power runner, against a control plane's edge."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kombu import Connection

from renderers.intent import RackPorts
from tests.factories.fake_control_plane import FakeControlPlane
from workers.celery_app import make_app
from workers.rack.__main__ import EXIT_DOWN, EXIT_REFUSED, EXIT_SETUP, main
from workers.rack.agent import Agent
from workers.rack.client import ControlPlane
from workers.rack.config import ConfigError, RackConfig, check_control_plane_url, load_config
from workers.rack.offer import Envelope, OfferError
from workers.rack.power import PowerRunner
from workers.rack.tasks import WAKE
from workers.rack.units import FakeUnits
from workers.rack.waiting import Doorbell, ring

REPOSITORY = Path(__file__).resolve().parents[2]
EMPTY = json.dumps(
    {"bundles": [], "absent": [], "probes": {}, "units": {}, "scopes": [], "zones": [], "subnets": []}
).encode()


def enrol(plane: FakeControlPlane, root: Path, code: str = "one-time") -> int:
    """`muster-rack enrol` with the code in a file."""
    path = root.parent / "code"
    path.write_text(f"{code}\n")
    return main(["enrol", "--url", plane.url, "--code-file", str(path), "--root", str(root), "--port", "dns=5353"])


def test_enrolment_pins_the_key_and_keeps_secrets_closed(tmp_path: Path) -> None:
    """Tokens and keys are 0600 in a closed directory, the configuration says what was told, a second try is refused."""
    with FakeControlPlane() as plane:
        first, second = enrol(plane, tmp_path / "root"), enrol(plane, tmp_path / "root")
        config = load_config(tmp_path / "root")
        secrets = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "root" / "secrets").iterdir()}

        assert (first, second) == (0, EXIT_SETUP)
        assert (config.offer_public_key, config.queue) == (plane.public_key, "rack.rack-1")
        assert config.ports == RackPorts(dns=5353)
        assert secrets == dict.fromkeys(
            ("hosts-db", "omapi", "rack-token", "relay-token", "rndc-key", "tsig-update"), 0o600
        )
        assert plane.enrolments[0]["ports"]["dns"] == 5353
        assert plane.enrolments[0]["layout"]["root"] == str(tmp_path / "root")


def test_a_wrong_code_and_a_dead_control_plane_have_their_exit_codes(tmp_path: Path) -> None:
    """Refused is 4, no answer is 5, and neither leaves a configuration."""
    with FakeControlPlane() as plane:
        refused = enrol(plane, tmp_path / "root", "wrong")
        plane_url = plane
        plane_url.stop()
        (tmp_path / "code").write_text("x")
        down = main(
            [
                "enrol",
                "--url",
                "http://127.0.0.1:1",
                "--code-file",
                str(tmp_path / "code"),
                "--root",
                str(tmp_path / "root"),
            ]
        )

    assert (refused, down) == (EXIT_REFUSED, EXIT_DOWN)
    assert main(["status", "--root", str(tmp_path / "root")]) == EXIT_SETUP


@pytest.mark.parametrize(
    ("url", "lab", "accepted"),
    [
        ("http://127.0.0.1:5240", False, True),
        ("http://[::1]:5240/", False, True),
        ("https://muster.example", False, True),
        ("http://10.0.0.1:5240", False, False),
        ("http://127.0.0.1.example.org", False, False),
        ("http://10.0.0.1:5240", True, True),
        ("ftp://127.0.0.1", True, False),
        ("https://a:b@muster.example", False, False),
    ],
)
def test_plain_http_is_for_this_host_and_for_labs(url: str, lab: bool, accepted: bool) -> None:
    """A token must not cross a network in the clear."""
    if accepted:
        assert check_control_plane_url(url, lab) == url.rstrip("/")
    else:
        with pytest.raises(ConfigError):
            check_control_plane_url(url, lab)


def enrolled(plane: FakeControlPlane, root: Path) -> RackConfig:
    """A rack's configuration, secrets on disk."""
    assert enrol(plane, root) == 0
    return load_config(root)


def test_only_a_signed_offer_for_this_rack_is_opened() -> None:
    """The pinned key opens it; another key, rack, number or content does not."""
    plane = FakeControlPlane()
    plane.set_offer(EMPTY)
    assert plane.offer is not None
    good = Envelope.from_data(plane.offer)
    opened = good.open(plane.public_key, "rack-1")
    forged = [
        ({**plane.offer, "number": 2}, "rack-1"),
        ({**plane.offer, "content": plane.offer["content"][:-4] + "AAA="}, "rack-1"),
        (plane.offer, "rack-2"),
        ({**plane.offer, "rack": "rack-2"}, "rack-2"),
    ]

    assert (opened.number, opened.bundles) == (1, ())
    for data, rack in forged:
        with pytest.raises(OfferError):
            Envelope.from_data(data).open(plane.public_key, rack)
    with pytest.raises(OfferError):
        good.open(FakeControlPlane().public_key, "rack-1")


def test_an_offer_counts_once_and_never_goes_back(tmp_path: Path) -> None:
    """Forged and older offers change nothing; a newer one counts; a restarted agent remembers."""
    with FakeControlPlane() as plane:
        config = enrolled(plane, tmp_path / "root")

        def done() -> int:
            agent = Agent(config, units=FakeUnits(), specs={})
            agent.turn()
            path = config.root / "offers" / "done.json"
            return int(json.loads(path.read_text())["number"]) if path.exists() else 0

        plane.set_offer(EMPTY, key=Ed25519PrivateKey.generate())
        forged = done()
        plane.set_offer(EMPTY, number=5)
        newer = done()
        plane.set_offer(EMPTY, number=4)
        older = done()

        assert (forged, newer, older) == (0, 5, 5)
        assert plane.observations[-1]["offer"] == 5


def test_telling_what_runs_keeps_no_record_waiting(tmp_path: Path) -> None:
    """While an observation is told, as slowly as may be, records are taken."""
    told, go_on, stop = threading.Event(), threading.Event(), threading.Event()

    class Slow(ControlPlane):
        def report_observation(self, observation: dict[str, Any]) -> None:
            told.set()
            go_on.wait(60)

    with FakeControlPlane() as plane:
        config = enrolled(plane, tmp_path / "root")
        plane.set_offer(json.dumps({**json.loads(EMPTY), "scopes": ["zone:a.test"]}).encode())
        client = Slow(plane.url, plane.token)
        agent = Agent(config, units=FakeUnits(), specs={}, client=client)
        running = threading.Thread(target=agent.run, args=(stop,))
        running.start()
        try:
            assert told.wait(60)
            sequence = plane.add_record("zone:a.test", "rrset:x.a.test.:A", {"n": 1})
            plane.wait_until(lambda: any(report["applied"] == sequence for report in plane.record_reports))
            waited = not go_on.is_set()
        finally:
            go_on.set()
            stop.set()
            running.join(30)

        assert waited
        assert agent.keeper.store.value("zone:a.test", "rrset:x.a.test.:A") == {"n": 1}
        assert not plane.observations


def test_a_half_written_message_is_set_aside(tmp_path: Path) -> None:
    """Messages arrive in order; what does not decode is put away and the rest is read; hidden parts are not seen."""
    app = make_app(f"file://{tmp_path}/broker")
    folder = tmp_path / "broker" / "messages"
    options = app.conf.broker_transport_options
    with Connection(
        "filesystem://", transport="workers.filesystem_transport:Transport", transport_options=options
    ) as link:
        queue = link.SimpleQueue("region.a")
        queue.put({"n": 1})
        (folder / "00_broken.region.a.msg").write_bytes(b'{"body": "half')
        (folder / ".1_part.region.a.msg.part").write_bytes(b"{")
        queue.put({"n": 2})
        found = [queue.get(timeout=5).payload["n"] for _ in range(2)]
        queue.close()

    assert found == [1, 2]
    assert [path.name for path in (folder / "undecodable").iterdir()] == ["00_broken.region.a.msg"]


def test_a_broker_must_be_an_absolute_directory() -> None:
    """A relative one would be another for each process."""
    with pytest.raises(ValueError, match="absolute"):
        make_app("file://broker")


def test_the_doorbell_process_wakes_the_agent(tmp_path: Path) -> None:
    """A task sent to the rack's queue sets the agent's event; without an agent a ring is lost and nothing breaks."""
    with FakeControlPlane() as plane:
        plane.broker_url = f"file://{tmp_path}/broker"
        config = enrolled(plane, tmp_path / "root")
    wake, stop = threading.Event(), threading.Event()

    assert not ring(config.doorbell_path)

    Doorbell(config.doorbell_path, wake, stop).start()
    argv = [sys.executable, "-m", "workers.rack", "doorbell", "--root", str(config.root)]
    process = subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        make_app(str(config.broker_url)).send_task(WAKE, queue=config.queue, ignore_result=True)
        rung = wake.wait(30)
    finally:
        process.terminate()
        process.wait(timeout=20)
        stop.set()

    assert rung


def run_power(plane: FakeControlPlane, count: int, seconds: float = 30) -> dict[int, dict[str, Any]]:
    """Run the power process's loop until so many results are in."""
    stop = threading.Event()
    runner = PowerRunner(lambda: ControlPlane(plane.url, plane.token))
    thread = threading.Thread(target=runner.run, args=(stop,))
    thread.start()
    try:
        plane.wait_until(lambda: len(plane.power_results) >= count, seconds)
    finally:
        stop.set()
        runner.wake.set()
        thread.join(timeout=30)
    return plane.power_results


def test_operations_are_carried_out_and_reported() -> None:
    """A driver's refusal and an unknown driver come back as sentences; a query by hand is unknown and well."""
    with FakeControlPlane() as plane:
        plane.add_operation("query", "manual", {}, 10, "m1")
        plane.add_operation("on", "manual", {"location": "row 3"}, 10, "m1")
        plane.add_operation("on", "nonsense", {}, 10, "m2")
        results = run_power(plane, 3)

    assert (results[1]["ok"], results[1]["power"]) == (True, "unknown")
    assert (results[2]["ok"], results[2]["power"]) == (False, "error")
    assert "row 3" in results[2]["reason"]
    assert "nonsense" in results[3]["reason"]


def test_a_hung_controller_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own operation times out at the deadline; that of another machine is done meanwhile."""
    import workers.rack.power as power

    real = subprocess.Popen

    def hanging(argv: list[str], **named: Any) -> subprocess.Popen[str]:
        return real([sys.executable, "-c", "import sys,time; sys.stdin.read(); time.sleep(60)"], **named)

    calls: list[int] = []

    def popen(argv: list[str], **named: Any) -> subprocess.Popen[str]:
        calls.append(1)
        return hanging(argv, **named) if len(calls) == 1 else real(argv, **named)

    monkeypatch.setattr(power.subprocess, "Popen", popen)
    with FakeControlPlane() as plane:
        plane.add_operation("on", "manual", {"address": "10.0.0.1"}, 4, "m1")
        begin = time.monotonic()
        stop = threading.Event()
        runner = PowerRunner(lambda: ControlPlane(plane.url, plane.token))
        thread = threading.Thread(target=runner.run, args=(stop,))
        thread.start()
        plane.wait_until(lambda: calls, 10)
        plane.add_operation("query", "manual", {}, 10, "m2")
        plane.wait_until(lambda: 2 in plane.power_results, 10)
        quick = time.monotonic() - begin
        first_was_open = 1 not in plane.power_results
        plane.wait_until(lambda: 1 in plane.power_results, 20)
        stop.set()
        runner.wake.set()
        thread.join(timeout=30)

    assert first_was_open
    assert quick < 4
    assert plane.power_results[1]["reason"].startswith("timeout: controller 10.0.0.1")


def test_a_queue_that_nobody_reads_stays_small(tmp_path: Path) -> None:
    """A rack's queue holds one wake however often it is rung, and takes the next once that is read."""
    app = make_app(f"file://{tmp_path / 'broker'}", "test")
    with app.connection_for_write() as connection:
        queue = connection.SimpleQueue("rack.alone")
        for _ in range(5):
            queue.put({"wake": True})
        waiting = queue.qsize()
        queue.get(block=False).ack()
        queue.put({"wake": True})
        again = queue.qsize()
        queue.close()

    assert (waiting, again) == (1, 1)
