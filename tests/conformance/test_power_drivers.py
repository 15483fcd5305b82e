"""What every power driver promises, and what IPMI does against a real emulated controller on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from app.power.base import VERBS, PowerError, PowerErrorKind, checked
from app.power.operation import operate
from app.power.registry import driver, drivers
from tests.daemons.requires import require
from workers.rack.power import converse

PASSWORD = "calvin-9"
KINDS = set(get_args(PowerErrorKind))
SAMPLE = {
    "ipmi": {"address": "127.0.0.1", "username": "muster", "password": PASSWORD, "port": "1"},
    "manual": {"location": "row 3"},
    "redfish": {"address": "127.0.0.1", "username": "muster", "password": PASSWORD, "port": "1"},
}

CHASSIS = """\
#!{python}
import pathlib, sys
state = pathlib.Path({state!r})
values = dict(line.split("=") for line in state.read_text().split())
words = sys.argv[1:]
if words[0] == "get":
    for name in words[1:]:
        print(name + ":" + values.get(name, "0"))
elif words[0] == "set":
    values.update(zip(words[1::2], words[2::2]))
    if words[1] == "shutdown":
        values["power"] = "0"
    values["log"] = values.get("log", "") + "," + ":".join(words)
    state.write_text("\\n".join(name + "=" + value for name, value in values.items()))
"""


@dataclass
class Controller:
    """One emulated BMC and the file that says what its machine does."""

    port: int
    state: Path
    process: subprocess.Popen[bytes]

    def parameters(self, **other: str) -> dict[str, str]:
        """What the driver must know."""
        return {**SAMPLE["ipmi"], "port": str(self.port), **other}

    def read(self) -> dict[str, str]:
        """The machine's own view."""
        return dict(line.split("=") for line in self.state.read_text().split())


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    """An ipmi_sim whose machine is off."""
    require("ipmi_sim")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    state, program = tmp_path / "state", tmp_path / "chassis"
    state.write_text("power=0")
    program.write_text(CHASSIS.format(python=sys.executable, state=str(state)))
    program.chmod(stat.S_IRWXU)
    config, commands = tmp_path / "lan.conf", tmp_path / "commands"
    config.write_text(
        f'name "muster"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n'
        "    allowed_auths_callback md5\n    allowed_auths_user md5\n    allowed_auths_operator md5\n    allowed_auths_admin md5\n"
        "    guid a123456789abcdefa123456789abcdef\n  endlan\n"
        f'  chassis_control "{program}"\n'
        f'  user 1 false "" "" user 10 md5\n  user 2 true "muster" "{PASSWORD}" admin 10 md5\n'
    )
    commands.write_text(
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nsel_enable 0x20 1000 0x0a\nmc_enable 0x20\n"
    )
    (tmp_path / "saved").mkdir()
    argv = ["ipmi_sim", "-n", "-c", str(config), "-f", str(commands), "-s", str(tmp_path / "saved")]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        made = Controller(port, state, process)
        deadline = time.monotonic() + 10
        while not ask("ipmi", "query", made.parameters(), 5)["ok"]:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        yield made
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def ask(
    name: str, verb: str, parameters: dict[str, str], seconds: float = 20.0
) -> dict[str, str | bool | float | None]:
    """One operation as the rack carries it out, in a process of its own."""
    return converse({"driver": name, "verb": verb, "parameters": parameters}, seconds)


def order(parameters: dict[str, str], verb: str) -> dict[str, object]:
    """An operation as the control plane gives it out."""
    return {"driver": "ipmi", "verb": verb, "parameters": parameters}


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
def test_unknown_parameters_and_verbs_are_refused(name: str) -> None:
    """A misspelled parameter and a verb that does not exist are named, and nobody is asked."""
    with pytest.raises(PowerError, match="colour") as parameter:
        operate(driver(name), "query", {**SAMPLE[name], "colour": "red"}, 5)
    with pytest.raises(PowerError, match="explode") as verb:
        operate(driver(name), "explode", SAMPLE[name], 5)

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


