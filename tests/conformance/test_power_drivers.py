"""What every power driver promises, against a real controller of its kind: `ipmi_sim`, the lab's Redfish BMC, an endpoint.

Every driver meets every case of `CASES`, or stands in `CANNOT` with the reason why that case does not exist for it.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import pytest

from app.power.base import VERBS, PowerError, PowerErrorKind, checked
from app.power.operation import operate
from app.power.registry import driver, drivers
from lab.certificate import make_certificate
from lab.redfish import fingerprint
from tests.conformance.controllers import CONTROLLERS, PASSWORD, Controller, ask, kind_of

KINDS = set(get_args(PowerErrorKind))
NOWHERE = "https://127.0.0.1:1/"
SAMPLE = {
    "ipmi": {"address": "127.0.0.1", "username": "muster", "password": PASSWORD, "port": "1"},
    "manual": {"location": "row 3"},
    "redfish": {"address": "127.0.0.1", "username": "muster", "password": PASSWORD, "port": "1"},
    "webhook": {"on_url": NOWHERE, "off_url": NOWHERE, "query_url": NOWHERE, "token": PASSWORD},
}


# --- what needs no controller -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", drivers())
def test_a_driver_names_itself_and_its_parameters(name: str) -> None:
    """Its name is its key, its parameters are named once and labelled, and a sample of them is accepted."""
    chosen = driver(name)
    names = [parameter.name for parameter in chosen.parameters]

    assert name == chosen.name
    assert chosen.title
    assert len(set(names)) == len(names)
    assert all(parameter.label for parameter in chosen.parameters)
    assert set(names) == set(checked(chosen, SAMPLE[name]))


@pytest.mark.parametrize("name", drivers())
def test_defaults_and_choices_agree(name: str) -> None:
    """A default is a value that would be accepted, and no secret has one."""
    chosen = driver(name).parameters

    assert [] == [one.name for one in chosen if one.default and one.complaint(one.default)]
    assert [] == [one.name for one in chosen if one.secret and (one.default or one.choices)]


@pytest.mark.parametrize("name", drivers())
def test_unknown_parameters_values_and_verbs_are_refused(name: str) -> None:
    """A misspelled parameter, a value that is no choice and a verb that does not exist are named; nobody is asked."""
    with pytest.raises(PowerError, match="colour") as parameter:
        operate(driver(name), "query", {**SAMPLE[name], "colour": "red"}, 5)
    with pytest.raises(PowerError, match="explode") as verb:
        operate(driver(name), "explode", SAMPLE[name], 5)
    for one in driver(name).parameters:
        if one.choices:
            with pytest.raises(PowerError, match=f"{one.name}.*not one of"):
                operate(driver(name), "query", {**SAMPLE[name], one.name: "perhaps"}, 5)

    assert (parameter.value.kind, verb.value.kind) == ("garbage", "garbage")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", drivers())
def test_without_a_controller_each_verb_fails_in_words_or_says_unknown(name: str, verb: str) -> None:
    """Nothing is behind the sample's address: only a driver that cannot be asked may answer, with `unknown`."""
    answer = ask(name, verb, SAMPLE[name])
    kind, _, sentence = str(answer["reason"]).partition(": ")
    failed_in_words = not answer["ok"] and kind in KINDS and bool(sentence) and PASSWORD not in sentence
    taken_at_its_word = answer["ok"] and answer["power"] == "unknown" and verb == "query" and not driver(name).queryable

    assert failed_in_words or taken_at_its_word


# --- cases against a controller ---------------------------------------------------------------------------------------


def on_twice(controller: Controller) -> None:
    """On is reached, and harmless when it is."""
    seen = [(controller.ask("on")["power"], controller.machine.power) for _ in range(2)]

    assert [("on", True)] * 2 == seen
    assert 1 == len(controller.machine.boots)


def off_twice(controller: Controller) -> None:
    """Off cuts the power without asking the system, and is harmless when it is off."""
    controller.machine.power = True
    seen = [(controller.ask("off")["power"], controller.machine.power) for _ in range(2)]

    assert [("off", False)] * 2 == seen
    assert ("shutdown", "1") not in controller.machine.asked


