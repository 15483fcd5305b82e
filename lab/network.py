"""A site of network namespaces that looks like one rack: a control plane, a rack host, a switch with machines.

    <p>-cp    the control plane's address (10.255.0.1/30 on `up0`); control plane processes stay in the root namespace
              and listen through `listen_in`
    <p>-rack  the rack host: `up0` to the control plane, one interface per VLAN (`lan0`), `bmc0` to the BMCs <p>-lan
    the switch: one bridge per VLAN (`br-lan`, which owns the VLAN's gateway address), `br-bmc`, the machines' taps
              and the emulated BMCs

Nothing forwards packets, so machines reach the rack and nothing else. One bridge stands for one VLAN, because kernels
without 802.1q and without bridge VLAN filtering are common. Several sites live side by side: every name starts with
the site's prefix.
"""

import contextlib
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lab import leftovers, namespace
from lab.capability import require_capabilities
from lab.process import end_processes, name_process

NAME_LIMIT = 15
"""The longest interface name (IFNAMSIZ less its zero byte, linux/if.h)."""
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/-]*")
SOCKET_PATH_LIMIT = 107
"""The longest path of a unix socket; unix(7)."""
QUIET_KERNEL = {
    "net/ipv4/ip_forward": "0",
    "net/ipv6/conf/all/forwarding": "0",
    "net/ipv6/conf/all/accept_ra": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/dad_transmits": "0",
    "net/ipv4/conf/all/arp_ignore": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}
"""No forwarding, no waiting for router advertisements or duplicate address detection; ARP is answered only by the
interface that owns the address (Documentation/networking/ip-sysctl of the kernel)."""


@dataclass(frozen=True)
class Vlan:
    """One broadcast domain: the rack's interface `<name>0` on the bridge `br-<name>`; addresses have prefix lengths."""

    name: str
    rack_addresses: tuple[str, ...]
    gateway_addresses: tuple[str, ...] = ()

    @property
    def rack_interface(self) -> str:
        """The rack's interface on this VLAN."""
        return f"{self.name}0"

    @property
    def bridge(self) -> str:
        """The bridge that stands for this VLAN in the switch's namespace."""
        return f"br-{self.name}"

    @property
    def rack_address(self) -> str:
        """The rack's first address on this VLAN, without the prefix length."""
        return self.rack_addresses[0].partition("/")[0]


@dataclass(frozen=True)
class Uplink:
    """The two addresses, with prefix length, of the link between the control plane and the rack host."""

    control: str = "10.255.0.1/30"
    rack: str = "10.255.0.2/30"

    @property
    def control_address(self) -> str:
        """The control plane's address without the prefix length."""
        return self.control.partition("/")[0]


DEFAULT_VLANS = (Vlan("lan", ("10.20.0.1/24", "fd20::1/64"), ("10.20.0.254/24",)),)
DEFAULT_BMC_VLAN = Vlan("bmc", ("10.30.0.1/24",), ("10.30.0.254/24",))


