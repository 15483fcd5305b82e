"""A rack changes its DHCPv4 server and keeps its leases: Kea to ISC dhcpd, and back.

The old server is stopped, its leases are written in the new one's form, and the new one is applied like any other
service.  If it does not come up green, it is taken away and the old one starts again, into the leases it had: clients
notice a few seconds of silence, which DHCP asks them to bear (RFC 2131, section 4.1).
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass

import structlog

from renderers import registry
from workers.rack import dhcpd_leases, kea_leases
from workers.rack.apply import Applier
from workers.rack.dhcpd_leases import LeaseEntry
from workers.rack.files import ServiceDirectories, change_owner, write_atomically
from workers.rack.lease_files import DHCPD_FILE, KEA_FILE, kea_files, read_leases
from workers.rack.offer import Offer
from workers.rack.report import ApplyReport, Wanted
from workers.rack.units import Units

log = structlog.get_logger()

SERVERS = ("kea4", "dhcpd")


@dataclass(frozen=True)
class DhcpSwitch:
    """The server that goes and the one that comes."""

    old: str
    new: str
    offer: Offer

    def carry_out(self, wanted: Wanted, applier: Applier, units: Units) -> ApplyReport:
        """Stop the old one, bring the leases over, apply the new one; if that fails, the old one runs again."""
        begin = time.monotonic()
        units.stop(self.old)
        try:
            count = self._bring_leases(applier)
            log.info("dhcp.switch", old=self.old, new=self.new, leases=count)
            report = applier.apply(wanted)
        except Exception as error:
            report = ApplyReport(wanted.offer, self.new, outcome="failed", reason=f"{type(error).__name__}: {error}")
        if not report.good or report.reason is not None:
            applier.remove(self.new, wanted.offer)
            units.start(self.old)
            report.outcome = "failed"
            report.reason = f"{report.reason or 'it is not green'}; {self.old} serves again with its leases"
        report.seconds["gap"] = time.monotonic() - begin
        return report

    def kept(self, offer: int, applier: Applier) -> ApplyReport:
        """What is said of the old server that serves on, though the offer does not want it any more."""
        applied = applier.applied(self.old)
        report = ApplyReport(offer, self.old, outcome="failed", stage="remove", undone_ok=True)
        report.reason = f"{self.new} did not come up, so {self.old} serves on"
        report.digest = applied.digest if applied is not None else None
        return report

    def _bring_leases(self, applier: Applier) -> int:
        leases = read_leases(self.old, applier.directories(self.old))
        now = time.time()
        living = [lease for lease in leases.values() if lease.state == "active" and lease.ends > now]
        write_leases(self.new, applier.directories(self.new), living, self.offer)
        return len(living)


def find_switch(offer: Offer, applier: Applier) -> DhcpSwitch | None:
    """The change of server that an offer asks for, if it does."""
    bundles = {bundle.service for bundle in offer.bundles}
    for old, new in (SERVERS, SERVERS[::-1]):
        if old in offer.absent and new in bundles and applier.applied(old) and not applier.applied(new):
            return DhcpSwitch(old, new, offer)
    return None


def write_leases(service: str, directories: ServiceDirectories, leases: list[LeaseEntry], offer: Offer) -> None:
    """Write leases as a server reads them when it starts; whatever it had before is replaced."""
    user = registry.service(service).user
    directories.state.mkdir(parents=True, exist_ok=True)
    change_owner(directories.state, user)
    if service == "dhcpd":
        text = dhcpd_leases.render(leases, ())
        write_atomically(directories.state / DHCPD_FILE, text.encode("latin-1", "replace"), mode=0o644, owner=user)
        return
    for path in kea_files(directories):
        path.unlink()
    networks = [(ipaddress.ip_network(subnet.cidr), subnet.subnet_id) for subnet in offer.subnets]
    ids = {
        lease.address: subnet_id
        for lease in leases
        for network, subnet_id in networks
        if ipaddress.ip_address(lease.address) in network
    }
    text = kea_leases.render(leases, ids)
    write_atomically(directories.state / KEA_FILE, text.encode(), mode=0o644, owner=user)