def soft_off(controller: Controller) -> None:
    """The system is asked to shut down, and not cut off; one that is off is left alone."""
    first = controller.ask("soft_off")
    before = list(controller.machine.asked)
    controller.machine.power = True
    second = controller.ask("soft_off")

    assert ([], True, True) == (before, first["ok"], second["ok"])
    assert [("shutdown", "1")] == controller.machine.asked


def cycle(controller: Controller) -> None:
    """A machine that is on starts anew, one that is off is on afterwards."""
    seen = [(controller.ask("cycle")["power"], len(controller.machine.boots)) for _ in range(2)]

    assert [("on", 1), ("on", 2)] == seen


def query(controller: Controller) -> None:
    """A machine that went on or off by itself is what it is."""
    seen = []
    for power in (True, False):
        controller.machine.power = power
        seen.append(controller.ask("query")["power"])

    assert ["on", "off"] == seen


def boot_device_once(controller: Controller) -> None:
    """The next start is from the network, the one after it is not."""
    answers = [controller.ask(verb)["ok"] for verb in ("pxe", "on", "off", "on")]

    assert [True] * 4 == answers
    assert ["pxe", "none"] == controller.machine.boots


def network_boot(controller: Controller) -> None:
    """In one order, whether the machine was off or on: it starts anew, from the network, once."""
    answers = [controller.ask(verb) for verb in ("netboot", "netboot", "cycle")]

    assert [(True, "on")] * 3 == [(answer["ok"], answer["power"]) for answer in answers]
    assert ["pxe", "pxe", "none"] == controller.machine.boots


def wrong_password(controller: Controller) -> None:
    """It is named as such, in every verb; neither secret appears, and nothing is done."""
    for verb in VERBS:
        answer = controller.ask(verb, **controller.wrong)

        assert "credentials" == kind_of(answer)
        assert PASSWORD not in answer["reason"]
        assert "mistaken" not in answer["reason"]
    assert [] == controller.machine.asked


def slow(controller: Controller) -> None:
    """A machine that takes a second for everything is switched all the same."""
    controller.machine.delay = 1.0
    answer = controller.ask("on", 90)

    assert (True, "on") == (answer["ok"], answer["power"])


def hung(controller: Controller) -> None:
    """One that stops is left at the deadline with a word about it, and is none the worse afterwards."""
    with controller.hung():
        begin = time.monotonic()
        answer = controller.ask("on", 4)
        took = time.monotonic() - begin

    assert (False, "error") == (answer["ok"], answer["power"])
    assert kind_of(answer) in ("timeout", "unreachable")
    assert took < 12
    assert "on" == controller.ask("on", 90)["power"]


def accepts_and_does_nothing(controller: Controller) -> None:
    """A controller that says yes is not believed: the machine is looked at, and what it still is is said."""
    controller.machine.obedient = False
    answer = controller.ask("on", 14)

    assert (False, "timeout") == (answer["ok"], kind_of(answer))
    assert "still off" in answer["reason"]


def accepts_the_boot_device_and_does_nothing(controller: Controller) -> None:
    """A boot override that the controller takes and does not show is a refusal."""
    controller.machine.obedient = False
    answer = controller.ask("pxe", 30)

    assert (False, "refused") == (answer["ok"], kind_of(answer))
    assert "accepted the boot override" in answer["reason"]


def garbage(controller: Controller) -> None:
    """Something else listens there, and talks nonsense: every verb fails in words, and none reports a power state."""
    with nonsense() as (port, certificate):
        moved = {
            "ipmi": {"port": str(port)},
            "redfish": {"port": str(port), "certificate": certificate},
            "webhook": {
                **{f"{verb}_url": f"https://127.0.0.1:{port}/" for verb in ("on", "off", "query")},
                "certificate": certificate,
            },
        }[controller.driver]
        answer = controller.ask("query", 20, **moved)

    expected = {"ipmi": ("unreachable", "timeout"), "redfish": ("garbage",), "webhook": ("garbage",)}
    assert (False, "error") == (answer["ok"], answer["power"])
    assert kind_of(answer) in expected[controller.driver]


