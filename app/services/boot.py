"""The boot decision: what a machine that has fetched its boot script is told to do.

Known machine with an armed token: the ephemeral system.  Known machine without: its local disk.  Unknown machine under
an enrolment policy, or one that a person entered by its system UUID: the ephemeral system, to enlist; else its local disk.
A device: its local disk, because it is not ours to install.
Nothing that goes wrong here keeps a machine from its disk.
"""

from __future__ import annotations

import re
import uuid as uuids
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from app.lifecycle.states import State
from app.services import boot_tokens, images, kernel_options, racks, settings
from app.services.changes import changing, event
from app.services.context import Context
from app.services.errors import Conflict, Invalid, ServiceError
from app.services.racks import KnownRack, ServingRack
from app.services.subnets import subnet_of
from app.store.models import Device, Interface, Machine, Operation, Rack, Subnet, Vlan
from app.store.prepared import Prepared
from app.store.queries.serving import served_by

MACHINE_PORT = 5248
ENROLMENT_POLICY = "enrolment_policy"
OVERWRITING = ("install", "erase")
"""Purposes that destroy what is on the disks, so that the machine must be the one that was meant."""
_MAC = re.compile(r"[0-9a-f]{12}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ENLISTING_AT_ONE_ADDRESS = 16
"""Live enlist tokens of one address: machines that never end their boot must not fill the database."""
_NOBODY = frozenset(
    {
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "03000200-0400-0500-0006-000700080009",  # what board makers leave in firmware they did not fill in
        "12345678-1234-5678-90ab-cddeefaabbcc",
    }
)
_BOOTING = Prepared(
    select(Machine.id, Machine.hostname, Machine.state, Machine.system_uuid, Machine.rack_id)
    .join(Interface, Interface.machine_id == Machine.id)
    .where(Interface.mac == bindparam("mac"))
    .with_for_update(of=Machine, key_share=True)
)
_SIGNALS = Prepared(select(Operation.signals).where(Operation.id == bindparam("operation_id")))
_COME_THROUGH = Prepared(
    update(Machine).where(Machine.id == bindparam("of_machine")).values(rack_id=bindparam("through"))
)


class Booting(NamedTuple):
    """The machine that asks, locked: columns of `app.store.models.Machine`."""

    id: int
    hostname: str
    state: str
    system_uuid: str | None
    rack_id: int | None


@dataclass(frozen=True)
class EphemeralBoot:
    """What the kernel is told: where the rack is as the machine sees it, the token, the image's digests.

    address, prefix_length, gateway: the machine's own, where it came by IPv6; by IPv4 its loader knows them.
    """

    rack_address: str
    rack_port: int
    token: str
    hostname: str
    kernel_sha256: str
    initrd_sha256: str
    root_sha256: str
    root_blake2b: str | None
    mac: str
    address: str | None = None
    prefix_length: int | None = None
    gateway: str | None = None
    kernel_options: tuple[str, ...] = ()


@dataclass(frozen=True)
class BootDecision:
    """kind: `ephemeral` (then `ephemeral` is set) or `local`; reason: a sentence for the console."""

    kind: str
    reason: str
    ephemeral: EphemeralBoot | None = None


def canonical_mac(text: str | None) -> str:
    """`aa:bb:cc:dd:ee:ff` in lower case from any usual way of writing it; Invalid for other text or a group address."""
    bare = re.sub(r"[:.\-]", "", str(text or "").strip().lower())
    if not _MAC.fullmatch(bare):
        raise Invalid(f"MAC address {text!r}: write six bytes in hexadecimal, as in 52:54:00:12:34:56", field="mac")
    if int(bare[1], 16) & 1:
        raise Invalid(f"MAC address {text!r}: it is a group address, which no interface has", field="mac")
    return ":".join(bare[i : i + 2] for i in range(0, 12, 2))


def canonical_uuid(text: str | None) -> str | None:
    """A system UUID in lower case; None for text that is none, or one that many machines share."""
    uuid = str(text or "").strip().lower()
    return uuid if _UUID.fullmatch(uuid) and uuid not in _NOBODY else None


def base_url(rack_address: str, port: int) -> str:
    """URL of the rack's port for machines."""
    host = f"[{rack_address}]" if ":" in rack_address else rack_address
    return f"http://{host}:{port}"


def machine_port(rack: Rack | ServingRack) -> int:
    """The rack's port for machines."""
    return int(rack.ports.get("machine_http", MACHINE_PORT))


def place_of(context: Context, known: KnownRack, client_address: str) -> tuple[str, int]:
    """Address and port at which a client reaches the rack. Conflict when the rack has no address of its family."""
    with context.store.read() as session:
        rack = racks.serving_rack(session, known.id)
        return racks.address_towards(session, rack, client_address), machine_port(rack)


def decide(
    context: Context, known: KnownRack | Rack, client_address: str, mac: str, uuid: str | None = None
) -> BootDecision:
    """Decide for the machine that asked through the rack from `client_address`. Invalid when `mac` is no MAC address."""
    mac = canonical_mac(mac)
    with changing(context) as session:
        # Everybody locks the machine before its tokens; key_share lets others write rows that point to it meanwhile.
        rack = racks.serving_rack(session, known.id)
        row = _BOOTING.first(session, mac=mac)
        if row is None:
            return _unknown(session, context, rack, client_address, mac, uuid)
        machine = Booting(*row)
        decision, level = _known(session, context, rack, client_address, mac, machine, canonical_uuid(uuid))
        event(
            session,
            context,
            "machine.boot",
            f"{machine.hostname} asked what to boot, from {client_address}: {decision.reason}.",
            machine_id=machine.id,
            level=level,
            mac=mac,
            address=client_address,
            decision=decision.kind,
        )
        return decision


def _unknown(
    session: Session, context: Context, rack: ServingRack, address: str, mac: str, uuid: str | None
) -> BootDecision:
    of_device = select(Device.hostname).join(Interface, Interface.device_id == Device.id).where(Interface.mac == mac)
    if (device := session.scalar(of_device)) is not None:
        return BootDecision("local", f"device {device} is not installed by Muster: local disk")
    policy = settings.get(session, ENROLMENT_POLICY, settings.EDITABLE[ENROLMENT_POLICY][0])
    expected = _expected(session, uuid)
    if expected is None and not policy.get("on"):
        return BootDecision("local", "this machine is unknown and enlisting is switched off")
    if boot_tokens.tidy_enlisting(session, context, rack, address, mac) >= ENLISTING_AT_ONE_ADDRESS:
        return BootDecision("local", f"too many machines enlist from {address}: wait half an hour")

    def make_token() -> str:
        seconds = boot_tokens.ENLIST_SECONDS
        return boot_tokens.issue(
            session, context, boot_tokens.ENLIST, rack=rack, address=address, mac=mac, seconds=seconds
        )

    try:
        ephemeral = _ephemeral(session, rack, address, mac, "muster", make_token)
    except ServiceError as refusal:
        message = f"A machine with MAC {mac} could not be enlisted: {refusal.detail}"
        event(session, context, "machine.boot", message, rack_id=rack.id, level="error", mac=mac, address=address)
        return BootDecision("local", f"enlisting is not possible: {refusal.detail}")
    machine_id, who = expected or (None, f"An unknown machine with MAC {mac}")
    message = f"{who} boots from {address}, to enlist."
    event(session, context, "machine.boot", message, machine_id=machine_id, rack_id=rack.id, mac=mac, address=address)
    return BootDecision("ephemeral", "unknown machine: enlisting", ephemeral)


def _expected(session: Session, uuid: str | None) -> tuple[int, str] | None:
    """The machine that a person entered by this system UUID and that has not enlisted yet: its id, and who that is."""
    wanted = canonical_uuid(uuid)
    if wanted is None:
        return None
    statement = select(Machine.id, Machine.hostname).where(
        Machine.system_uuid == wanted, Machine.state == State.NEW, ~Machine.interfaces.any()
    )
    row = session.execute(statement.limit(1)).one_or_none()
    return None if row is None else (row.id, f"{row.hostname}, expected by its system UUID,")


def _known(
    session: Session, context: Context, rack: ServingRack, address: str, mac: str, machine: Booting, uuid: str | None
) -> tuple[BootDecision, str]:
    if not _serves(session, rack, machine, mac):
        return BootDecision(
            "local", f"rack {rack.name} serves another network than this machine's: local disk"
        ), "warning"
    token = boot_tokens.armed(session, context, machine.id)
    if token is None:
        return BootDecision("local", f"{machine.state.lower()}, nothing to do over the network: local disk"), "info"
    if token.operation_id is not None and f"{token.purpose}.finished" in _signals(session, token.operation_id):
        return BootDecision("local", f"{token.purpose} is finished: local disk"), "info"
    if token.used_at is not None and token.address != address:
        reason = f"{token.purpose} is under way from {token.address}, so this caller gets the local disk"
        return BootDecision("local", reason), "warning"
    if token.purpose in OVERWRITING and not same_system(machine.system_uuid, uuid):
        reason = (
            f"{token.purpose} is refused: the system that asks has UUID {uuid}, but {machine.hostname} has "
            f"{machine.system_uuid}, so another machine uses its network card and its disks are not to be overwritten; "
            "if the mainboard was changed on purpose, commission the machine again"
        )
        return BootDecision("local", reason), "error"
    again = token.used_at is not None
    try:
        ephemeral = _ephemeral(
            session, rack, address, mac, machine.hostname, lambda: boot_tokens.serve(session, token, rack, mac, address)
        )
    except ServiceError as refusal:
        return BootDecision("local", f"{token.purpose} is not possible: {refusal.detail}"), "error"
    if machine.rack_id is None:
        _COME_THROUGH.run(session, of_machine=machine.id, through=rack.id)
    reason = f"{token.purpose} once more" if again else token.purpose
    return BootDecision("ephemeral", reason, ephemeral), "warning" if again else "info"


def same_system(known: str | None, seen: str | None) -> bool:
    """Whether two system UUIDs may be of one machine: unknown ones may, and some firmware swaps the first three fields.

    (SMBIOS 2.6, 7.2.1: they were big-endian by RFC 4122 and little-endian in practice.)
    """
    if known is None or seen is None or known == seen:
        return True
    return uuids.UUID(known).bytes_le == uuids.UUID(seen).bytes


def _serves(session: Session, rack: KnownRack, machine: Booting, mac: str) -> bool:
    """Whether the rack is the machine's own, or one of those of the VLAN of the interface that boots."""
    if machine.rack_id in (None, rack.id):
        return True
    statement = select(Interface.id).join(Vlan, Interface.vlan_id == Vlan.id)
    return session.scalar(statement.where(Interface.mac == mac, served_by(rack.id))) is not None


def _signals(session: Session, operation_id: int) -> dict[str, object]:
    row = _SIGNALS.first(session, operation_id=operation_id)
    return row.signals if row is not None else {}


def _ephemeral(
    session: Session, rack: ServingRack, address: str, mac: str, hostname: str, make_token: Callable[[], str]
) -> EphemeralBoot:
    rack_address = racks.address_towards(session, rack, address)
    image = images.current(session, images.DEFAULT_NAME)
    subnet = _subnet6(session, address) if ":" in address else None
    files = {kind: images.file_of(image, kind) for kind in ("kernel", "initrd", "squashfs")}
    return EphemeralBoot(
        rack_address=rack_address,
        rack_port=machine_port(rack),
        token=make_token(),
        hostname=hostname,
        kernel_sha256=files["kernel"].sha256,
        initrd_sha256=files["initrd"].sha256,
        root_sha256=files["squashfs"].sha256,
        root_blake2b=files["squashfs"].blake2b,
        mac=mac,
        address=None if subnet is None else address,
        prefix_length=None if subnet is None else int(subnet.cidr.partition("/")[2]),
        gateway=None if subnet is None else subnet.gateway,
        kernel_options=tuple(settings.stored(session, kernel_options.SETTING, kernel_options.DEFAULTS)["options"]),
    )


def _subnet6(session: Session, address: str) -> Subnet:
    subnet = subnet_of(session, address)
    if subnet is None:
        raise Conflict(
            f"{address} is in no subnet that Muster knows, so the length of its prefix is unknown; add the subnet"
        )
    return subnet