def test_ipmi_on_and_off_twice(controller: Controller) -> None:
    """On and off are reached, seen by the machine itself, and harmless when they are repeated."""
    seen = []
    for verb in ("on", "on", "off", "off", "cycle"):
        answer = ask("ipmi", verb, controller.parameters())
        seen.append((answer["ok"], answer["power"], controller.read()["power"]))

    assert seen == [(True, "on", "1"), (True, "on", "1"), (True, "off", "0"), (True, "off", "0"), (True, "on", "1")]


def test_ipmi_query_says_what_is(controller: Controller) -> None:
    """A machine that went off by itself is off."""
    ask("ipmi", "on", controller.parameters())
    controller.state.write_text("power=0")

    assert ask("ipmi", "query", controller.parameters())["power"] == "off"


def test_ipmi_soft_off_asks_the_system(controller: Controller) -> None:
    """The machine is asked to shut down, not cut off; one that is off is left alone."""
    ask("ipmi", "soft_off", controller.parameters())
    before = controller.read().get("log", "")
    ask("ipmi", "on", controller.parameters())
    ask("ipmi", "soft_off", controller.parameters())

    assert "shutdown" not in before
    assert "set:shutdown" in controller.read()["log"]


def test_ipmi_boots_from_the_network_once(controller: Controller) -> None:
    """The boot device of the next start is the network."""
    answer = ask("ipmi", "pxe", controller.parameters())

    assert (answer["ok"], controller.read()["boot"]) == (True, "pxe")


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"username": "nobody"}])
def test_ipmi_wrong_credentials_are_named_as_such(controller: Controller, wrong: dict[str, str]) -> None:
    """The operator learns that it is the credentials, and neither password appears."""
    reason = str(ask("ipmi", "query", controller.parameters(**wrong))["reason"])

    assert reason.startswith("credentials: ")
    assert PASSWORD not in reason
    assert "wrong" not in reason


def test_ipmi_nobody_there_is_unreachable() -> None:
    """No answer is `unreachable`, in seconds."""
    answer = ask("ipmi", "query", SAMPLE["ipmi"])

    assert str(answer["reason"]).startswith("unreachable: ")


def test_a_hung_controller_is_left_at_the_deadline(controller: Controller) -> None:
    """The controller stops in the middle of its life: the operation ends as a timeout, and its process is gone."""
    os.kill(controller.process.pid, signal.SIGSTOP)
    begin = time.monotonic()
    result = converse(order(controller.parameters(), "on"), 3.0)
    took = time.monotonic() - begin
    os.kill(controller.process.pid, signal.SIGCONT)

    assert (result["ok"], result["power"]) == (False, "error")
    assert str(result["reason"]).split(":")[0] in ("timeout", "unreachable")
    assert took < 5
    assert converse(order(controller.parameters(), "on"), 20.0)["power"] == "on"


def test_no_secret_is_in_the_process_list(controller: Controller) -> None:
    """While an operation runs, its process has the password neither in its arguments nor in its environment."""
    os.kill(controller.process.pid, signal.SIGSTOP)
    spy = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import json,sys; from workers.rack.power import converse;"
            " print(converse(json.loads(sys.stdin.read()), 2.5)['ok'])",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert spy.stdin is not None

    spy.stdin.write(json.dumps(order(controller.parameters(), "query")).encode())
    spy.stdin.close()
    shown, seen = b"", False
    deadline = time.monotonic() + 10
    while spy.poll() is None and time.monotonic() < deadline:
        for child in _children(spy.pid):
            try:
                arguments = Path(f"/proc/{child}/cmdline").read_bytes()
                shown += arguments + Path(f"/proc/{child}/environ").read_bytes()
                seen |= b"workers.rack.power_operation" in arguments
            except OSError:
                continue
        time.sleep(0.05)
    spy.wait(timeout=10)

    assert seen
    assert PASSWORD.encode() not in shown


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
