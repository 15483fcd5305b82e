"""A rack's DHCP server and the strategy that fits it, in a namespace, without an agent: one lab for each strategy."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from lab import dhcp_client, kea3, namespace
from lab.process import ProcessName, end_processes, name_process
from renderers import registry
from renderers.intent import RackIntent, RackLayout
from renderers.services import hosts_db
from renderers.spec import ServiceSpec
from tests.daemons.rack_root import SECRETS, at, eventually, fill, install, network_of, rack_directory
from tests.daemons.requires import absent, require
from tests.factories.fake_control_plane import FakeControlPlane, offer_content
from tests.golden.case import load
from workers.rack.channels import kea
from workers.rack.files import ServiceDirectories
from workers.rack.host_keeper import HostKeeper
from workers.rack.host_questions import Heard, ask4
from workers.rack.host_strategies import base
from workers.rack.hosts import HostChange
from workers.rack.hosts_database import programs
from workers.rack.offer import Envelope, Offer
from workers.rack.probes.base import ProbeFailure
from workers.rack.probes.dhcp4 import Offered, discover
from workers.rack.record_store import RecordChange, RecordStore
from workers.rack.secret_files import SecretFiles

_T = TypeVar("_T")
SCOPE, SUBNET = "vlan:1", 1
RACK = "10.20.0.1"


def mac_of(number: int) -> str:
    """The n-th machine's MAC."""
    return f"52:54:00:2f:{number >> 8:02x}:{number & 255:02x}"


def key_of(number: int) -> str:
    """The n-th machine's record key."""
    return f"host:{SUBNET}:{mac_of(number)}"


