"""Offers: what a rack is asked to run, as canonical JSON, signed with Ed25519 (RFC 8032).

The signature covers number, rack name and content, so that an offer is good for one rack and one number only.  The
private key is sealed in the setting `offer_key`; racks pin the public half when they enrol.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from sqlalchemy.orm import Session

from app.services import settings
from app.services.context import Context
from renderers.bundle import Bundle
from renderers.intent import RackIntent
from renderers.spec import ServiceSpec

OFFER_KEY = "offer_key"


def ensure_key(session: Session, context: Context) -> str:
    """The public key (base64 of 32 raw bytes); the pair is made when there is none yet."""
    value = settings.get(session, OFFER_KEY, {})
    if not value:
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        value = {
            "private": context.secrets.seal(base64.b64encode(private).decode()),
            "public": base64.b64encode(public).decode(),
        }
        settings.put(session, OFFER_KEY, value)
        session.flush()
    return str(value["public"])


def sign(session: Session, context: Context, number: int, rack_name: str, content: bytes) -> str:
    """The signature (base64) over number, rack name and content."""
    ensure_key(session, context)
    sealed = str(settings.get(session, OFFER_KEY, {})["private"])
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(context.secrets.open(sealed)))
    return base64.b64encode(key.sign(signed_bytes(number, rack_name, content))).decode()


def signed_bytes(number: int, rack_name: str, content: bytes) -> bytes:
    """What a signature covers."""
    return f"{number}\n{rack_name}\n".encode() + content


def canonical(content: dict[str, Any]) -> str:
    """The one text of a content: sorted keys, no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def unit(spec: ServiceSpec, intent: RackIntent) -> dict[str, Any]:
    """What a rack needs to run a service besides its files."""
    return {
        "command": list(spec.command_for(intent)),
        "checker": list(spec.checker) if spec.checker else None,
        "user": spec.user,
        "channel": spec.channel,
        "environment": dict(spec.environment),
        "state_files": [{"path": file.path, "source": file.source} for file in spec.state_files(intent)],
    }


def probes(spec: ServiceSpec, intent: RackIntent) -> list[dict[str, Any]]:
    """The probes of a service as offers carry them."""
    return [{"kind": probe.kind, "parameters": dict(probe.parameters)} for probe in spec.probes(intent)]


def content_of(
    intent: RackIntent,
    specs: tuple[ServiceSpec, ...],
    bundles: dict[str, Bundle],
    scopes: tuple[str, ...],
    kept: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """The content of an offer.

    kept: services whose change is held, by name, with the `bundle`, `probes` and `unit` of the offer before; an empty
    one was absent there.
    """
    wanted = {name: bundle for name, bundle in bundles.items() if name not in kept}
    parts: dict[str, tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]] = {}
    for spec in specs:
        if spec.name in wanted:
            parts[spec.name] = (dict(wanted[spec.name].as_data()), probes(spec, intent), unit(spec, intent))
        elif kept.get(spec.name):
            old = kept[spec.name]
            parts[spec.name] = (old["bundle"], old["probes"], old["unit"])
    return {
        "bundles": [parts[name][0] for name in sorted(parts)],
        "absent": sorted(spec.name for spec in specs if spec.name not in parts),
        "probes": {name: parts[name][1] for name in sorted(parts)},
        "units": {name: parts[name][2] for name in sorted(parts)},
        "scopes": list(scopes),
        "zones": [asdict(zone) for zone in intent.zones],
        "subnets": [
            {
                "subnet_id": subnet.subnet_id,
                "vlan_id": vlan.vlan_id,
                "cidr": subnet.cidr,
                "interface": vlan.interface,
                "rack_address": subnet.rack_address,
            }
            for vlan in intent.vlans
            for subnet in vlan.subnets
        ],
    }


def parts_of(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services of an offer's content by name, each with `bundle`, `probes` and `unit`."""
    return {
        bundle["service"]: {
            "bundle": bundle,
            "probes": content["probes"].get(bundle["service"], []),
            "unit": content["units"].get(bundle["service"], {}),
        }
        for bundle in content["bundles"]
    }
