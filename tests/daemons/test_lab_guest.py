"""A whole network boot of the cached ephemeral image on a virtual machine, and what its guest can do with its BMC.

The test stands in for the control plane: it serves the image and, as the agent, a few lines that talk to the BMC in-band.
"""

import http.server
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.machine import VirtualMachine
from lab.network import VirtualSite
from tests.daemons.requires import require, require_file, require_virtual_rack

pytestmark = [pytest.mark.daemons, pytest.mark.e2e]

IMAGE = Path(os.environ.get("MUSTER_CACHE", "/var/cache/muster"), "debian-12-amd64")
AGENT = """\
import subprocess, sys, time
def say(text):
    with open("/dev/ttyS0", "w") as console:
        console.write(text + "\\n")
for module in ("ipmi_devintf", "ipmi_si"):
    subprocess.run(["modprobe", module])
for words in (["user", "set", "name", "3", "muster"], ["user", "set", "password", "3", "In-Band-Secret1", "16"],
              ["channel", "setaccess", "1", "3", "callin=on", "ipmi=on", "link=on", "privilege=4"], ["user", "enable", "3"]):
    say(f"STEP {words[1]} {subprocess.run(['ipmitool', *words], capture_output=True).returncode}")
for line in subprocess.run(["ipmitool", "lan", "print", "1"], capture_output=True, text=True).stdout.splitlines():
    if line.startswith(("IP Address  ", "MAC Address")):
        say(f"BMC {line}")
say("AGENT-DONE")
time.sleep(3600)
"""


def agent_archive() -> bytes:
    """Return the stand-in agent as a zipapp."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__main__.py", AGENT)
    return buffer.getvalue()


@contextmanager
def serve(site: VirtualSite, agent: bytes) -> Iterator[None]:
    """Serve /images/<sha256>/<file> and /machine/v1/agent on the rack's boot port."""
    files = {f"/images/{file['sha256']}/{file['name']}": IMAGE / file["name"] for file in manifest()["files"]}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = agent if self.path == "/machine/v1/agent" else None
            path = files.get(self.path)
            self.send_response(200 if body or path else 404)
            size = len(body) if body else path.stat().st_size if path else 0
            self.send_header("Content-Length", str(size))
            self.end_headers()
            if body:
                self.wfile.write(body)
            elif path:
                with path.open("rb") as file:
                    self.copy(file)

        def copy(self, file: Any) -> None:
            while block := file.read(1 << 20):
                self.wfile.write(block)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    listener = site.listen_in(site.rack, "10.20.0.1", 5248)
    server = http.server.ThreadingHTTPServer(("10.20.0.1", 5248), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def answer_dhcp(site: VirtualSite, folder: Path) -> Iterator[None]:
    """Run dnsmasq in the rack's namespace: leases, router advertisements, and `boot.ipxe` by TFTP."""
    argv = [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file=",
        "--interface=lan0", "--bind-interfaces", "--dhcp-range=10.20.0.100,10.20.0.200,1h", "--dhcp-boot=boot.ipxe",
        "--enable-ra", "--dhcp-range=fd20::,ra-only", "--dhcp-option=option:router,10.20.0.254",
        "--enable-tftp", f"--tftp-root={folder}", f"--dhcp-leasefile={folder}/leases", f"--log-facility={folder}/log",
    ]  # fmt: skip
    daemon = subprocess.Popen(site.exec_argv(site.rack, argv))
    try:
        yield
    finally:
        daemon.kill()
        daemon.wait()


def manifest() -> dict[str, Any]:
    """Return what the image's builder wrote about it."""
    document: dict[str, Any] = json.loads((IMAGE / "manifest.json").read_text(encoding="utf-8"))
    return document


def boot_script() -> str:
    """Return the iPXE script that boots the ephemeral image."""
    digests = {file["name"]: file["sha256"] for file in manifest()["files"]}
    base = "http://10.20.0.1:5248"
    root = digests["root.squashfs"]
    options = (
        f"boot=muster muster.root={base}/images/{root}/root.squashfs muster.root_sha256={root} "
        f"muster.url={base}/machine/v1 muster.token=test-token "
        "ip=${netX/ip}::${netX/gateway}:${netX/netmask}:node1::off BOOTIF=01-${netX/mac:hexhyp} console=ttyS0,115200"
    )
    return (
        f"#!ipxe\nkernel {base}/images/{digests['vmlinuz']}/vmlinuz initrd=initrd {options}\n"
        f"initrd --name initrd {base}/images/{digests['initrd']}/initrd\nboot\n"
    )


def test_a_guest_creates_a_bmc_user_that_logs_in_over_the_lan(tmp_path: Path) -> None:
    """The guest of a network boot makes a BMC user in-band; that user powers the machine off over the LAN."""
    require("dnsmasq")
    require_virtual_rack()
    require_file(IMAGE / "manifest.json", "build it with `python -m workers.region.images build`")
    (tmp_path / "tftp").mkdir()
    (tmp_path / "tftp" / "boot.ipxe").write_text(boot_script(), encoding="utf-8")
    with (
        VirtualSite(tmp_path / "site") as site,
        serve(site, agent_archive()),
        answer_dhcp(site, tmp_path / "tftp"),
        VirtualMachine(site, "node1", mac="52:54:00:00:00:11", bmc_address="10.30.0.11", cpus=2) as node,
    ):
        node.power_on()
        console = node.wait_for_serial("AGENT-DONE", seconds=240)
        code = (
            "from pyghmi.ipmi.command import Command\n"
            "bmc = Command('10.30.0.11', 'muster', 'In-Band-Secret1')\n"
            "print(bmc.set_power('off', wait=20)['powerstate'])"
        )
        argv = site.exec_argv(site.rack, [sys.executable, "-W", "ignore", "-c", code])
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
        is_on = node.is_on

    assert [0, 0, 0, 0] == [int(line.split()[-1]) for line in console.splitlines() if line.startswith("STEP ")]
    assert "BMC MAC Address             : 02:bc:00:00:00:11" in console
    assert ("off\n", False) == (done.stdout, is_on)