@dataclass
class Daemon:
    """One service's process, restartable."""

    spec: ServiceSpec
    intent: RackIntent
    inside: str
    base: Path
    path: str
    process: subprocess.Popen[bytes] | None = None
    name: ProcessName | None = None

    def start(self) -> None:
        """Prepare and start, as the rack worker does."""
        environment = {**os.environ, "PATH": self.path}
        environment |= {key: fill((value,), self.base)[0] for key, value in self.spec.environment}
        prefix = namespace.exec_prefix(self.inside)
        if self.spec.prepare is not None:
            done = subprocess.run(
                [*prefix, *fill(self.spec.prepare, self.base)],
                env=environment,
                check=False,
                timeout=60,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
        with (self.base / "output.log").open("a") as log:
            command = fill(self.spec.command_for(self.intent), self.base)
            self.process = subprocess.Popen([*prefix, *command], stdout=log, stderr=log, env=environment)
        self.name = name_process(self.process.pid)

    def stop(self) -> None:
        """End it."""
        if self.process is not None and self.name is not None:
            end_processes([self.name])
            self.process.wait(timeout=15)
        self.process = None

    @property
    def log(self) -> str:
        """What it has said; nothing before it was started."""
        path = self.base / "output.log"
        return path.read_text(errors="replace") if path.exists() else ""


@dataclass
class HostLab:
    """What tests of host strategies drive."""

    strategy: str
    service: str
    intent: RackIntent
    inside: str
    daemons: dict[str, Daemon]
    store: RecordStore
    secrets: SecretFiles
    offer: Offer
    sequence: int = 0
    keeper: HostKeeper = field(init=False)

    def __post_init__(self) -> None:
        self.keeper = HostKeeper(
            self.store,
            lambda service: ServiceDirectories(self.root, service),
            self.secrets,
            lambda service: service == self.service,
            askers={4: self._ask4},
        )

    @property
    def root(self) -> Path:
        """The rack's directory."""
        return Path(self.intent.layout.root)

    @property
    def daemon(self) -> base.HostDaemon:
        """The DHCP server as strategies see it."""
        return self.keeper.daemon(self.service, self.offer)

    def send(self, changes: Iterable[tuple[int, str | None]], **extra: Any) -> dict[str, str]:
        """One batch of machines by number with their addresses; refusals by key."""
        records = []
        for number, address in changes:
            self.sequence += 1
            value = {"subnet_id": SUBNET, "mac": mac_of(number), "address": address, "hostname": f"n{number}", **extra}
            records.append(RecordChange(self.sequence, SCOPE, key_of(number), value if address else None))
        latest = {record.key: record for record in records}
        failed = self.on_rack(lambda: self.keeper.apply(list(latest.values()), self.offer))
        self.store.commit(item for item in latest.values() if (item.scope, item.key) not in failed)
        self.store.advance(self.sequence)
        return {key: reason for (_, key), reason in failed.items()}

    def offered(self, number: int) -> Offered:
        """What a machine is offered."""
        return self._ask("lan0", mac_of(number), frozenset({RACK}), 67)

    def offer_or_nothing(self, number: int, tries: int = 1) -> str | None:
        """The address that a machine is offered, None for silence."""
        try:
            client = f"{self.inside}-c"
            return namespace.inside(
                client, lambda: discover("end0", mac_of(number), frozenset({RACK}), tries=tries)
            ).address
        except ProbeFailure:
            return None

    def lease(self, number: int) -> str:
        """The address that a machine takes."""
        return namespace.inside(
            f"{self.inside}-c", lambda: dhcp_client.discover_and_request("end0", mac_of(number))
        ).address

    def present(self) -> dict[str, str]:
        """Addresses by key, as the daemon has them."""
        found = self.on_rack(lambda: self.keeper.present(self.offer))
        return {key: host.address for key, host in found[SUBNET].items()}

    def apply(self, changes: Sequence[HostChange]) -> dict[tuple[str, str], str]:
        """Changes that the rack's store does not hear of; refusals."""
        return self.on_rack(lambda: base.choose(self.daemon).apply(self.daemon, changes))

    def on_rack(self, work: Callable[[], _T]) -> _T:
        """Work as the rack's agent would, in its namespace."""
        return namespace.inside(self.inside, work)

    def restart(self) -> None:
        """The DHCP server ends and starts."""
        daemon = self.daemons[self.service]
        daemon.stop()
        daemon.start()
        self.wait()

    def wait(self) -> None:
        """Until it answers its channel."""
        eventually(self.present, 20)
        if self.service != "dhcpd":
            eventually(lambda: kea.client(self.daemon.directories).status(), 20)

    def _ask4(self, *question: Any) -> Heard:
        return namespace.inside(self.inside, lambda: ask4(*question))

    def _ask(self, interface: str, mac: str, ours: frozenset[str], port: int) -> Offered:
        return namespace.inside(self.inside, lambda: discover(interface, mac, ours, port))


def layout_for(strategy: str) -> tuple[dict[str, Any], str]:
    """What the rack has found, for each strategy, and the path of programs."""
    path = os.environ["PATH"]
    if strategy == "host-commands":
        try:
            folder = kea3.programs()
        except kea3.Unobtainable as reason:
            absent(f"Kea 3 cannot be had: {reason}")
        hooks = {"kea_lease_hook": kea3.hook(kea.LEASE_HOOK), "kea_host_hook": kea3.hook(kea.HOST_HOOK)}
        return hooks, f"{folder}:{path}"
    if strategy == "hosts-database" and not programs():
        absent("not installed: postgresql and kea-admin")
    found = {"kea_lease_hook": kea.hook(kea.LEASE_HOOK)}
    return {**found, **({"postgres_programs": programs()} if strategy == "hosts-database" else {})}, path


@contextmanager
def host_lab(strategy: str) -> Iterator[HostLab]:
    """A rack whose DHCP server is driven by this strategy; nothing is promised yet, the pool is .100 to .199."""
    service = "dhcpd" if strategy == "omapi" else "kea4"
    require("ip", "dhcpd" if service == "dhcpd" else "kea-dhcp4")
    layout, path = layout_for(strategy)
    with rack_directory() as directory:
        intent = at(load("lab"), directory)
        intent = _widened(replace(intent, layout=replace(RackLayout(), root=directory, **layout)))
        if service == "dhcpd":
            intent = replace(intent, dhcp_server="dhcpd")
        secrets = SecretFiles(Path(directory))
        for name, value in SECRETS.items():
            secrets.write(name, value)
        secrets.make_missing()
        store = RecordStore(Path(directory) / "records.db")
        store.serve_scopes(frozenset({SCOPE}))
        with network_of(intent, f"hl-{os.getpid()}") as inside:
            names = ([hosts_db.NAME] if strategy == "hosts-database" else []) + [service]
            daemons = {}
            for name in names:
                spec = registry.service(name)
                daemons[name] = Daemon(spec, intent, inside, install(spec, intent), path)
            lab = HostLab(strategy, service, intent, inside, daemons, store, secrets, _offer(intent))
            try:
                for name in names:
                    if name == service:
                        eventually(lambda: lab.on_rack(lambda: lab.keeper.prepare(service, lab.offer)))
                    daemons[name].start()
                lab.wait()
                eventually(lambda: _answers(lab), 20)
                yield lab
            except BaseException:
                for name, daemon in daemons.items():
                    print(f"--- {name}\n{daemon.log[-4000:]}")
                raise
            finally:
                for daemon in reversed(daemons.values()):
                    daemon.stop()


def _widened(intent: RackIntent) -> RackIntent:
    """The intent with room for many hosts: its IPv4 subnet is a /16."""
    vlan = intent.vlans[0]
    subnets = tuple(replace(one, cidr="10.20.0.0/16") if one.subnet_id == SUBNET else one for one in vlan.subnets)
    return replace(intent, vlans=(replace(vlan, subnets=subnets), *intent.vlans[1:]))


def _answers(lab: HostLab) -> None:
    """A stranger is offered something."""
    assert lab.offer_or_nothing(0xFFFF)


def _offer(intent: RackIntent) -> Offer:
    plane = FakeControlPlane(rack=intent.rack_name)
    plane.set_offer(offer_content(intent))
    assert plane.offer is not None
    return Envelope.from_data(plane.offer).open(plane.public_key, intent.rack_name)
