"""A simulated machine: it speaks the real protocols of a booting server (DHCP, TFTP, HTTP, callbacks) without QEMU.

It lives in a network namespace of its own, plugged into a site's switch, so that its DHCP goes through real Kea, its
loader through real TFTP and its HTTP through the rack's real squid.  What a script inside a machine would find out, it
is told beforehand (`Hardware`).  One boot takes a tenth of a second; tests and benchmarks that need many walks use it.

    machine = SimulatedMachine(site, "sim1", mac="52:54:00:00:01:01")
    with machine:
        outcome = machine.boot()      # Outcome.purpose: enlist, commission, install, erase, local
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from lab import namespace
from lab.dhcp_client import Lease, discover_and_request
from lab.network import VirtualSite
from lab.tftp_client import read_file

TOKEN = re.compile(r"muster\.token=(\S+)")
URL = re.compile(r"muster\.url=(\S+)")
MAXIMUM_CHAINS = 5


class BootFailed(AssertionError):
    """The simulated machine did not get what a real one would need; says at which stage."""


@dataclass(frozen=True)
class Hardware:
    """What the scripts inside this machine would find."""

    cpus: int = 2
    memory_mib: int = 2048
    disk_gib: int = 8
    serial: str = "SIM0001"
    bmc: Mapping[str, Any] | None = None

    def results(self, mac: str, address: str, system_uuid: str) -> dict[str, dict[str, Any] | None]:
        """Result of every commissioning script, by its name."""
        disk = {
            "name": "vda", "path": "/dev/vda", "by_id": f"/dev/disk/by-id/virtio-{self.serial}", "model": None,
            "size_bytes": self.disk_gib * 2**30, "serial": self.serial, "rotational": False, "block_size": 512,
        }  # fmt: skip
        nic = {
            "name": "eth0", "mac": mac, "driver": "virtio_net", "speed_mbps": None, "link": True, "mtu": 1500,
            "addresses": [f"{address}/{64 if ':' in address else 24}"], "pci_address": "0000:00:03.0", "vendor": None, "product": None,
            "firmware": None, "numa_node": None,
        }  # fmt: skip
        numa = [{"node": 0, "cpus": list(range(self.cpus)), "memory_mib": self.memory_mib}]
        return {
            "cpu": {
                "model": "Simulated CPU", "architecture": "amd64", "sockets": 1, "cores": self.cpus,
                "threads": self.cpus, "mhz": 2400, "numa": numa,
            },
            "memory": {"total_mib": self.memory_mib},
            "disks": {"disks": [disk]},
            "nics": {"nics": [nic]},
            "pci": {"devices": []},
            "firmware": {
                "type": "bios", "vendor": "Simulated", "version": "1", "date": "2026-01-01",
                "system": {"manufacturer": "Simulated", "product": "Machine", "serial": self.serial, "uuid": system_uuid},
            },
            "lldp": {"neighbours": []},
            "bmc": {"bmc": None, "reason": "a simulated machine has no BMC"},
            "lshw": None,
        }  # fmt: skip


@dataclass
class Outcome:
    """How one boot went. purpose `local` means that the boot script handed over to the disk."""

    purpose: str
    lease: Lease
    loader_bytes: int
    script: str
    task: dict[str, Any] = field(default_factory=dict)
    enlisted: dict[str, Any] = field(default_factory=dict)


class SimulatedMachine:
    """One simulated server on a site's first VLAN; a context manager that makes and removes its namespace."""

    def __init__(
        self,
        site: VirtualSite,
        name: str,
        *,
        mac: str,
        hardware: Hardware | None = None,
        system_uuid: str | None = None,
    ) -> None:
        self.site = site
        self.name = name
        self.mac = mac
        self.hardware = hardware or Hardware()
        self.uuid = system_uuid or str(uuid.uuid5(uuid.NAMESPACE_OID, f"simulated machine {mac}"))
        self.space = f"{site.prefix}-s-{name}"
        self.address: str | None = None
        self.files: dict[str, Any] = {}
        self.script_faults: dict[str, dict[str, Any]] = {}
        """What scripts report instead of success, by their names."""
        self.url = ""
        self.token = ""

    def __enter__(self) -> Self:
        """Plug the machine into the switch."""
        port = f"s-{self.name}"
        namespace.run(["ip", "netns", "add", self.space])
        try:
            # Firmware does not wait for duplicate address detection either.
            namespace.set_sysctls(self.space, dict.fromkeys(
                (f"net/ipv6/conf/{which}/{what}" for which in ("all", "default") for what in ("accept_dad", "accept_ra")), "0",
            ))  # fmt: skip
            namespace.batch(self.space, [
                "link set lo up",
                f"link add eth0 address {self.mac} type veth peer name {port} netns {self.site.lan}",
                "link set eth0 up",
            ])  # fmt: skip
            namespace.batch(self.site.lan, [f"link set {port} master {self.site.vlans[0].bridge} up"])
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unplug it."""
        with contextlib.suppress(namespace.NetworkError):  # The kernel clears a namespace later, a cable at once.
            namespace.run(["ip", "-n", self.site.lan, "link", "del", f"s-{self.name}"])
        with contextlib.suppress(namespace.NetworkError):
            namespace.run(["ip", "netns", "del", self.space])

    # --- booting -----------------------------------------------------------------------------------------------------

    def boot(self) -> Outcome:
        """Boot from the network as a BIOS machine does, and do what the boot script says."""
        outcome = self.start()
        if outcome.purpose != "local":
            self.run_task(outcome)
        return outcome

    def start(self) -> Outcome:
        """Boot as far as the boot script; `url` and `token` are what it gave, and the purpose is not known yet."""
        firmware = self._dhcp(user_class=None)
        if not firmware.boot_file:
            raise BootFailed(f"{self.mac}: the OFFER of {firmware.server} names no boot file")
        loader = namespace.inside(self.space, lambda: read_file(firmware.next_server, firmware.boot_file))
        lease = self._dhcp(user_class="iPXE")
        script = self._follow(lease)
        found_token, found_url = TOKEN.search(script), URL.search(script)
        if not found_token or not found_url:
            return Outcome("local", lease, len(loader), script)
        self.url, self.token = found_url.group(1), found_token.group(1)
        return Outcome("", lease, len(loader), script)

    def _dhcp(self, user_class: str | None) -> Lease:
        lease = namespace.inside(self.space, lambda: discover_and_request("eth0", self.mac, user_class=user_class))
        self.use_address(f"{lease.address}/{lease.prefix_length}")
        return lease

    def use_address(self, interface_address: str) -> None:
        """Make this the machine's only global address."""
        nodad = " nodad" if ":" in interface_address else ""
        namespace.batch(
            self.space, ["address flush dev eth0 scope global", f"address add {interface_address} dev eth0{nodad}"]
        )
        self.address = interface_address.partition("/")[0]

    def _follow(self, lease: Lease) -> str:
        url, script = lease.boot_file, ""
        values = {
            "net0/mac": self.mac, "netX/mac": self.mac, "mac": self.mac, "uuid": self.uuid, "buildarch": "i386",
            "platform": "pcbios", "net0/ip": lease.address, "netX/ip": lease.address, "ip": lease.address,
            "next-server": lease.next_server, "mac:hexhyp": self.mac.replace(":", "-"),
        }  # fmt: skip
        for _ in range(MAXIMUM_CHAINS):
            status, body = self.request("GET", url)
            script = body.decode()
            if status != 200 or not script.startswith("#!ipxe"):
                raise BootFailed(f"{self.mac}: GET {url} answered {status}: {script[:200]!r}")
            chain = re.search(r"^chain\s+(?:--\S+\s+)*(\S+)", script, re.MULTILINE)
            if not chain:
                return script
            url = re.sub(r"\$\{([^}]+)\}", lambda found: values.get(found.group(1), ""), chain.group(1))
        raise BootFailed(f"{self.mac}: more than {MAXIMUM_CHAINS} chained scripts, the last {url}")

    # --- what runs inside --------------------------------------------------------------------------------------------

    def run_task(self, outcome: Outcome) -> None:
        """Fetch the task and do it, as the agent in the ephemeral system would."""
        url, token = self.url, self.token
        task = self.call(url, "GET", "/task", token)
        outcome.task, outcome.purpose = task, task["purpose"]
        self._status("started", task["purpose"])
        if task["purpose"] == "enlist":
            bmc = dict(self.hardware.bmc) if self.hardware.bmc else None
            outcome.enlisted = self.call(url, "POST", "/enlist", token, {
                "hostname_hint": None, "architecture": "amd64", "firmware": "bios", "uuid": self.uuid,
                "interfaces": [{"name": "eth0", "mac": self.mac, "boot": True}],
                "bmc": bmc, "bmc_reason": None if bmc else "no /dev/ipmi0: a simulated machine has no BMC",
            })  # fmt: skip
        if task["purpose"] == "commission":
            self._commission(url, token, task)
        if task["purpose"] == "install":
            self.files = {item["path"]: item for item in task["install"]["files"]}
        self._status("finished", task["purpose"])

    def _status(self, event: str, step: str) -> None:
        body = {"event": event, "step": step, "message": "", "fraction": None}
        self.call(self.url, "POST", "/status", self.token, body)

    def _commission(self, url: str, token: str, task: Mapping[str, Any]) -> None:
        results = self.hardware.results(self.mac, str(self.address), self.uuid)
        for script in task["scripts"]:
            self.call(url, "POST", "/results", token, {
                "script": script["name"], "status": "passed", "exit_code": 0, "seconds": 0.01,
                "stdout": base64.b64encode(b"simulated\n").decode(), "stderr": "", "result": results[script["name"]],
                **self.script_faults.get(script["name"], {}),
            })  # fmt: skip

    @property
    def phone_home_token(self) -> str:
        """The token that the installer left for the installed system."""
        return str(json.loads(self.files["/etc/muster/phone-home.json"]["content"])["token"])

    def phone_home(self, interface_address: str, hostname: str) -> None:
        """Be the installed system after its first boot from disk: take its static address and phone home."""
        self.use_address(interface_address)
        wanted = json.loads(self.files["/etc/muster/phone-home.json"]["content"])
        base, _, path = wanted["url"].rpartition("/")
        self.call(base, "POST", f"/{path}", wanted["token"], {
            "hostname": hostname, "ssh_host_keys": [], "boot_id": str(uuid.uuid4()), "addresses": [interface_address],
        })  # fmt: skip

    # --- HTTP --------------------------------------------------------------------------------------------------------

    def call(
        self, base: str, method: str, path: str, token: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A call of the machine edge; BootFailed when it is refused."""
        status, answer = self.request(method, base + path, token, body)
        if status >= 300:
            raise BootFailed(f"{self.mac}: {method} {path} answered {status}: {answer[:400]!r}")
        return dict(json.loads(answer)) if answer else {}

    def request(
        self,
        method: str,
        url: str,
        token: str | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """One HTTP request from inside the machine's namespace."""
        parts = urlsplit(url)
        sent = {**(headers or {}), **({"Content-Type": "application/json"} if body is not None else {})}
        if token:
            sent["Authorization"] = f"Bearer {token}"

        def send() -> tuple[int, bytes]:
            connection = http.client.HTTPConnection(str(parts.hostname), parts.port or 80, timeout=30)
            try:
                target = parts.path + (f"?{parts.query}" if parts.query else "")
                connection.request(method, target, json.dumps(body) if body is not None else None, sent)
                answer = connection.getresponse()
                return answer.status, answer.read()
            finally:
                connection.close()

        return namespace.inside(self.space, send)