def no_secret_in_the_process_list(controller: Controller) -> None:
    """While an operation runs, its process has the secret neither in its arguments nor in its environment."""
    program = "import json,sys; from workers.rack.power import converse; print(converse(json.loads(sys.stdin.read()), 6)['ok'])"
    order = {"driver": controller.driver, "verb": "query", "parameters": controller.parameters}
    shown, seen = b"", False
    with controller.hung():
        spy = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert spy.stdin is not None
        spy.stdin.write(json.dumps(order).encode())
        spy.stdin.close()
        while spy.poll() is None:
            for child in _children(spy.pid):
                try:
                    arguments = Path(f"/proc/{child}/cmdline").read_bytes()
                    shown += arguments + Path(f"/proc/{child}/environ").read_bytes()
                    seen |= b"workers.rack.power_operation" in arguments
                except OSError:
                    continue
            time.sleep(0.05)
        spy.wait()

    assert seen
    assert [] == [one for one in controller.parameters.values() if one == PASSWORD and one.encode() in shown]


Case = Callable[[Controller], None]
CASES: tuple[Case, ...] = (
    on_twice, off_twice, soft_off, cycle, query, boot_device_once, network_boot, wrong_password, slow, hung, accepts_and_does_nothing,
    accepts_the_boot_device_and_does_nothing, garbage, no_secret_in_the_process_list,
)  # fmt: skip
NOBODY = "a person is the controller: nothing listens, knows a password or can be looked at"
CANNOT: dict[tuple[str, Case], str] = {
    **{("manual", case): NOBODY for case in CASES},
    ("ipmi", accepts_the_boot_device_and_does_nothing): (
        "pyghmi reads every boot device of ipmi_sim as `default`, so nothing that was set could be told from nothing"
    ),
    (
        "webhook",
        accepts_the_boot_device_and_does_nothing,
    ): "no URL says what the boot device is, so there is nothing to read",
}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Controller]]:
    """Controllers by their driver's name, each started when it is first asked for."""
    running: dict[str, Controller] = {}
    with ExitStack() as stack:

        def start(name: str) -> Controller:
            if name not in running:
                running[name] = stack.enter_context(CONTROLLERS[name](tmp_path_factory.mktemp(name)))
            running[name].machine.reset()
            return running[name]

        yield start


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, id=f"{name}-{case.__name__}")
        for name in drivers()
        for case in CASES
        if (name, case) not in CANNOT
    ],
)
def test_every_driver_meets_every_case(name: str, case: Case, started: Callable[[str], Controller]) -> None:
    """The case's own docstring says what is true."""
    case(started(name))


def test_a_case_is_left_out_for_a_reason_only() -> None:
    """What a driver cannot meet is named with its reason; a driver with a controller meets nearly all."""
    left_out = {name: [case for case in CASES if (name, case) in CANNOT] for name in drivers()}

    assert set(drivers()) == {*CONTROLLERS, "manual"}
    assert all(len(reason.split()) > 5 for reason in CANNOT.values())
    assert {name for name, _ in CANNOT} <= set(drivers())
    assert all(len(left_out[name]) <= 1 for name in CONTROLLERS)


# --- what else listens ------------------------------------------------------------------------------------------------


@contextmanager
def nonsense() -> Iterator[tuple[int, str]]:
    """A port where UDP answers with noise and TLS with a page for people; and the certificate's fingerprint."""
    stop = threading.Event()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        make_certificate(folder / "pem", "nonsense", [])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "pem")
        tcp, udp = stack.enter_context(socket.socket()), stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        tcp.listen()
        for one in (tcp, udp):
            one.settimeout(0.1)

        def shout() -> None:
            while not stop.is_set():
                try:
                    _, caller = udp.recvfrom(2048)
                    udp.sendto(b"\x06\x00\xff\x07" + b"nonsense" * 8, caller)
                except TimeoutError:
                    continue

        def chatter() -> None:
            page = b"<html>Welcome to the printer</html>"
            while not stop.is_set():
                try:
                    connection, _ = tcp.accept()
                    connection.settimeout(5)
                    with context.wrap_socket(connection, server_side=True) as tls:
                        tls.recv(65536)
                        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page)
                except (TimeoutError, OSError):
                    continue

        threads = [threading.Thread(target=target) for target in (shout, chatter)]
        for thread in threads:
            thread.start()
        try:
            yield tcp.getsockname()[1], fingerprint(folder / "pem")
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
