"""Offers: what a rack is asked to run, signed by the control plane and checked before anything of it is believed.

The signature (Ed25519, RFC 8032) covers number, rack name and the exact bytes of the content, so an offer for another
rack or an old one under a new number is refused.  Offers kept on disk are checked again when they are read.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from renderers.bundle import Bundle
from renderers.intent import ZoneIntent
from renderers.spec import ProbeSpec, StateFile
from workers.rack.files import write_atomically

REQUEST_IDS = re.compile(r"[A-Za-z0-9._-]{1,64}( [A-Za-z0-9._-]{1,64}){0,999}")


class OfferError(Exception):
    """An offer that is malformed, not signed by the pinned key, or not for this rack."""


@dataclass(frozen=True)
class SubnetOffer:
    """Where a subnet is served: what the rack needs to ask there as a client."""

    subnet_id: int
    vlan_id: int
    cidr: str
    interface: str
    rack_address: str | None

    @property
    def agent_address(self) -> str | None:
        """An address that a relay agent may have in the subnet, where the rack is not in it itself; None where it is."""
        network = ipaddress.ip_network(self.cidr)
        if self.rack_address is None or ipaddress.ip_address(self.rack_address) in network:
            return None
        return str(network.network_address + (1 if network.num_addresses > 2 else 0))


@dataclass(frozen=True)
class Offer:
    """A checked offer."""

    number: int
    generation: int
    bundles: tuple[Bundle, ...]
    absent: tuple[str, ...]
    probes: dict[str, tuple[ProbeSpec, ...]]
    state_files: dict[str, tuple[StateFile, ...]]
    commands: dict[str, tuple[str, ...]]
    scopes: frozenset[str]
    zones: tuple[ZoneIntent, ...]
    subnets: tuple[SubnetOffer, ...]


@dataclass(frozen=True)
class Envelope:
    """An offer as it travels: nothing in it is believed before `open` has checked the signature.

    request_id is beside what is signed: it says for the log which requests the offer came of.
    """

    number: int
    generation: int
    rack: str
    content: bytes
    signature: bytes
    request_id: str | None = None

    @classmethod
    def from_data(cls, data: Any) -> Envelope:
        """Read the JSON form.  OfferError says what is wrong."""
        try:
            return cls(
                int(data["number"]),
                int(data["generation"]),
                str(data["rack"]),
                base64.b64decode(data["content"], validate=True),
                base64.b64decode(data["signature"], validate=True),
                request_ids(data.get("request_id")),
            )
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise OfferError(f"the offer is malformed: {error!r}") from error

    def as_data(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "number": self.number,
            "generation": self.generation,
            "rack": self.rack,
            "content": base64.b64encode(self.content).decode(),
            "signature": base64.b64encode(self.signature).decode(),
            "request_id": self.request_id,
        }

    def open(self, public_key: str, rack: str) -> Offer:
        """The offer, if the pinned key (base64) signed it for this rack.  OfferError otherwise."""
        if self.rack != rack:
            raise OfferError(f"offer {self.number} is for rack {self.rack!r}, this is {rack!r}")
        try:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key))
            key.verify(self.signature, signed_bytes(self.number, self.rack, self.content))
        except InvalidSignature:
            raise OfferError(
                f"offer {self.number}: the signature is not by the key pinned at enrolment; if the control plane's key"
                " was replaced on purpose, enrol this rack again"
            ) from None
        return _parse(self.number, self.generation, self.content)

    def save(self, path: Path) -> None:
        """Keep it on disk."""
        write_atomically(path, json.dumps(self.as_data()).encode(), mode=0o600)

    @classmethod
    def load(cls, path: Path) -> Envelope | None:
        """Read it from disk; None if there is none.  OfferError if it is damaged."""
        try:
            return cls.from_data(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise OfferError(f"{path} is damaged: {error}") from error


def request_ids(said: Any) -> str | None:
    """Request ids, a space apart, as they may be written to the log; None for anything else."""
    return said if isinstance(said, str) and REQUEST_IDS.fullmatch(said) else None


def signed_bytes(number: int, rack: str, content: bytes) -> bytes:
    """What the control plane signs."""
    return f"{number}\n{rack}\n".encode() + content


def _parse(number: int, generation: int, content: bytes) -> Offer:
    try:
        data = json.loads(content)
        zones = []
        for item in data["zones"]:
            known = {field.name for field in fields(ZoneIntent)}
            item = {name: tuple(value) if isinstance(value, list) else value for name, value in item.items()}
            zones.append(ZoneIntent(**{name: value for name, value in item.items() if name in known}))
        return Offer(
            number=number,
            generation=generation,
            bundles=tuple(Bundle.from_data(item) for item in data["bundles"]),
            absent=tuple(str(name) for name in data["absent"]),
            probes={
                str(service): tuple(ProbeSpec(str(item["kind"]), tuple(item["parameters"].items())) for item in items)
                for service, items in data["probes"].items()
            },
            state_files={
                str(service): tuple(
                    StateFile(str(item["path"]), str(item["source"])) for item in unit.get("state_files") or ()
                )
                for service, unit in data["units"].items()
            },
            commands={
                str(service): tuple(str(word) for word in unit["command"]) for service, unit in data["units"].items()
            },
            scopes=frozenset(str(scope) for scope in data["scopes"]),
            zones=tuple(zones),
            subnets=tuple(SubnetOffer(**item) for item in data["subnets"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OfferError(f"offer {number}: its content is malformed: {error!r}") from error
