"""Ends a lease because somebody asks for it: at Kea by its lease commands, at ISC dhcpd by OMAPI."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from workers.rack.channels import kea
from workers.rack.files import ServiceDirectories
from workers.rack.host_strategies import dhcpd_omapi
from workers.rack.questions import CannotAnswer
from workers.rack.secret_files import SecretFiles
from workers.rack.sensors.leases import FAMILIES

KEA_ASSIGNED = 0
"""The state of a lease that is somebody's (Kea ARM, "The lease_cmds hook")."""


class LeaseEnder:
    """Answers `end-lease`.  serves: whether a service is meant to run here."""

    def __init__(
        self,
        directories: Callable[[str], ServiceDirectories],
        secrets: SecretFiles,
        serves: Callable[[str], bool],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Set up. ended: called after a lease was ended."""
        self._directories, self._secrets, self._serves, self._ended = directories, secrets, serves, ended

    def __call__(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """End the lease of `address` if it is `mac`'s (in DHCPv6 `duid`'s).

        `ended`: whether there was one; `holder`: who has leased the address instead, whose lease stays.
        """
        try:
            address = ipaddress.ip_address(str(body["address"]))
        except (KeyError, ValueError) as error:
            raise CannotAnswer(f"there is no address in the question: {error}") from error
        service = next((name for name in FAMILIES[address.version] if self._serves(name)), None)
        if service is None:
            raise CannotAnswer(f"no DHCPv{address.version} server runs here any more")
        wanted = str(body.get("duid" if address.version == 6 else "mac") or "").lower()
        if service == "dhcpd":
            answer = dhcpd_omapi.end_lease(self._directories(service), self._secrets, str(address), wanted)
        else:
            answer = self._kea(service, str(address), wanted)
        self._ended()
        return answer

    def _kea(self, service: str, address: str, wanted: str) -> dict[str, Any]:
        daemon = kea.client(self._directories(service))
        if not daemon.ends_leases():
            raise CannotAnswer(f"{service} runs without the lease commands; install the hook {kea.LEASE_HOOK}")
        lease = daemon.lease(address)
        if not lease or lease.get("state") != KEA_ASSIGNED:
            return {"ended": False}
        holder = str(lease.get("duid" if service == "kea6" else "hw-address") or "").lower()
        if wanted and holder != wanted:
            return {"ended": False, "holder": holder}
        daemon.end_lease(address)
        return {"ended": True}
