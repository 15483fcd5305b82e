"""Two racks of a VLAN as Kea partners: the HA hook, hot standby (Kea ARM, "High Availability Outage Resilience").

The primary answers; the standby keeps the same leases and takes over when the primary is silent.  With these numbers that
takes 3 seconds, and a partner that comes back serves after 5.  The hook works without Kea's control agent: each server
opens a listener of its own, which needs multi-threading.

That listener is reachable by every machine of the VLAN, and basic authentication is not enforced on it by Kea 2.2, so
only TLS will do: each rack makes a key that never leaves it, tells its certificate, and trusts its partner's and its own
and no other (`trust-anchor`, `require-client-certs`).  `restrict-commands` leaves the partner what the hook needs.

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
PORT = 8647
PEERS_FILE = "ha-peers.pem"
KEY, CERTIFICATE = "ha/key.pem", "ha/certificate.pem"
"""Below the service's state directory; the rack makes them."""
NUMBERS = {"heartbeat-delay": 2000, "max-response-delay": 4000, "max-ack-delay": 2000, "max-unacked-clients": 0}
"""Milliseconds, and how many clients may go unanswered before the standby believes that its partner is gone."""
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n")


def hook(intent: RackIntent, service: str) -> list[Entry]:
    """The hook's entry, if this rack has a partner.  It goes after the lease commands, which it uses."""
    ha = intent.ha
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
        "trust-anchor": intent.layout.config_path(service, PEERS_FILE),
        "cert-file": intent.layout.state_path(service, CERTIFICATE),
        "key-file": intent.layout.state_path(service, KEY),
        "peers": [
            {
                "name": peer.name,
                "url": f"https://{text.bracketed(peer.address)}:{PORT}/",
                "role": "primary" if peer.primary else "standby",
                "auto-failover": True,
            }
            for peer in ha.peers
        ],
    }
    return [{"library": library, "parameters": {"high-availability": [relationship]}}]


def settings(intent: RackIntent) -> Entry:
    """What the whole server needs for the hook."""
    return {"multi-threading": {"enable-multi-threading": True}} if intent.ha is not None else {}


def known_subnets(intent: RackIntent) -> list[Entry]:
    """Subnets of the primary's alone, whose leases a standby keeps and never gives."""
    found = intent.ha.lease_only if intent.ha is not None else ()
    return [{"id": subnet_id, "subnet": text.network(cidr), "pools": []} for subnet_id, cidr in found]


def files(intent: RackIntent) -> tuple[RenderedFile, ...]:
    """The certificates that this rack's Kea trusts.  ValueError for what is no certificate."""
    if intent.ha is None:
        return ()
    return (RenderedFile(PEERS_FILE, "".join(_certificates(intent.ha)), 0o640, "_kea"),)


def _certificates(ha: HaIntent) -> list[str]:
    for peer in ha.peers:
        if not _PEM.fullmatch(peer.certificate):
            raise ValueError(f"partner {peer.name}: its certificate is not in PEM form; let the rack report it again")
    return [peer.certificate for peer in ha.peers]
