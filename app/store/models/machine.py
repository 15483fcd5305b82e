"""Machines: the servers whose life Muster drives, their parts, and what they have said of themselves."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store.models.base import Base, CreatedAt, PrimaryKey
from app.store.models.device import Device
from app.store.models.domain import Domain
from app.store.models.network import IpAddress, Subnet
from app.store.models.placement import Pool, Tag, Zone, machine_tag
from app.store.models.user import User


class Machine(Base):
    """A server. state is a value of `app.lifecycle.states.State`; version grows with every change (ETag)."""

    __tablename__ = "machine"
    __table_args__ = (Index("ix_machine_choice", "state", "cpu_count", "memory_mib"),)

    id: Mapped[PrimaryKey]
    hostname: Mapped[str] = mapped_column(unique=True)
    domain_id: Mapped[int] = mapped_column(ForeignKey("domain.id"))
    state: Mapped[str] = mapped_column(index=True)
    state_reason: Mapped[str | None] = mapped_column(Text)
    state_since: Mapped[CreatedAt]
    power_state: Mapped[str] = mapped_column(default="unknown")
    power_checked_at: Mapped[dt.datetime | None]
    architecture: Mapped[str] = mapped_column(default="amd64")
    firmware: Mapped[str | None]
    system_uuid: Mapped[str | None] = mapped_column(index=True)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"), index=True)
    zone_id: Mapped[int] = mapped_column(ForeignKey("zone.id"), index=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pool.id"), index=True)
    rack_id: Mapped[int | None] = mapped_column(ForeignKey("rack.id"))
    cpu_count: Mapped[int] = mapped_column(default=0)
    memory_mib: Mapped[int] = mapped_column(default=0)
    storage_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    inventory: Mapped[dict[str, Any] | None]
    ssh_host_keys: Mapped[list[Any]] = mapped_column(default=list)
    image_id: Mapped[int | None] = mapped_column(ForeignKey("image.id"))
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[CreatedAt]

    domain: Mapped[Domain] = relationship(lazy="selectin")
    owner: Mapped[User | None] = relationship()
    zone: Mapped[Zone] = relationship()
    pool: Mapped[Pool] = relationship()
    tags: Mapped[list[Tag]] = relationship(secondary=machine_tag)
    interfaces: Mapped[list[Interface]] = relationship(back_populates="machine", cascade="all, delete-orphan")
    bmc: Mapped[Bmc | None] = relationship(back_populates="machine", cascade="all, delete-orphan", uselist=False)

    @property
    def fqdn(self) -> str:
        """The whole name, without a trailing dot."""
        return f"{self.hostname}.{self.domain.name}"


class Interface(Base):
    """A network interface of a machine or of a device. A MAC address belongs to one interface in the whole fleet."""

    __tablename__ = "interface"
    __table_args__ = (CheckConstraint("(machine_id IS NULL) <> (device_id IS NULL)", name="one_owner"),)

    id: Mapped[PrimaryKey]
    machine_id: Mapped[int | None] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"), index=True)
    device_id: Mapped[int | None] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    mac: Mapped[str] = mapped_column(unique=True)
    vlan_id: Mapped[int | None] = mapped_column(ForeignKey("vlan.id"), index=True)
    subnet_id: Mapped[int | None] = mapped_column(ForeignKey("subnet.id"), index=True)
    boot: Mapped[bool] = mapped_column(default=False)
    link: Mapped[bool | None]
    speed_mbps: Mapped[int | None]
    driver: Mapped[str | None]
    machine: Mapped[Machine | None] = relationship(back_populates="interfaces")
    device: Mapped[Device | None] = relationship(back_populates="interfaces")
    addresses: Mapped[list[IpAddress]] = relationship(cascade="all, delete-orphan")
    links: Mapped[list[InterfaceLink]] = relationship(cascade="all, delete-orphan", order_by="InterfaceLink.id")


class InterfaceLink(Base):
    """How an interface gets its address in a subnet; a boot interface without any link is `auto` in its own subnet.

    mode: auto (given at deploy and taken back at release; a device has it at once), sticky (given at once and kept),
    static (chosen by a person), dhcp (leased from the dynamic range; the installed system asks for it).
    """

    __tablename__ = "interface_link"
    __table_args__ = (
        UniqueConstraint("interface_id", "subnet_id"),
        CheckConstraint("mode IN ('auto', 'sticky', 'static', 'dhcp')", name="mode"),
    )

    id: Mapped[PrimaryKey]
    interface_id: Mapped[int] = mapped_column(ForeignKey("interface.id", ondelete="CASCADE"), index=True)
    subnet_id: Mapped[int] = mapped_column(ForeignKey("subnet.id", ondelete="CASCADE"), index=True)
    mode: Mapped[str]
    subnet: Mapped[Subnet] = relationship()


class InstalledGateway(Base):
    """The gateway of a subnet that a machine's installed system was given; it keeps that one until it is installed anew."""

    __tablename__ = "installed_gateway"
    __table_args__ = (UniqueConstraint("machine_id", "subnet_id", "gateway"),)

    id: Mapped[PrimaryKey]
    machine_id: Mapped[int] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"), index=True)
    subnet_id: Mapped[int] = mapped_column(ForeignKey("subnet.id", ondelete="CASCADE"), index=True)
    interface: Mapped[str]
    gateway: Mapped[str]
    at: Mapped[CreatedAt]


class InstalledName(Base):
    """The full name that a machine's installed system was given; it calls itself so until it is installed anew."""

    __tablename__ = "installed_name"

    id: Mapped[PrimaryKey]
    machine_id: Mapped[int] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"), unique=True)
    name: Mapped[str]
    at: Mapped[CreatedAt]


