"""A standing lab for simulated machines: real control plane, real rack, an image of tiny files."""

import contextlib
import io
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lab import demo, namespace
from lab.control import ControlPlane
from lab.simulated import Outcome, SimulatedMachine
from lab.standing import Lab, standing_lab
from lab.terminal import Terminal
from lab.tiny_image import make_tiny_image
from tests.daemons.requires import require, require_virtual_rack

PATIENCE_SECONDS = 30.0
PHONE_HOME = Path(__file__).resolve().parents[2] / "templates/images/deployable/usr/lib/muster/phone-home"


@contextlib.contextmanager
def tiny_lab(plane: type[ControlPlane] = ControlPlane, network: demo.DemoNetwork = demo.BOTH) -> Iterator[Lab]:
    """The whole, below a directory that daemons of other users may pass; nothing of it is left afterwards."""
    require("kea-dhcp4", "kea-dhcp6", "named", "dnsmasq", "squid", "chronyd", "radvd", "rsyslogd", "dig")
    require_virtual_rack()
    folder = Path(tempfile.mkdtemp(prefix="muster-standing-"))
    folder.chmod(0o755)
    try:
        image = make_tiny_image(folder / "image")
        with standing_lab(Terminal(io.StringIO()), folder / "s", image, plane=plane, network=network) as lab:
            yield lab
    finally:
        shutil.rmtree(folder)


def machine_of(lab: Lab, simulated: SimulatedMachine) -> Any:
    """The machine as the API shows it; None while nobody knows it."""
    items = lab.api.get("/machines", mac=simulated.mac)["items"]
    return lab.api.get(f"/machines/{items[0]['id']}") if items else None


def wait_until(what: str, look: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until `look` is true; AssertionError with `what` otherwise."""
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, f"in vain for {seconds:g} s: {what}"
        time.sleep(0.05)


def wait_state(lab: Lab, simulated: SimulatedMachine, state: str) -> Any:
    """The machine once it is in the state; AssertionError at once when it has failed."""
    found: dict[str, Any] = {}

    def look() -> bool:
        found.update(machine_of(lab, simulated) or {})
        seen = str(found.get("state"))
        assert state.startswith("FAILED") or not seen.startswith("FAILED"), found.get("state_reason")
        return seen == state

    wait_until(f"{simulated.name} to be {state}", look)
    return found


def wait_step(lab: Lab, simulated: SimulatedMachine, step: str) -> None:
    """Wait until the machine's running operation has come to a step."""

    def look() -> bool:
        operation = machine_of(lab, simulated)["operation"]
        return operation is not None and operation["status"] == "running" and operation["step"] == step

    wait_until(f"{simulated.name} to come to step {step}", look)


def ask(lab: Lab, simulated: SimulatedMachine, verb: str, **parameters: Any) -> Any:
    """Ask for a lifecycle verb."""
    return lab.api.post(f"/machines/{machine_of(lab, simulated)['id']}/{verb}", parameters)


def boot_for(lab: Lab, simulated: SimulatedMachine, verb: str, **parameters: Any) -> Outcome:
    """Ask for a verb; when Muster waits for the machine, boot it, as the person does who is told to."""
    ask(lab, simulated, verb, **parameters)
    wait_step(lab, simulated, "boot")
    return simulated.boot()


def static_addresses(outcome: Outcome) -> list[str]:
    """The addresses with prefix length that the installed system is configured with, IPv4 first."""
    network = json.loads(outcome.task["install"]["seed"]["network-config"])
    return [str(address) for address in next(iter(network["ethernets"].values()))["addresses"]]


def static_address(outcome: Outcome) -> str:
    """The first of them."""
    return static_addresses(outcome)[0]


def call_home(simulated: SimulatedMachine, outcome: Outcome, folder: Path, name_server: str) -> str:
    """Be the installed system after its first boot: its static address, its name server, its image's own script; what that said.

    The script runs in the machine's network, with a resolv.conf and a phone-home.json of its own.
    """
    simulated.use_address(static_address(outcome))
    settings, resolver = folder / "phone-home.json", folder / "resolv.conf"
    settings.write_text(simulated.files["/etc/muster/phone-home.json"]["content"], encoding="ascii")
    resolver.write_text(f"nameserver {name_server}\n", encoding="ascii")
    run = "import runpy, sys\nmain = runpy.run_path(sys.argv[1])['main']\nmain.__globals__['SETTINGS'] = sys.argv[2]\nsys.exit(main())"
    mounted = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
    done = subprocess.run(
        [
            *namespace.exec_prefix(simulated.space), "unshare", "--mount", "sh", "-c", mounted, "sh", resolver,
            "python3", "-sB", "-c", run, PHONE_HOME, settings,
        ],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    return done.stdout


def bare(addresses: list[str]) -> list[str]:
    """Addresses without their prefix lengths."""
    return [address.partition("/")[0] for address in addresses]


def deploy(lab: Lab, simulated: SimulatedMachine) -> Any:
    """Walk an unknown machine to DEPLOYED; the machine."""
    assert simulated.boot().purpose == "enlist"
    boot_for(lab, simulated, "commission")
    wait_state(lab, simulated, "READY")
    outcome = boot_for(lab, simulated, "deploy")
    wait_step(lab, simulated, "first-boot")
    simulated.phone_home(static_address(outcome), outcome.task["hostname"])
    return wait_state(lab, simulated, "DEPLOYED")
