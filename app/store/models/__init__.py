"""All models, by subject."""

from app.store.models.base import Base, utc_now
from app.store.models.device import Device
from app.store.models.dhcp import DhcpSnippet, DhcpSnippetRevision
from app.store.models.domain import DnsRecord, DnsSecondary, Domain, ZoneObservation
from app.store.models.image import Image, ImageFile, Setting
from app.store.models.job import Job, JobBatch
from app.store.models.journal import ChangeEvent, Event
from app.store.models.listing import ListChange
from app.store.models.machine import (
    Bmc,
    BootToken,
    Disk,
    InstalledGateway,
    InstalledName,
    InstalledRoute,
    Interface,
    InterfaceLink,
    Machine,
    Operation,
    PowerOperation,
    ScriptResult,
)
from app.store.models.network import Fabric, IpAddress, IpRange, Space, StaticRoute, Subnet, Vlan
from app.store.models.observed import ForeignDhcpServer, Lease, Neighbour
from app.store.models.package import PackageRepository
from app.store.models.placement import Pool, Tag, Zone, machine_tag
from app.store.models.question import RackQuestion
from app.store.models.rack import (
    Apply,
    Counter,
    EnrolmentCode,
    Observation,
    Offer,
    Plan,
    Rack,
    RackChange,
    RecordApply,
    RecordChange,
    RecordDigest,
    RecordDrift,
    RecordFailure,
    RecordScope,
)
from app.store.models.rollout import Rollout, RolloutRack
from app.store.models.syslog import SyslogLine, SyslogPosition
from app.store.models.user import ApiToken, IdempotencyKey, LoginAttempts, SshKey, User, WebSession
from app.store.models.worker import Worker

__all__ = [
    "ApiToken", "Apply", "Base", "Bmc", "BootToken", "ChangeEvent", "Counter", "Device", "DhcpSnippet",
    "DhcpSnippetRevision", "Disk", "DnsRecord", "DnsSecondary", "Domain", "EnrolmentCode", "Event", "Fabric", "ForeignDhcpServer",
    "IdempotencyKey", "Image", "ImageFile", "InstalledGateway", "InstalledName", "InstalledRoute", "Interface",
    "InterfaceLink", "IpAddress", "IpRange", "Job", "JobBatch", "Lease", "ListChange", "LoginAttempts", "Machine",
    "Neighbour", "Observation", "Offer", "Operation", "PackageRepository", "Plan",
    "Pool", "PowerOperation", "Rack", "RackChange", "RackQuestion", "RecordApply", "RecordChange", "RecordDigest", "RecordDrift",
    "RecordFailure", "RecordScope", "Rollout", "RolloutRack", "ScriptResult", "Setting", "Space", "SshKey", "StaticRoute", "Subnet",
    "SyslogLine", "SyslogPosition", "Tag", "User", "Vlan", "WebSession", "Worker", "Zone", "ZoneObservation", "machine_tag", "utc_now",
]  # fmt: skip
