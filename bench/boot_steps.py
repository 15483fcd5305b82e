"""How long a machine takes from power-on to each step of commissioning, beside the same kernel booted by hand.

By hand means what anybody would do without Muster: `qemu -kernel -initrd -append` on the same tap, with the same
accelerator, memory and processors, the same root file system from a plain HTTP server on the rack's address, and an
agent that only says that it runs.  What Muster adds on top is the firmware's network boot: DHCP twice, the loader, the
boot script, kernel and initrd over the network.
"""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import subprocess
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.figure import Bench, Figure
from lab import demo
from lab.accelerator import choose_accelerator
from lab.machine import VirtualMachine
from lab.namespace import listen_in
from lab.process import die_with_parent
from lab.qemu import Hardware, command_line
from lab.standing import IMAGE, Lab, standing_lab
from lab.terminal import Terminal

CACHE = Path(os.environ.get("MUSTER_CACHE", "/var/cache/muster"))
MAC, BMC_ADDRESS = "52:54:00:20:00:21", "10.30.0.21"
BY_HAND_PORT, BY_HAND_ADDRESS = 5249, "10.20.0.60"
LIMIT = 1.8
DEADLINE_SECONDS = 420.0
SAYS_HELLO = """\
import re, time, urllib.request
url = re.search(r"muster\\.url=(\\S+)", open("/proc/cmdline").read()).group(1)
urllib.request.urlopen(url + "/hello").read()
time.sleep(3600)
"""


def measure() -> list[Figure]:
    """Both boots, one after the other, on one lab."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        Path(folder).chmod(0o755)
        with standing_lab(Terminal(io.StringIO()), Path(folder) / "s", CACHE / IMAGE) as lab:
            accelerator = choose_accelerator(CACHE / IMAGE / "vmlinuz")
            machine = VirtualMachine(lab.site, "bench1", mac=MAC, bmc_address=BMC_ADDRESS, accelerator=accelerator)
            lab.site.hold(machine)
            steps = through_muster(lab, machine)
            by_hand = boot_by_hand(lab, machine.hardware)
    kernel = f"the same kernel booted by hand: {by_hand:.1f} s, {accelerator.words[1]}"
    return [
        Figure("power-on to boot script served", steps["script"], "s"),
        Figure("power-on to agent started", steps["started"], "s", kernel),
        Figure("  the same, ratio to by hand", steps["started"] / by_hand, "", kernel, LIMIT),
        Figure("power-on to commissioned", steps["commissioned"], "s"),
        Figure("  the same, ratio to by hand's agent", steps["commissioned"] / by_hand, "", kernel),
    ]


def through_muster(lab: Lab, machine: VirtualMachine) -> dict[str, float]:
    """Seconds from the press of the button to each step; the machine is known already, so that it commissions at once.

    The times are those of the control plane's own timeline, which has this host's clock.
    """
    made = lab.api.post("/machines", {"macs": [machine.mac], "hostname": "bench1", "power_driver": "manual"})
    lab.api.post(f"/machines/{made['id']}/commission")
    wait_for("Muster to wait for the machine", lambda: step_of(lab, made["id"]) == "boot", 30)
    began = time.time()
    machine.power_on()
    found: dict[str, Any] = {}

    def commissioned() -> bool:
        found.update(lab.api.get(f"/machines/{made['id']}"))
        if found["state"].startswith("FAILED"):
            raise AssertionError(f"{found['state']}: {found['state_reason']}")
        return bool(found["state"] == "READY")

    wait_for("the commissioned machine", commissioned, DEADLINE_SECONDS)
    events = lab.api.get(f"/machines/{made['id']}/events", limit=500)["items"]
    at = {
        "script": first(events, lambda event: event["kind"] == "machine.boot"),
        "started": first(events, lambda event: event["detail"].get("event") == "started"),
        "commissioned": first(events, lambda event: event["detail"].get("event") == "finished"),
    }
    if machine.is_on:
        machine.power_off()
    return {name: moment - began for name, moment in at.items()}


def first(events: list[Any], wanted: Any) -> float:
    """When the first wanted event was written."""
    return min(datetime.fromisoformat(event["at"]).timestamp() for event in events if wanted(event))


def step_of(lab: Lab, machine_id: int) -> str:
    """The step at which the machine's operation is."""
    return str((lab.api.get(f"/machines/{machine_id}")["operation"] or {}).get("step"))


def wait_for(what: str, look: Any, seconds: float) -> None:
    """Wait until `look` is true; AssertionError with `what` otherwise."""
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.25)


# --- by hand ---------------------------------------------------------------------------------------------------------


def boot_by_hand(lab: Lab, hardware: Hardware) -> float:
    """Seconds from starting QEMU to the first call of the agent."""
    image = CACHE / IMAGE
    digests = {file["name"]: file["sha256"] for file in json.loads((image / "manifest.json").read_text())["files"]}
    url = f"http://{lab.rack_address}:{BY_HAND_PORT}"
    options = (
        f"boot=muster muster.root={url}/root.squashfs muster.root_sha256={digests['root.squashfs']} muster.url={url} "
        f"muster.token=by-hand ip={BY_HAND_ADDRESS}::{demo.GATEWAY}:255.255.255.0:by-hand::off "
        f"BOOTIF=01-{hardware.nics[0].mac.replace(':', '-')} console=ttyS0,115200"
    )
    argv = [
        *command_line(without_network_boot(hardware)),
        "-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd"), "-append", options,
    ]  # fmt: skip
    called = threading.Event()
    with serving(lab, image, called), contextlib.ExitStack() as stack:
        began = time.monotonic()
        qemu = subprocess.Popen(
            die_with_parent(lab.site.exec_argv(lab.site.lan, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        stack.callback(qemu.wait)
        stack.callback(qemu.kill)
        if not called.wait(DEADLINE_SECONDS):
            raise AssertionError(f"the agent booted by hand did not call; see {hardware.serial_log}")
        return time.monotonic() - began


def without_network_boot(hardware: Hardware) -> Hardware:
    """The same machine with files of its own beside the other's."""
    directory = hardware.directory / "by-hand"
    directory.mkdir(exist_ok=True)
    return replace(hardware, directory=directory)


@contextlib.contextmanager
def serving(lab: Lab, image: Path, called: threading.Event) -> Iterator[None]:
    """A plain HTTP server on the rack's address: the root file system, the agent, and its call."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__main__.py", SAYS_HELLO)
    agent = buffer.getvalue()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/root.squashfs":
                super().do_GET()
                return
            if self.path == "/hello":
                called.set()
            self.send_response(200)
            self.send_header("Content-Length", str(len(agent)))
            self.end_headers()
            self.wfile.write(agent)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    def handler(*words: Any) -> Handler:
        return Handler(*words, directory=str(image))

    server = http.server.ThreadingHTTPServer((lab.rack_address, BY_HAND_PORT), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listen_in(lab.site.rack, lab.rack_address, BY_HAND_PORT)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


BENCH = Bench("boot_steps", "Power-on to each step beside the same kernel booted by hand", measure)
