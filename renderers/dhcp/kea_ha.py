"""Two racks of a VLAN as Kea partners: the HA hook, hot standby (Kea ARM, "High Availability Outage Resilience").

The primary answers; the standby keeps the same leases and takes over when the primary is silent.  With these numbers that
takes 3 seconds, and a partner that comes back serves after 5.  The hook works without Kea's control agent: each server
opens a listener of its own, which needs multi-threading.

That listener is reachable by every machine of the VLAN, and basic authentication is not enforced on it by Kea 2.2, so
only TLS will do: each rack makes a key that never leaves it, tells its certificate, and trusts its partner's and its own
and no other (`trust-anchor`, `require-client-certs`).  `restrict-commands` leaves the partner what the hook needs.

Each family's server is a pair of its own, with its own port and the same keys, since `kea-dhcp6` may be gone or broken while
`kea-dhcp4` is not.  DHCPv6 servers are told apart by their DUIDs, which stay different: the probe must know who answers,
and a client whose server is gone asks all others (Rebind, RFC 8415, section 18.2.5).

The hook covers a whole server.  The primary sends every lease that it gives to the standby, so the standby knows all
subnets of the primary, also those that it does not serve: these have no pool, no interface and no host there.
"""

from __future__ import annotations

import re

from renderers import text
from renderers.bundle import RenderedFile
from renderers.dhcp.kea_options import Entry
from renderers.intent import HaIntent, RackIntent

HOOK = "libdhcp_ha.so"
PORTS = {"kea4": 8647, "kea6": 8648}
PEERS_FILES = {"kea4": "ha-peers.pem", "kea6": "ha-peers6.pem"}
"""The certificates by service; a name of its own for each tells from an offer whether it asks for the hook."""
KEY_SERVICE = "kea4"
"""Below whose state directory both servers find key and certificate."""
KEY, CERTIFICATE = "ha/key.pem", "ha/certificate.pem"
"""The rack makes them."""
NUMBERS = {"heartbeat-delay": 2000, "max-response-delay": 4000, "max-ack-delay": 2000, "max-unacked-clients": 0}
"""Milliseconds, and how many clients may go unanswered before the standby believes that its partner is gone."""
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n")


def hook(intent: RackIntent, service: str) -> list[Entry]:
    """The hook's entry, if this rack has a partner.  It goes after the lease commands, which it uses."""
    ha = partners(intent, service)
    if ha is None:
        return []
    library = f"{intent.layout.kea_lease_hook.rpartition('/')[0]}/{HOOK}"
    relationship = {
        "this-server-name": ha.name,
        "mode": "hot-standby",
        **NUMBERS,
        "multi-threading": {
            "enable-multi-threading": True,
            "http-dedicated-listener": True,
            "http-listener-threads": 1,
            "http-client-threads": 1,
        },
        "restrict-commands": True,
        "require-client-certs": True,
        "trust-anchor": intent.layout.config_path(service, PEERS_FILES[service]),
        "cert-file": intent.layout.state_path(KEY_SERVICE, CERTIFICATE),
        "key-file": intent.layout.state_path(KEY_SERVICE, KEY),
        "peers": [
            {
                "name": peer.name,
                "url": f"https://{text.bracketed(peer.address)}:{PORTS[service]}/",
                "role": "primary" if peer.primary else "standby",
                "auto-failover": True,
            }
            for peer in ha.peers
        ],
    }
    return [{"library": library, "parameters": {"high-availability": [relationship]}}]


def partners(intent: RackIntent, service: str) -> HaIntent | None:
    """The pair, if a service's servers are one: only where both racks serve the family."""
    ha = intent.ha
    return ha if ha is not None and (ha.dhcp6 if service == "kea6" else ha.dhcp4) else None


def peers_files(ha: HaIntent) -> tuple[str, ...]:
    """Files that the offer of a rack has when all its servers ask for the hook that should."""
    return (PEERS_FILES["kea4"],) * ha.dhcp4 + (PEERS_FILES["kea6"],) * ha.dhcp6


def settings(intent: RackIntent, service: str) -> Entry:
    """What the whole server needs for the hook."""
    paired = partners(intent, service) is not None
    return {"multi-threading": {"enable-multi-threading": True}} if paired else {}


def known_subnets(intent: RackIntent, service: str) -> list[Entry]:
    """Subnets of the primary's alone, whose leases a standby keeps and never gives."""
    ha = partners(intent, service)
    found = (
        [(subnet_id, cidr) for subnet_id, cidr in ha.lease_only if (":" in cidr) == (service == "kea6")] if ha else []
    )
    return [{"id": subnet_id, "subnet": text.network(cidr), "pools": []} for subnet_id, cidr in found]


def files(intent: RackIntent, service: str) -> tuple[RenderedFile, ...]:
    """The certificates that this rack's Kea trusts.  ValueError for what is no certificate."""
    ha = partners(intent, service)
    if ha is None:
        return ()
    return (RenderedFile(PEERS_FILES[service], "".join(_certificates(ha)), 0o640, "_kea"),)


def _certificates(ha: HaIntent) -> list[str]:
    for peer in ha.peers:
        if not _PEM.fullmatch(peer.certificate):
            raise ValueError(f"partner {peer.name}: its certificate is not in PEM form; let the rack report it again")
    return [peer.certificate for peer in ha.peers]
