"""The install plan: what the installer in the ephemeral system is to do with one machine.

Made when the machine asks for its task, from rows that were written when the deployment was asked for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from app.services import (
    boot_tokens,
    images,
    installed_names,
    installed_network,
    kernel_options,
    package_repositories,
    rack_names,
    racks,
    settings,
    subnets,
)
from app.services.boot import MACHINE_PORT, base_url, machine_port
from app.services.boot_tokens import MachineCaller
from app.services.context import Context
from app.services.errors import Conflict, Invalid
from app.services.held import AnyMachine, HeldMachine
from app.services.rack_names import RackWords
from app.services.racks import ServingRack
from app.services.transition import write
from app.store.models import Disk, Domain, Image, Machine, SshKey, Subnet
from app.store.prepared import Prepared
from renderers.boot import cloudinit, phone_home, rsyslog, storage

PHONE_HOME_SECONDS = 6 * 3600
PROXY_PORT, SYSLOG_PORT = 3128, 514
"""Of racks that do not say otherwise."""
_DISKS = Prepared(
    select(Disk.name, Disk.path, Disk.size_bytes, Disk.serial, Disk.by_id)
    .where(Disk.machine_id == bindparam("machine_id"))
    .order_by(Disk.name)
)
_DOMAIN = Prepared(select(Domain.name).where(Domain.id == bindparam("domain_id")))
_KEYS = Prepared(select(SshKey.public_key).where(SshKey.user_id == bindparam("user_id")).order_by(SshKey.id))


def check(session: Session, machine: AnyMachine, user_data: str) -> None:
    """Refuse a deployment that cannot come right: no disk that will do (Conflict), or unusable user data (Invalid)."""
    try:
        cloudinit.user_data((user_data,))
    except ValueError as error:
        raise Invalid(f"user_data: {error}", field="user_data") from error
    _storage(session, machine)


def plan(
    session: Session,
    context: Context,
    machine: HeldMachine,
    operation_id: int,
    parameters: dict[str, Any],
    caller: MachineCaller,
) -> dict[str, Any]:
    """The contract's `install` document. It holds a new token for the installed system's first call; older ones die.

    parameters: the operation's.
    """
    rack = racks.serving_rack(session, caller.rack_id)
    rack_address = racks.address_towards(session, rack, caller.address)
    subnet = subnets.subnet_of(session, caller.address)
    image = images.current(session, str(parameters["image"]))
    rootfs = images.file_of(image, "rootfs")
    nics, static = installed_network.plan(session, context, machine, rack_address)
    domain = str(_DOMAIN.one(session, domain_id=machine.domain_id).name)
    installed_names.note(session, context, machine.id, f"{machine.hostname}.{domain}")
    token = boot_tokens.issue(
        session,
        context,
        boot_tokens.PHONE_HOME,
        rack=rack,
        address=static,
        seconds=PHONE_HOME_SECONDS,
        machine_id=machine.id,
        operation_id=operation_id,
    )
    words = rack_names.words_for(session, machine.id, rack_address)
    seed = cloudinit.SeedIntent(
        instance_id=f"muster-{machine.id}-{operation_id}",
        hostname=machine.hostname,
        domain=domain,
        nics=tuple(replace(nic, search=(domain,)) if nic.nameservers else nic for nic in nics),
        ssh_keys=_keys(session, machine),
        ntp_servers=_clocks(session, rack_address),
        proxy=_proxy(session, subnet, rack, words),
        user_data=(user_data_of(context, parameters),),
    )
    base = base_url(rack_address, machine_port(rack))
    write(session, machine, {"image_id": image.id})
    try:
        seed_files = cloudinit.seed(seed)
        sources = package_repositories.source_files(session, image)
        sources |= _syslog(subnet, rack, words)
        call = phone_home.document(words.word("machine_http", MACHINE_PORT), rack_address, machine_port(rack), token)
    except ValueError as error:
        raise Conflict(f"{machine.hostname}: its first-boot configuration cannot be made: {error}") from error
    return {
        "storage": _storage(session, machine),
        "rootfs": {
            "url": f"{base}/images/{rootfs.sha256}/{rootfs.name}",
            "sha256": rootfs.sha256,
            "blake2b": rootfs.blake2b,
            "size_bytes": rootfs.size_bytes,
            "format": _format(rootfs.name),
        },
        "seed": seed_files,
        "files": [
            {"path": phone_home.PATH, "mode": "0600", "content": call},
            *({"path": path, "mode": "0644", "content": text} for path, text in sources.items()),
        ],
        "kernel_options": kernel_options.installed(
            settings.stored(session, kernel_options.SETTING, kernel_options.DEFAULTS)
        ),
    }


def user_data_of(context: Context, parameters: dict[str, Any]) -> str:
    """The user data in an operation's parameters, where it is kept sealed. Empty when there is none."""
    sealed = str(parameters.get("user_data") or "")
    return context.secrets.open(sealed) if sealed else ""


def _clocks(session: Session, rack_address: str) -> tuple[str, ...]:
    """The NTP servers of the system: the external ones where machines are told only those, else its rack."""
    value = settings.stored(session, "ntp_upstreams", {})
    servers = value.get("servers", ()) if value.get("external_only") else ()
    return tuple(one for one in servers if (":" in one) == (":" in rack_address)) or (rack_address,)


def _syslog(subnet: Subnet | None, rack: ServingRack, words: RackWords) -> dict[str, str]:
    """Path and text of the file by which the system sends its rack what it logs; {} where its rack would not hear it."""
    if subnet is None or not subnet.managed:
        return {}
    host = words.word("syslog", SYSLOG_PORT)
    return {rsyslog.PATH: rsyslog.forward(host, int(rack.ports.get("syslog", SYSLOG_PORT)))}


def _proxy(session: Session, subnet: Subnet | None, rack: ServingRack, words: RackWords) -> str | None:
    """URL of the system's package proxy; None where there is none, or its subnet may not use the rack's."""
    value = settings.stored(session, "proxy", {"mode": "built-in"})
    if value["mode"] == "external":
        return str(value["url"])
    if value["mode"] == "none" or subnet is None or not (subnet.managed and subnet.allow_proxy):
        return None
    return base_url(words.word("proxy", PROXY_PORT), int(rack.ports.get("proxy", PROXY_PORT)))


def image_of(session: Session, machine: Machine) -> Image | None:
    """The image that is installed on the machine."""
    return session.get(Image, machine.image_id) if machine.image_id is not None else None


def _format(name: str) -> str:
    """`rootfs.tar.zst` to `tar.zst`."""
    return name.partition(".")[2]


def _storage(session: Session, machine: AnyMachine) -> dict[str, object]:
    rows = _DISKS.all(session, machine_id=machine.id)
    facts = tuple(storage.DiskFact(row.name, row.path, row.size_bytes, row.serial, row.by_id) for row in rows)
    try:
        return storage.flat(facts)
    except ValueError as error:
        raise Conflict(f"{machine.hostname}: {error}") from error


def _keys(session: Session, machine: HeldMachine) -> tuple[str, ...]:
    if machine.owner_id is None:
        return ()
    return tuple(row.public_key for row in _KEYS.all(session, user_id=machine.owner_id))