class VirtualSite:
    """One virtual rack; a context manager that makes the namespaces and, whatever happened, removes them again.

    `root` is the site's own directory (made if missing): its record of what it made, machines, logs. A record that a
    dead run left there is cleaned first.
    """

    def __init__(
        self,
        root: Path,
        *,
        vlans: Sequence[Vlan] = DEFAULT_VLANS,
        bmc: Vlan = DEFAULT_BMC_VLAN,
        uplink: Uplink | None = None,
        prefix: str | None = None,
    ) -> None:
        """Describe a site; nothing is made before it is entered."""
        self.root = root.absolute()
        check_path(self.root)
        self.vlans = tuple(vlans)
        self.bmc = bmc
        self.uplink = uplink or Uplink()
        self.prefix = prefix or f"mu{secrets.token_hex(2)}"
        self.control = f"{self.prefix}-cp"
        self.rack = f"{self.prefix}-rack"
        self.lan = f"{self.prefix}-lan"
        names = [vlan.name for vlan in (*self.vlans, bmc)]
        if len(set(names)) != len(names):
            raise ValueError(f"VLAN names {names}: each may be used once; rename one")
        for vlan in (*self.vlans, bmc):
            if len(vlan.bridge) > NAME_LIMIT:
                raise ValueError(
                    f"VLAN {vlan.name!r}: {vlan.bridge} is longer than {NAME_LIMIT} characters; shorten the name"
                )
        self._stack = contextlib.ExitStack()
        self._record = leftovers.new_record()
        self._ports: set[str] = set()

    def __enter__(self) -> Self:
        """Make the site, or raise CapabilityMissing, StillRunning or NetworkError and leave nothing behind."""
        require_capabilities()
        self.root.mkdir(parents=True, exist_ok=True)
        leftovers.clean(self.root)
        self._record.namespaces = [self.control, self.rack, self.lan]
        self._record.write(self.root)
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what the site holds, newest first, then every process left in its namespaces; remove the namespaces."""
        try:
            self._stack.__exit__(kind, error, trace)
        finally:
            self._remove()

    def hold(self, resource: contextlib.AbstractContextManager[object]) -> None:
        """Enter a resource now and leave it, newest first, when the site ends, before the namespaces go."""
        self._stack.enter_context(resource)

    def remember_process(self, pid: int) -> None:
        """Record a process outside the namespaces, to be ended by the site's end or a later clean-up."""
        if (name := name_process(pid)) is not None:
            self._record.processes.append(name)
            self._record.write(self.root)

    def remember_mount(self, path: Path) -> None:
        """Record a mount, before it is made, to be removed by the site's end or a later clean-up."""
        self._record.mounts.append(str(path))
        self._record.write(self.root)

    def listen_in(self, space: str, address: str, port: int) -> socket.socket:
        """Return a TCP socket listening inside one of the site's namespaces, usable here."""
        return namespace.listen_in(space, address, port)

    def exec_argv(self, space: str, argv: Sequence[str] = ()) -> list[str]:
        """Return argv that runs a command inside one of the site's namespaces."""
        return [*namespace.exec_prefix(space), *argv]

    def vlan(self, name: str) -> Vlan:
        """Return a VLAN of this site, the BMCs' included, by its name."""
        for vlan in (*self.vlans, self.bmc):
            if vlan.name == name:
                return vlan
        raise KeyError(f"VLAN {name!r} is not part of site {self.prefix}: it has {[vlan.name for vlan in self.vlans]}")

    def add_tap(self, tap: str, vlan: Vlan) -> None:
        """Make a tap, or take one this site made before, and plug it into a VLAN's bridge."""
        if len(tap) > NAME_LIMIT:
            raise ValueError(f"tap {tap!r}: longer than {NAME_LIMIT} characters; shorten the machine's name")
        commands = [] if tap in self._ports else [f"tuntap add dev {tap} mode tap"]
        namespace.batch(self.lan, [*commands, f"link set {tap} master {vlan.bridge} up"])
        self._ports.add(tap)

    def add_bmc_port(self, port: str, address: str, mac: str) -> None:
        """Plug one more BMC into the BMCs' bridge: an interface with an address and a MAC of its own.

        The address goes in as a host address, and the namespace answers ARP only on the interface that owns an
        address, so the rack sees this MAC for it.
        """
        if port in self._ports:
            return
        if len(port) > NAME_LIMIT:
            raise ValueError(f"interface {port!r}: longer than {NAME_LIMIT} characters; shorten the machine's name")
        namespace.batch(
            self.lan,
            [
                f"link add {port} address {mac} type veth peer name p{port}",
                f"link set p{port} master {self.bmc.bridge} up",
                f"address add {address.partition('/')[0]}/32 dev {port}",
                f"link set {port} up",
            ],
        )
        self._ports.add(port)

    def _build(self) -> None:
        for space in (self.control, self.rack, self.lan):
            namespace.run(["ip", "netns", "add", space])
            namespace.set_sysctls(space, QUIET_KERNEL)
        namespace.batch(
            self.control,
            [
                "link set lo up",
                f"link add up0 type veth peer name up0 netns {self.rack}",
                f"address add {self.uplink.control} dev up0",
                "link set up0 up",
            ],
        )
        namespace.batch(
            self.rack,
            [
                "link set lo up",
                f"address add {self.uplink.rack} dev up0",
                "link set up0 up",
            ],
        )
        namespace.batch(self.lan, ["link set lo up"])
        for vlan in (*self.vlans, self.bmc):
            self._build_vlan(vlan)

    def _build_vlan(self, vlan: Vlan) -> None:
        port = f"r-{vlan.name}"
        namespace.batch(
            self.lan,
            [
                f"link add {vlan.bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                *(_address(address, vlan.bridge) for address in vlan.gateway_addresses),
                f"link set {vlan.bridge} up",
                f"link add {port} type veth peer name {vlan.rack_interface} netns {self.rack}",
                f"link set {port} master {vlan.bridge} up",
            ],
        )
        namespace.batch(
            self.rack,
            [
                *(_address(address, vlan.rack_interface) for address in vlan.rack_addresses),
                f"link set {vlan.rack_interface} up",
            ],
        )

    def _remove(self) -> None:
        leftovers.remove(self._record)
        (self.root / leftovers.FILE_NAME).unlink(missing_ok=True)

    def end_residents(self, space: str) -> None:
        """End every process that lives in one of the site's namespaces."""
        end_processes(namespace.residents(space))


def check_path(root: Path) -> None:
    """Refuse a directory with unusual characters: the emulated BMC is told of it in a command line."""
    if not _PLAIN_PATH.fullmatch(str(root)):
        raise ValueError(f"directory {str(root)!r}: only letters, digits and . _ / - may be used; choose another")


def check_socket_path(path: Path) -> None:
    """Refuse a unix socket whose path the kernel could not hold."""
    if len(str(path).encode()) > SOCKET_PATH_LIMIT:
        raise ValueError(
            f"socket {path}: longer than {SOCKET_PATH_LIMIT} bytes; choose a shorter directory for the site"
        )


def _address(address: str, interface: str) -> str:
    return f"address add {address} dev {interface}" + (" nodad" if ":" in address else "")