class InstalledRoute(Base):
    """A static route that a machine's installed system was given, of an address in the source subnet."""

    __tablename__ = "installed_route"

    id: Mapped[PrimaryKey]
    machine_id: Mapped[int] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"), index=True)
    subnet_id: Mapped[int] = mapped_column(ForeignKey("subnet.id", ondelete="CASCADE"), index=True)
    interface: Mapped[str]
    destination: Mapped[str]
    gateway: Mapped[str]
    metric: Mapped[int]


class Disk(Base):
    """A disk as commissioning saw it."""

    __tablename__ = "disk"
    __table_args__ = (UniqueConstraint("machine_id", "name"),)

    id: Mapped[PrimaryKey]
    machine_id: Mapped[int] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    path: Mapped[str]
    by_id: Mapped[str | None]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    model: Mapped[str | None]
    serial: Mapped[str | None]
    rotational: Mapped[bool] = mapped_column(default=False)


class Bmc(Base):
    """How to reach a machine's management controller. driver `manual` means that people do it.

    secrets holds the encrypted JSON of the driver's secret parameters; it is never shown.
    """

    __tablename__ = "bmc"

    id: Mapped[PrimaryKey]
    machine_id: Mapped[int] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"), unique=True)
    driver: Mapped[str]
    address: Mapped[str | None] = mapped_column(index=True)
    mac: Mapped[str | None]
    parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    secrets: Mapped[str | None] = mapped_column(Text)
    found: Mapped[str] = mapped_column(default="in-band")
    machine: Mapped[Machine] = relationship(back_populates="bmc")


class Operation(Base):
    """One lifecycle action on one machine, with its current step: the row that a restarted worker carries on from.

    status: running, succeeded, failed, aborted.  A machine has at most one running operation (partial unique index).
    wake_at: when the runner should look again; deadline_at: when the step has failed.
    """

    __tablename__ = "operation"
    __table_args__ = (
        Index(
            "uq_operation_running",
            "machine_id",
            unique=True,
            sqlite_where=text("status = 'running'"),
            postgresql_where=text("status = 'running'"),
        ),
        CheckConstraint("status IN ('running', 'succeeded', 'failed', 'aborted')", name="status"),
    )

    id: Mapped[PrimaryKey]
    machine_id: Mapped[int] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"), index=True)
    action: Mapped[str]
    status: Mapped[str] = mapped_column(default="running", index=True)
    parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    step: Mapped[str]
    step_index: Mapped[int] = mapped_column(default=0)
    step_started_at: Mapped[CreatedAt]
    step_data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    signals: Mapped[dict[str, Any]] = mapped_column(default=dict)
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    wake_at: Mapped[dt.datetime | None] = mapped_column(index=True)
    deadline_at: Mapped[dt.datetime | None] = mapped_column(index=True)
    reason: Mapped[str | None] = mapped_column(Text)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"))
    request_id: Mapped[str | None]
    started_at: Mapped[CreatedAt]
    finished_at: Mapped[dt.datetime | None]
    machine: Mapped[Machine] = relationship()


class BootToken(Base):
    """What one boot of one machine may call. Only the SHA-256 is kept; dead when revoked_at is set.

    purpose: enlist, commission, install, erase, phone-home.  address: the only client address that may use it, learnt
    at the first use when it was not known before.
    """

    __tablename__ = "boot_token"

    id: Mapped[PrimaryKey]
    token_hash: Mapped[str] = mapped_column(unique=True)
    purpose: Mapped[str]
    machine_id: Mapped[int | None] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"), index=True)
    operation_id: Mapped[int | None] = mapped_column(ForeignKey("operation.id", ondelete="CASCADE"), index=True)
    rack_id: Mapped[int | None] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"))
    mac: Mapped[str | None] = mapped_column(index=True)
    address: Mapped[str | None]
    issued_at: Mapped[CreatedAt]
    expires_at: Mapped[dt.datetime]
    used_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]


class ScriptResult(Base):
    """What one script said on one run, kept whole (cut at 1 MiB a stream by the machine)."""

    __tablename__ = "script_result"
    __table_args__ = (UniqueConstraint("operation_id", "script"),)

    id: Mapped[PrimaryKey]
    machine_id: Mapped[int] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"), index=True)
    operation_id: Mapped[int | None] = mapped_column(ForeignKey("operation.id", ondelete="CASCADE"))
    script: Mapped[str]
    status: Mapped[str]
    exit_code: Mapped[int | None]
    seconds: Mapped[float]
    stdout: Mapped[str] = mapped_column(Text, default="")
    stderr: Mapped[str] = mapped_column(Text, default="")
    result: Mapped[dict[str, Any] | None]
    at: Mapped[CreatedAt]


class PowerOperation(Base):
    """One order to a BMC, carried out by a rack's power process. status: waiting, claimed, done, failed, lost."""

    __tablename__ = "power_operation"

    id: Mapped[PrimaryKey]
    machine_id: Mapped[int] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"), index=True)
    operation_id: Mapped[int | None] = mapped_column(ForeignKey("operation.id", ondelete="SET NULL"), index=True)
    rack_id: Mapped[int | None] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    verb: Mapped[str]
    status: Mapped[str] = mapped_column(default="waiting", index=True)
    power: Mapped[str | None]
    reason: Mapped[str | None] = mapped_column(Text)
    seconds: Mapped[float | None]
    request_id: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    claimed_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
    deadline_at: Mapped[dt.datetime]
